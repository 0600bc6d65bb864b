"""Jobs on a real Flink: found, watched, counted, cancelled, and told why they fail."""

import time

import apache_beam as beam
import pytest
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from beam_etl.engines.flink import by_name, cluster, jobs
from beam_etl.engines.flink.rest import FlinkRest, JobStatus
from tests.engines.faults import wait_for

pytestmark = pytest.mark.slow


def submit(
    running: cluster.Running, name: str, first: beam.PTransform, *steps: beam.PTransform
) -> PipelineResult:
    """Runs steps on a real cluster."""
    options = PipelineOptions(
        [
            "--runner=PortableRunner",
            *running.flags(),
            f"--job_name={name}",
            "--parallelism=2",
            "--environment_cache_millis=1000",
        ]
    )
    pipeline = beam.Pipeline(options=options)
    done = pipeline | first
    for step in steps:
        done |= step
    return pipeline.run()


def test_a_real_job_is_found_watched_and_counted(flink_cluster: cluster.Running) -> None:
    rest = FlinkRest(flink_cluster.rest)

    def count(number: int) -> tuple[int, int]:
        Metrics.counter("test", "seen").inc()
        Metrics.distribution("test", "numbers").update(number)
        return number % 3, number

    submitted = submit(
        flink_cluster,
        "watched",
        beam.Create(range(50)),
        "Count" >> beam.Map(count),
        "By rest" >> beam.GroupByKey(),
    )
    job = wait_for("the job", lambda: rest.find("watched"))
    seen: list[JobStatus] = []
    ended = jobs.wait(rest, job.id, seen.append)
    assert (ended.state, ended.restarts, rest.attempts(job.id)) == ("FINISHED", 0, 0)
    assert {stage.state for stage in ended.stages} == {"FINISHED"}
    assert "receive By rest" in {stage.name for stage in ended.stages}
    counted = {
        name: value
        for (_, space, name), value in rest.user_metrics(job.id).counters.items()
        if space == "test"
    }
    assert counted == {"seen": 50}
    spread = rest.user_metrics(job.id).distributions
    assert [found for (_, space, _), found in spread.items() if space == "test"] == [(50, 1225, 0, 49)]
    assert rest.failure(job.id) is None
    submitted.wait_until_finish()
    assert rest.overview().task_managers == 2
    assert rest.settings()["rest.address"] == "127.0.0.1"
    assert (rest.heap_bytes() or 0) > 100 << 20


def test_a_real_job_is_cancelled_by_the_beginning_of_its_name(flink_cluster: cluster.Running) -> None:
    rest = FlinkRest(flink_cluster.rest)
    submitted = submit(flink_cluster, "sleeper-1", beam.Create([600]), "Sleep" >> beam.Map(time.sleep))
    job = wait_for("the job", lambda: rest.find("sleeper-1"))
    assert "sleeper-1" in by_name.describe_jobs(rest)
    assert by_name.cancel(rest, "sleeper-") == 0
    assert rest.job(job.id).state == "CANCELED"
    with pytest.raises(RuntimeError, match="cancelled"):
        submitted.wait_until_finish()


def test_a_real_job_tells_the_python_exception_and_how_often_it_was_tried(
    flink_cluster: cluster.Running,
) -> None:
    rest = FlinkRest(flink_cluster.rest)
    submitted = submit(flink_cluster, "failing", beam.Create(["x"]), "Parse" >> beam.Map(int))
    job = wait_for("the job", lambda: rest.find("failing"))

    causes: list[str] = []

    def failed_twice(status: JobStatus) -> None:
        if status.restarts >= 2:
            causes.append(rest.failure(job.id) or "")
            rest.cancel(job.id)

    ended = jobs.wait(rest, job.id, failed_twice)
    assert causes[0].startswith(
        "ValueError: invalid literal for int() with base 10: 'x' [while running 'Parse']"
    )
    assert ended.state == "CANCELED"
    assert ended.restarts >= 2
    assert max(stage.attempts or 0 for stage in ended.stages) >= 1
    with pytest.raises(RuntimeError, match="cancelled"):
        submitted.wait_until_finish()
