"""How a launcher on Dataflow ends, what it refuses before anything is staged, and streams."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beam_etl.io import manifest
from beam_etl.io.stores import store_of
from tests.cloud import in_environment
from tests.places import attempt
from tests.templates.dataflow_service import CANCELLED, DRAINED, FAILED, Service, Submitted, dataflow
from tests.templates.driving import Launch, Launched, google_storage
from tests.templates.executing import execute
from tests.templates.image import Image
from tests.templates.protos import grouped, groupings, top_steps, unpacked
from tests.templates.submitting import PROJECT, REGION, Place

pytestmark = pytest.mark.slow

GOOD = "in/*.jsonl"
WORKER_ERROR = "Traceback: ValueError: what a worker said"

Fate = Callable[[Submitted, Service], None]


def _fails(job: Submitted, service: Service) -> None:
    job.error, job.state = WORKER_ERROR, FAILED


def _overtaken(job: Submitted, service: Service) -> None:
    attempt(_output(job), "aaaaaaaaaaaa")
    execute(job)


def _unmeasured(job: Submitted, service: Service) -> None:
    executed = replace(job)
    execute(executed)
    job.metrics, job.state = None, executed.state


def _output(job: Submitted) -> str:
    return job.options["pipelineUrl"].split("/tmp/")[0] + "/out-" + _name(job)


def _name(job: Submitted) -> str:
    name: str = job.options["pipelineUrl"].split("/tmp/")[1].split("/")[0]
    return name


ENDINGS: dict[str, tuple[list[str], Fate, int, list[str]]] = {
    "done": ([], lambda job, _: execute(job), 0, []),
    "unmeasured": ([], _unmeasured, 0, ["no counters: Forbidden: 403"]),
    "failed": ([], _fails, 1, [WORKER_ERROR, "nothing was published"]),
    "cancelled": ([], lambda job, _: setattr(job, "state", CANCELLED), 1, ["somebody cancelled the job"]),
    "rejects": (
        ["--strict=true", "--input={root}/bad/*.jsonl"],
        lambda job, _: execute(job),
        3,
        ["too many rejects"],
    ),
    "overtaken": ([], _overtaken, 1, ["another job published"]),
    "lost": (
        [],
        lambda job, service: service.jobs.remove(job),
        1,
        ["NotFound", "the job goes on on Dataflow"],
    ),
    "template": (["--template_location={root}/spec.json"], lambda job, _: None, 0, ["{root}/spec.json"]),
    "interrupted": (
        [],
        lambda job, _: None,
        130,
        [
            f"console.cloud.google.com/dataflow/jobs/{REGION}/",
            f"--project={PROJECT} --region={REGION}",
            "gcloud dataflow jobs cancel 2026-01-01_00_00_00-",
            "published to {root}/out-interrupted",
        ],
    ),
}
"""Flags, what becomes of the job, the exit code, and what is told."""

MISSING = {
    "project": "--project=PROJECT",
    "region": "--region=REGION",
    "temp_location": "--temp_location=gs://BUCKET/FOLDER",
    "sdk_container_image": "--sdk_container_image=IMAGE",
}
"""A flag that is left out, and what is told."""

WRONG = {
    "local output": (["--output=/tmp/out"], "/tmp/out: workers of Dataflow hold no files of this machine"),
    "local input": (["--input={here}"], "hold no files of this machine"),
    "local evaluations": (
        ["--evaluations={here}"],
        "a.jsonl: workers of Dataflow hold no files of this machine",
    ),
    "local list": (
        ["--blocklist=a.example,@{here}"],
        "a.jsonl: workers of Dataflow hold no files of this machine",
    ),
    "local config": (
        ["--config={here}.toml"],
        "a.jsonl.toml: workers of Dataflow hold no files of this machine",
    ),
    "local staging": (["--temp_location=/tmp/staged"], "--temp_location=gs://BUCKET/FOLDER"),
    "update": (["--update"], "--job_name=NAME"),
    "unknown": (["--regoin=europe-west4"], "Did you mean --region"),
}

OTHERS = {"local evaluations": "decontaminate", "local list": "extract", "local config": "curate"}
"""Of these, other jobs than token_count."""

WINDOW = "--window=fixed:10m"
MESSAGES = "--input=pubsub://projects/some-project/subscriptions/pages"

STREAMS = {
    "token_count": [MESSAGES, "--early_firing=1m", "--allowed_lateness=1h", "--job_name=counts-of-pages"],
    "domain_score": [MESSAGES],
    "inverted_index": [MESSAGES],
    "dedup": [MESSAGES],
    "token_count watch": ["--input=watch:{root}/in/*.jsonl"],
}


@pytest.fixture(scope="module")
def place(image: Image) -> Iterator[Place]:
    with google_storage() as cloud, dataflow() as service, in_environment(cloud):
        yield Place(image, cloud, service)


@pytest.fixture(scope="module")
def launched(place: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Launched]:
    """All of them, in one process."""
    rows = [
        {"id": f"d{n}", "language": "en", "time": "2026-01-01T00:00:00Z", "text": "a word"} for n in range(9)
    ]
    place.put("in/a.jsonl", rows)
    place.put("bad/a.jsonl", [*rows, {"id": "null", "text": None}])
    here = tmp_path_factory.mktemp("in") / "a.jsonl"
    here.write_text(json.dumps(rows[0]))
    here.with_name("a.jsonl.toml").write_text("[mask]\n")

    def fate(job: Submitted) -> None:
        if job.job["type"] == 2:
            job.state = DRAINED if _name(job) != "stream token_count" else job.state
        else:
            ENDINGS[_name(job)][1](job, place.service)

    place.service.fate = fate
    return place.launch(list(_launches(place, here)))


def _launches(place: Place, here: Path) -> Iterator[Launch]:
    root = place.cloud.root

    def launch(
        name: str, module: str, flags: list[str], left_out: str = "", interrupted: bool = False
    ) -> Launch:
        flags = [flag.format(root=root, here=here) for flag in flags]
        given = {
            flag.partition("=")[0]: flag
            for flag in [f"--output={root}/out-{name}", *place.flags(name), *flags]
        }
        given.pop(f"--{left_out}", None)
        return Launch(name, f"beam_etl.pipelines.{module}", list(given.values()), interrupted)

    read = f"--input={root}/{GOOD}"
    for name, (flags, *_) in ENDINGS.items():
        yield launch(name, "token_count", [read, *flags], interrupted=name == "interrupted")
    for name in MISSING:
        yield launch(f"no {name}", "token_count", [read], left_out=name)
    for name, (flags, _) in WRONG.items():
        yield launch(name, OTHERS.get(name, "token_count"), [read, *flags])
    for name, flags in STREAMS.items():
        module = name.split(maxsplit=1)[0]
        yield launch(f"stream {name}", module, [*flags, WINDOW], interrupted=name == "token_count")
        yield launch(f"plan {name}", module, [*flags, WINDOW, "--plan=json"], left_out="project")
    again = ["--update", f"--output={root}/out-stream token_count"]
    yield launch("updating", "token_count", [*STREAMS["token_count"], WINDOW, *again])


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_exit_code_tells_how_the_job_has_ended(
    place: Place, launched: dict[str, Launched], ending: str
) -> None:
    _, _, code, texts = ENDINGS[ending]
    told = launched[ending]
    assert told.code == code, told.err
    for text in texts:
        assert text.format(root=place.cloud.root) in told.err
    if ending != "lost":  # where Beam's own thread tells of it as well
        assert "Traceback (most recent call last)" not in told.err


def test_what_was_interrupted_goes_on_there(place: Place, launched: dict[str, Launched]) -> None:
    assert launched["interrupted"].code == 130
    assert place.submitted("interrupted").asked == []


def test_a_template_is_a_job_that_nobody_was_sent(place: Place, launched: dict[str, Launched]) -> None:
    assert launched["template"].code == 0
    assert "template" not in map(_name, place.service.jobs)
    path = f"{place.cloud.root}/spec.json"
    assert json.loads(store_of(path).read(path))["environment"]["sdkPipelineOptions"]


def test_what_another_published_stays(place: Place, launched: dict[str, Launched]) -> None:
    found = manifest.latest(f"{place.cloud.root}/out-overtaken")
    assert launched["overtaken"].code == 1
    assert found is not None
    assert (found.number, found.run) == (1, "aaaaaaaaaaaa")


@pytest.mark.parametrize("name", [*(f"no {name}" for name in MISSING), *WRONG])
def test_what_cannot_run_there_is_told_before_anything_is_staged(
    place: Place, launched: dict[str, Launched], name: str
) -> None:
    text = MISSING[name.removeprefix("no ")] if name.startswith("no ") else WRONG[name][1]
    assert launched[name].code == 2
    assert text in launched[name].err
    assert len(launched[name].err.strip().splitlines()) == 1
    assert place.staged(name) == {}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_submitted_as_its_plan_shows_it(
    place: Place, launched: dict[str, Launched], name: str
) -> None:
    assert launched[f"plan {name}"].code == 0, launched[f"plan {name}"].err
    plan = json.loads(launched[f"plan {name}"].out)
    job, pipeline = place.submitted(f"stream {name}"), place.pipeline(f"stream {name}")
    assert job.job["type"] == 2
    assert {"enable_streaming_engine", "use_runner_v2"} <= set(job.job["environment"]["experiments"])
    assert top_steps(pipeline) == plan["steps"]
    known = {*(shuffle["label"] for shuffle in plan["shuffles"]), *plan["handed_out"]}
    assert {
        next((label for label in known if step.startswith(f"{label}/")), step) for step in groupings(pipeline)
    } == (known)
    assert any(
        "FixedWindows {'size': '600'" in text.replace("Duration(600)", "600") for text in grouped(pipeline)
    )


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_makes_its_dataset_known_and_ends_when_it_is_drained(
    place: Place, launched: dict[str, Launched], name: str
) -> None:
    told = launched[f"stream {name}"]
    assert told.code == (130 if name == "token_count" else 0), told.err
    found = manifest.latest(f"{place.cloud.root}/out-stream {name}")
    assert found is not None
    assert [stream["job"] for stream in found.streams.values()] == [name.split(maxsplit=1)[0]]


def test_a_stream_that_is_left_says_how_to_drain_it(launched: dict[str, Launched]) -> None:
    assert "gcloud dataflow jobs drain 2026-01-01_00_00_00-" in launched["stream token_count"].err


def test_an_update_goes_on_with_the_stream_of_the_job_that_it_replaces(
    place: Place, launched: dict[str, Launched]
) -> None:
    assert launched["updating"].code == 0, launched["updating"].err
    found = manifest.latest(f"{place.cloud.root}/out-stream token_count")
    assert found is not None
    (stream,) = found.streams
    assert place.submitted("updating").job["replaceJobId"]
    assert stream.encode() in b"".join(unpacked(place.staged("updating")["pipeline.pb"]))


def test_nothing_else_was_asked_of_the_service(place: Place, launched: dict[str, Launched]) -> None:
    assert launched
    assert place.service.refused == []
