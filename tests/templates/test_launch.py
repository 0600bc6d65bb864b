"""Each template as its launcher starts it: parameters of its metadata in, a job out; and the job's workers."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from confluent_kafka import Producer

from beam_etl.io import manifest, publishing
from beam_etl.io.stores import store_of
from beam_etl.pipelines import inverted_index
from beam_etl.templates.launch import IMAGE, USAGE
from tests.cloud import Cloud, in_environment
from tests.steps import STEPS, check_steps
from tests.templates.broken import without
from tests.templates.conftest import NAME
from tests.templates.driving import Launch, Launched, drive, google_storage
from tests.templates.image import REPOSITORY, Image
from tests.templates.parameters import GIVEN, REQUIRED, ROOT, SUBSCRIPTION, documents, json_lines
from tests.templates.workers import (
    Pipeline,
    by_harness,
    container,
    execute,
    on_pool,
    pool,
    reached_by_loopback,
)

pytestmark = pytest.mark.slow

LAUNCHER = (
    "--runner=DataflowRunner",
    "--project=project",
    "--region=europe-west4",
    f"--temp_location={ROOT}/tmp",
    "--no_auth",
)
"""What the launcher adds; without --no_auth, which stands for the credentials that it has."""

STREAMS = [name for name in REQUIRED if name.endswith(("_pubsub", "_kafka"))]
BATCH = [name for name in REQUIRED if name not in STREAMS]


@dataclass(frozen=True)
class Job:
    """What came of a launch."""

    launched: Launched
    told: dict[str, Any]
    """The file that the service starts the job from."""

    @property
    def options(self) -> dict[str, Any]:
        """Beam's, as workers get them."""
        found: dict[str, Any] = self.told["environment"]["sdkPipelineOptions"]["options"]
        return found

    @property
    def pipeline(self) -> Pipeline:
        """As it was staged."""
        return Pipeline.FromString(store_of(self.options["pipelineUrl"]).read(self.options["pipelineUrl"]))


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """Cloud Storage, with documents and an index of them."""
    with google_storage() as made, in_environment(made):
        for seed, name in enumerate("ab"):
            store_of(ROOT).write(f"{ROOT}/in/{name}.jsonl", json_lines(documents(seed)))
        for path, content in GIVEN.items():
            store_of(ROOT).write(path, content)
        assert inverted_index.run([f"--input={ROOT}/in/*.jsonl", f"--output={ROOT}/index"]) == 0
        yield made


def metadata(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REPOSITORY / f"templates/metadata/{name}.json").read_text())
    return found


def parameters(name: str, **others: str) -> list[str]:
    """As the console gives them: those that are needed, and the defaults of the others."""
    told = {
        each["name"]: each["defaultValue"] for each in metadata(name)["parameters"] if "defaultValue" in each
    }
    return [f"--{each}={value}" for each, value in {**told, **REQUIRED[name], **others}.items()]


@pytest.fixture(scope="module")
def topic() -> Iterator[str]:
    """A topic with documents, on a mock broker that lives as long as its producer."""
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused", "log_level": 0})
    (broker,) = producer.list_topics(timeout=30).brokers.values()
    for line in json_lines(documents(0)).splitlines():
        producer.produce("documents", line)
    assert producer.flush(30) == 0
    yield f"kafka://{broker.host}:{broker.port}/documents"
    del producer


@pytest.fixture(scope="module")
def jobs(image: Image, cloud: Cloud, topic: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    folder = tmp_path_factory.mktemp("jobs")
    others = {name: {"input": topic} for name in REQUIRED if name.endswith("_kafka")}
    launches = [
        Launch(
            name,
            "beam_etl.templates.launch",
            [*parameters(name, **others.get(name, {})), *LAUNCHER, f"--template_location={folder}/{name}"],
        )
        for name in REQUIRED
    ]
    launched = drive(image.python, launches, container(image, cloud.environment))
    assert {name: (told.code, told.err) for name, told in launched.items() if told.code != 0} == {}
    assert [name for name in BATCH if manifest.latest(REQUIRED[name]["output"])] == []
    return {name: Job(told, json.loads((folder / name).read_text())) for name, told in launched.items()}


@pytest.mark.parametrize("name", REQUIRED)
def test_the_job_is_of_the_kind_and_the_image_that_the_template_says(jobs: dict[str, Job], name: str) -> None:
    job = jobs[name]
    kind = "STREAMING" if metadata(name)["streaming"] else "BATCH"
    assert job.told["type"] == f"JOB_TYPE_{kind}"
    (workers,) = job.told["environment"]["workerPools"]
    assert {each["containerImage"] for each in workers["sdkHarnessContainerImages"]} == {NAME}
    environments = job.pipeline.components.environments.values()
    payloads = [beam_runner_api_pb2.DockerPayload.FromString(each.payload) for each in environments]
    assert {each.urn for each in environments} == {common_urns.environments.DOCKER.urn}
    assert {payload.container_image for payload in payloads} == {NAME}


@pytest.mark.parametrize("name", REQUIRED)
def test_workers_are_sent_nothing_to_install(jobs: dict[str, Job], name: str) -> None:
    (workers,) = jobs[name].told["environment"]["workerPools"]
    assert [package["name"] for package in workers.get("packages", [])] in ([], ["pipeline.pb"])
    assert [list(each.dependencies) for each in jobs[name].pipeline.components.environments.values()] == [[]]


@pytest.mark.parametrize("name", REQUIRED)
def test_the_launcher_says_where_the_job_is(jobs: dict[str, Job], name: str) -> None:
    assert "nothing runs yet" in jobs[name].launched.out + jobs[name].launched.err


@pytest.mark.parametrize("name", STREAMS)
def test_steps_of_a_stream_keep_their_names(jobs: dict[str, Job], name: str) -> None:
    steps = jobs[name].pipeline.components.transforms.values()
    check_steps(STEPS / f"{name}.txt", [step.unique_name for step in steps if not step.subtransforms])


@pytest.mark.parametrize("name", [name for name in STREAMS if name.endswith("_pubsub")])
def test_the_service_itself_reads_the_subscription(jobs: dict[str, Job], name: str) -> None:
    (read,) = [
        beam_runner_api_pb2.PubSubReadPayload.FromString(step.spec.payload)
        for step in jobs[name].pipeline.components.transforms.values()
        if step.spec.urn == common_urns.composites.PUBSUB_READ.urn
    ]
    assert read.subscription == SUBSCRIPTION


REFUSED: Mapping[str, tuple[list[str], str]] = {
    "no pipeline": ([], "pipeline=: no template starts that"),
    "a pipeline without a template": (["--pipeline=show"], "pipeline=show: no template starts that"),
    "a value": (["--pipeline=topk", "--k=many"], "argument --k: invalid int value: 'many'"),
    "a combination": (["--pipeline=dedup", "--ngram=3", "--method=exact"], "--ngram needs --method=near"),
    "a name": (["--pipeline=dedup", "--thresold=0.8"], "unknown flag --thresold. Did you mean --threshold?"),
    "no such file": (["--pipeline=dedup", f"--input={ROOT}/none/*.jsonl"], f"{ROOT}/none/*.jsonl"),
}


def test_wrong_parameters_are_refused_with_the_pipelines_own_message(
    image: Image, cloud: Cloud, tmp_path: Path
) -> None:
    common = [f"--input={ROOT}/in/*.jsonl", f"--output={ROOT}/refused", *LAUNCHER]
    launches = []
    for name, (given, _) in REFUSED.items():
        needed = [*common, *(["--by=size"] if "--pipeline=topk" in given else [])]
        launches.append(
            Launch(
                name, "beam_etl.templates.launch", [*needed, *given, f"--template_location={tmp_path}/job"]
            )
        )
    launched = drive(image.python, launches, container(image, cloud.environment))
    assert {name: told.code for name, told in launched.items()} == dict.fromkeys(REFUSED, USAGE)
    for name, (_, message) in REFUSED.items():
        assert message in launched[name].err.splitlines()[-1]
    assert not (tmp_path / "job").exists()


def test_the_launchers_command_line_writes_the_job_and_ends(
    image: Image, cloud: Cloud, tmp_path: Path
) -> None:
    output = f"{ROOT}/out/by_command"
    argv = [*parameters("token_count", output=output), *LAUNCHER, f"--template_location={tmp_path}/job"]
    ran = command(image, argv, {**container(image, cloud.environment), **without_waits(tmp_path)})
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "job").read_text())["type"] == "JOB_TYPE_BATCH"
    assert manifest.latest(output) is None


def test_an_image_without_a_name_says_how_to_build_one(image: Image) -> None:
    ran = command(image, [*parameters("token_count"), *LAUNCHER], {**image.environment, IMAGE: ""})
    assert ran.returncode == USAGE
    assert "--build-arg=IMAGE=NAME:TAG" in ran.stderr


def without_waits(folder: Path) -> dict[str, str]:
    """An environment for a Python that sleeps 200 times shorter: Beam looks for credentials, and again after 25 s."""
    text = "import time\n\nsleep = time.sleep\ntime.sleep = lambda seconds: sleep(seconds / 200)\n"
    (folder / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": str(folder)}


def command(
    image: Image, argv: list[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What the launcher is documented to run."""
    return subprocess.run(
        ["python", str(image.launched), *argv],
        executable=str(image.python),
        cwd=image.root,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def workers(image: Image, cloud: Cloud) -> Iterator[str]:
    with pool(image, cloud.environment) as address, reached_by_loopback():
        yield address


@pytest.mark.parametrize("name", BATCH)
def test_workers_of_the_image_run_the_job(jobs: dict[str, Job], workers: str, name: str) -> None:
    output = REQUIRED[name]["output"]
    execute(on_pool(jobs[name].pipeline, workers))
    publishing.refresh(output)
    published = manifest.latest(output)
    assert published is not None
    assert published.about["job"] == metadata(name)["parameters"][0]["defaultValue"]
    assert sum(file.rows for file in published.files) > 0


def test_beams_harness_starts_in_the_image(image: Image, cloud: Cloud, jobs: dict[str, Job]) -> None:
    counted = execute(by_harness(jobs["topk"].pipeline, image, cloud.environment))
    read = {metric.key.metric.name: metric.committed for metric in counted.query()["counters"]}
    assert read["rows_read"] == sum(len(documents(seed)) for seed in range(2))


def test_an_image_that_lacks_a_package_shows(
    image: Image, cloud: Cloud, jobs: dict[str, Job], tmp_path: Path
) -> None:
    broken = without("obstore", image, tmp_path / "broken")
    environment = {**container(broken, cloud.environment), **without_waits(tmp_path)}
    launched = command(broken, [*parameters("token_count"), *LAUNCHER], environment)
    assert launched.returncode == USAGE
    assert "needs the package obstore" in launched.stderr
    with pytest.raises(RuntimeError, match="needs the package obstore"):
        execute(by_harness(jobs["token_count"].pipeline, broken, cloud.environment))
