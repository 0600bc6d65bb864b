"""What becomes of a job on Flink whose launcher is interrupted, or lost."""

import signal
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from beam_etl.engines.flink import by_name, cluster
from beam_etl.engines.flink.rest import FlinkRest, JobStatus
from beam_etl.engines.flink.runner import FlinkRunner
from beam_etl.io import manifest
from tests.engines.bench import WEBTEXT, Bench
from tests.engines.faults import wait_for
from tests.engines.launching import Launched, launch, on

pytestmark = pytest.mark.slow


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def started(name: str, running: cluster.Running, bench: Bench, output: Path) -> Launched:
    """A launcher whose job has a task that runs."""
    flags = [f"--input={bench.corpus(WEBTEXT)}", f"--output={output}", f"--job_name={name}", *on(running, 2)]
    launched = launch("dedup", flags, output.with_suffix(".log"))
    rest = FlinkRest(running.rest)

    def runs() -> JobStatus | None:
        found = rest.find(name)
        status = rest.job(found.id) if found else None
        return status if status and any(stage.state == "RUNNING" for stage in status.stages) else None

    wait_for(f"{name} on Flink", runs)
    return launched


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_cancels_the_job_itself_and_leaves_nothing(
    number: signal.Signals, flink_cluster: cluster.Running, bench: Bench, output: Path
) -> None:
    launched = started(f"signal-{number}", flink_cluster, bench, output)
    launched.process.send_signal(number)
    assert launched.wait() == 128 + number
    job = FlinkRest(flink_cluster.rest).find(f"signal-{number}")
    assert job is not None
    assert job.state == "CANCELED"
    assert not output.exists()
    assert "interrupted; cancelling the job on Flink" in launched.said


def test_the_job_of_a_lost_launcher_is_attached_to_by_name(
    flink_cluster: cluster.Running, bench: Bench, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launched = started("lost-launcher", flink_cluster, bench, output)
    launched.process.kill()
    launched.wait()
    assert by_name.attach(FlinkRest(flink_cluster.rest), "lost-launcher") == 0
    assert "lost-launcher: finished after" in capsys.readouterr().err
    published = manifest.latest(output.as_posix())
    assert published is not None
    assert published.rows("documents") > 0


def test_the_result_of_a_pipeline_cancels_the_job_itself(flink_cluster: cluster.Running) -> None:
    options = PipelineOptions(
        [*flink_cluster.flags(), "--job_name=result", "--environment_cache_millis=1000"]
    )
    pipeline = beam.Pipeline(runner=FlinkRunner(), options=options)
    pipeline | beam.Create([600]) | beam.Map(time.sleep)
    result = pipeline.run()
    assert result.wait_until_finish(duration=1000) == result.state == PipelineState.RUNNING
    result.cancel()
    assert result.state == result.wait_until_finish() == PipelineState.CANCELLED
