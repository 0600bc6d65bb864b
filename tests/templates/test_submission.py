"""Every batch job on a stand-in of Dataflow: what is submitted is what `--plan` shows, and tells of nothing else."""

import contextlib
import hashlib
import importlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest
from beam_etl.io.stores import store_of
from beam_etl.pipelines import PIPELINES, inverted_index
from tests.cloud import in_environment
from tests.templates.dataflow_service import RUNNING, Submitted, dataflow
from tests.templates.driving import Launch, Launched, google_storage
from tests.templates.executing import Pipeline, execute
from tests.templates.image import Image
from tests.templates.parameters import FOLDER, GIVEN
from tests.templates.protos import grouped, groupings, top_steps, unpacked
from tests.templates.submitting import IMAGE, PROJECT, REGION, Place, built, of_this_machine
from tests.test_plans import NO_JOBS, SHUFFLES

pytestmark = pytest.mark.slow

DOCUMENTS = [
    {
        "id": f"d{number}",
        "url": f"https://www.site{number % 3}.org/{number}",
        "domain": f"site{number % 3}.org",
        "language": ("en", "de")[number % 2],
        "text": f"a document of some words, number {number // 2}",
    }
    for number in range(12)
]

FIRST = {command.split()[0]: command for command in reversed(SHUFFLES)}.values()
"""Of each pipeline, one way to run it."""

BATCH = [*sorted(FIRST), "dedup --threshold=0.8"]


@pytest.fixture(scope="module")
def place(image: Image) -> Iterator[Place]:
    with google_storage() as cloud, dataflow() as service, in_environment(cloud):
        service.fate = execute
        yield Place(image, cloud, service)


@dataclass(frozen=True)
class Tried:
    """A job, launched from the image and planned here."""

    argv: list[str]
    launched: Launched
    submitted: Submitted
    pipeline: Pipeline
    plan: dict[str, Any]
    here: Pipeline
    staged: dict[str, bytes]


@pytest.fixture(scope="module")
def given(place: Place) -> dict[str, list[str]]:
    """The flags of each of BATCH, and what they name."""
    source = place.put("in/a.jsonl", DOCUMENTS)
    for path, content in GIVEN.items():
        store_of(path).create(path, content)
    index = f"{place.cloud.root}/index"
    with contextlib.redirect_stdout(io.StringIO()):
        assert inverted_index.run([f"--input={source}", f"--output={index}"]) == 0
    found = {}
    for number, command in enumerate(BATCH):
        name, *flags = command.format(source=source, folder=FOLDER).split()
        read = index if name == "compact_index" else f"{place.cloud.root}/in/*.jsonl"
        sides = ["--left", "--right"] if name == "join" else ["--input"]
        output = f"--output={place.cloud.root}/out{number}"
        found[command] = [*(f"{side}={read}" for side in sides), output, *flags]
    return found


@pytest.fixture(scope="module")
def launched(place: Place, given: dict[str, list[str]]) -> dict[str, Launched]:
    """All jobs of BATCH, and one with OPTIONS."""
    launches = [
        Launch(command, f"beam_etl.pipelines.{command.split()[0]}", [*argv, *place.flags(str(number))])
        for number, (command, argv) in enumerate(given.items())
    ]
    more = ["--overwrite=true", "--experiments=some_experiment", *OPTIONS, *place.flags("options")]
    options = Launch("options", "beam_etl.pipelines.token_count", [*given["token_count"], *more])
    return place.launch([*launches, options])


@pytest.fixture(scope="module")
def tried(place: Place, given: dict[str, list[str]], launched: dict[str, Launched]) -> dict[str, Tried]:
    """Of all jobs of BATCH, what was launched and what was planned."""
    return {
        command: Tried(
            argv,
            launched[command],
            place.submitted(str(number)),
            place.pipeline(str(number)),
            *_planned(
                command, [f"{flag}-planned" if flag.startswith("--output=") else flag for flag in argv]
            ),
            place.staged(str(number)),
        )
        for number, (command, argv) in enumerate(given.items())
    }


def _planned(command: str, argv: list[str]) -> tuple[dict[str, Any], Pipeline]:
    run = importlib.import_module(f"beam_etl.pipelines.{command.split(maxsplit=1)[0]}").run
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        pipeline = built(run, [*argv, "--runner=dataflow", "--plan=json"])
    return json.loads(shown.getvalue()), pipeline


def test_every_batch_job_is_among_them() -> None:
    assert {command.split()[0] for command in BATCH} == set(PIPELINES) - NO_JOBS


@pytest.mark.parametrize("command", BATCH)
def test_a_job_is_taken_run_and_closed(tried: dict[str, Tried], command: str) -> None:
    job = tried[command]
    assert job.submitted.error == ""
    assert job.launched.code == 0, job.launched.err
    assert "Traceback" not in job.launched.err
    assert "rows written:" in job.launched.out
    assert "crossed shuffles:" in job.launched.out or not job.plan["shuffles"]


@pytest.mark.parametrize("command", BATCH)
def test_steps_coders_and_windowing_are_those_of_the_pipeline_here(
    tried: dict[str, Tried], command: str
) -> None:
    job = tried[command]
    assert top_steps(job.pipeline) == top_steps(job.here) == job.plan["steps"]
    assert grouped(job.pipeline) == grouped(job.here)


@pytest.mark.parametrize("command", BATCH)
def test_each_grouping_is_in_the_plan(tried: dict[str, Tried], command: str) -> None:
    job = tried[command]
    shuffles = {shuffle["label"]: shuffle["hops"] for shuffle in job.plan["shuffles"]}
    known = {*shuffles, *job.plan["handed_out"]}
    found = Counter(
        next((label for label in known if step.startswith(f"{label}/")), step)
        for step in groupings(job.pipeline)
    )
    assert set(found) == known
    assert {label: found[label] for label in shuffles} == shuffles


def test_batches_cross_by_our_coder(tried: dict[str, Tried]) -> None:
    for command, job in tried.items():
        coders = Counter(text.partition(" in ")[0] for text in grouped(job.pipeline).elements())
        kept = [each for each in job.plan["shuffles"] if not each["by_files"]]
        assert sum(
            number for coder, number in coders.items() if coder.endswith(", RecordBatchCoder]")
        ) >= len(kept), (
            command,
            coders,
        )


@pytest.mark.parametrize("command", BATCH)
def test_a_job_tells_nothing_of_the_machine_that_launched_it(tried: dict[str, Tried], command: str) -> None:
    job = tried[command]
    contents = [json.dumps(job.submitted.job).encode(), *job.staged.values()]
    told = b"\n".join(part for content in contents for part in unpacked(content))
    assert b"beam_etl.transforms" in told  # what is pickled has been looked into
    assert [word for word in of_this_machine() if word.encode() in told] == []


@pytest.mark.parametrize("command", BATCH)
def test_what_is_staged_is_the_pipeline_alone_and_whole(tried: dict[str, Tried], command: str) -> None:
    job = tried[command]
    assert set(job.staged) == {"pipeline.pb"}
    assert hashlib.sha256(job.staged["pipeline.pb"]).hexdigest() == job.submitted.options["pipelineProtoHash"]
    assert not any(each.dependencies for each in job.pipeline.components.environments.values())


def test_rows_are_those_of_the_documents(tried: dict[str, Tried]) -> None:
    (output,) = [
        flag.removeprefix("--output=") for flag in tried["token_count"].argv if flag.startswith("--output=")
    ]
    found = manifest.latest(output)
    assert found is not None
    rows = [
        row
        for file in found.table("counts")
        for row in pq.read_table(io.BytesIO(store_of(output).read(f"{output}/{file.path}"))).to_pylist()
    ]
    words = Counter[str]()
    for document in DOCUMENTS:
        words[document["language"]] += len(document["text"].replace(",", "").split())
    assert {row["language"]: row["tokens"] for row in rows} == words


OPTIONS = {
    "--worker_machine_type=n2-highmem-4": (("pool", "machineType"), "n2-highmem-4"),
    "--num_workers=3": (("pool", "numWorkers"), 3),
    "--max_num_workers=70": (("pool", "autoscalingSettings", "maxNumWorkers"), 70),
    "--autoscaling_algorithm=THROUGHPUT_BASED": (("pool", "autoscalingSettings", "algorithm"), 2),
    "--disk_size_gb=80": (("pool", "diskSizeGb"), 80),
    "--subnetwork=regions/europe-west4/subnetworks/some": (
        ("pool", "subnetwork"),
        "regions/europe-west4/subnetworks/some",
    ),
    "--no_use_public_ips": (("pool", "ipConfiguration"), 2),
    "--number_of_worker_harness_threads=2": (("pool", "numThreadsPerWorker"), 2),
    "--dataflow_kms_key=projects/p/locations/l/keyRings/r/cryptoKeys/k": (
        ("environment", "serviceKmsKeyName"),
        "projects/p/locations/l/keyRings/r/cryptoKeys/k",
    ),
    "--service_account_email=etl@some-project.iam.gserviceaccount.com": (
        ("environment", "serviceAccountEmail"),
        "etl@some-project.iam.gserviceaccount.com",
    ),
    "--labels=team=crawl": (("labels", "team"), "crawl"),
    "--dataflow_service_options=enable_prime": (("environment", "serviceOptions"), ["enable_prime"]),
    "--flexrs_goal=COST_OPTIMIZED": (("environment", "flexResourceSchedulingGoal"), 2),
    "--job_name=nightly-counts": (("name",), "nightly-counts"),
}
"""Flags of Beam, and where the service reads them."""


@pytest.fixture(scope="module")
def with_options(place: Place, launched: dict[str, Launched]) -> Submitted:
    assert launched["options"].code == 0, launched["options"].err
    return place.submitted("options")


@pytest.mark.parametrize(("where", "value"), OPTIONS.values(), ids=OPTIONS)
def test_options_land_where_the_service_reads_them(
    with_options: Submitted, where: tuple[str, ...], value: Any
) -> None:
    found: Any = {"pool": with_options.pool, **with_options.job}
    for name in where:
        found = found[name]
    assert found == value


def test_a_job_runs_in_its_project_and_region_on_its_image_by_runner_v2(with_options: Submitted) -> None:
    assert (with_options.project, with_options.location) == (PROJECT, REGION)
    assert with_options.pool["workerHarnessContainerImage"] == IMAGE
    experiments = with_options.job["environment"]["experiments"]
    assert {"use_runner_v2", "use_portable_job_submission", "some_experiment"} <= set(experiments)
    assert with_options.options["save_main_session"] is False


def test_a_job_without_a_name_is_named_by_its_run(tried: dict[str, Tried]) -> None:
    for command, job in tried.items():
        name, _, run = job.submitted.job["name"].rpartition("-")
        assert name == command.split()[0].replace("_", "-")
        assert any(run in flag for flag in (json.dumps(job.launched.out),))
    assert all(job.submitted.state != RUNNING for job in tried.values())
