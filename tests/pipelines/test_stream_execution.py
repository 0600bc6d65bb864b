"""What becomes of a stream that ends, against a stand-in for Flink: what it can go on from is told, and stays."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from apache_beam.runners.runner import PipelineResult

from beam_etl.engines import dataflow
from beam_etl.engines.flink.rest import FlinkError, FlinkRest
from beam_etl.engines.flink.runner import FlinkResult, JobFailedError
from beam_etl.io import panes, staging
from beam_etl.pipelines import stream_execution
from beam_etl.pipelines.interrupt import Interrupted
from beam_etl.pipelines.pane_progress import PaneProgress
from beam_etl.pipelines.stream_execution import StreamExecution, last_checkpoint
from tests.engines.stub_flink import StubFlink

STREAM = "e4e4e4e4e4e4"
JOB = "a0a0a0a0"
GIVEN = "file:///out/_staging/e4e4e4e4e4e4/savepoints/savepoint-b0b0b0-1"
FAILING = panes.PaneCommit(
    stream=STREAM,
    start=0,
    end=1,
    index=0,
    timing="",
    files=(),
    schemas={},
    about={},
    failures=("too large",),
)


class Ended(FlinkResult):
    """A job that is waited for in vain."""

    def __init__(self, rest: FlinkRest, error: BaseException) -> None:
        super().__init__(rest, JOB, {})
        self._error = error

    def wait_until_finish(self, duration: int | None = None) -> str:
        raise self._error


class Submitted:
    """A pipeline whose job is this one, or whose submission fails."""

    def __init__(self, found: PipelineResult | BaseException) -> None:
        self._found = found

    def run(self) -> PipelineResult:
        if isinstance(self._found, BaseException):
            raise self._found
        return self._found


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubFlink]:
    """Knows a stream that runs, and whose savepoints take long."""
    monkeypatch.setattr(stream_execution, "STOP_SECONDS", 0.1)
    served = StubFlink()
    served.add_job(JOB, "job", "RUNNING")
    checkpoints = f"file://{staging.staging_folder(str(tmp_path), STREAM)}/checkpoints"
    told = {"execution-config": {"user-config": {"stateBackendStoragePath": checkpoints}}}
    served.answers[f"/jobs/{JOB}/config"] = told
    served.answers[f"/jobs/{JOB}/stop"] = {"request-id": "r"}
    served.answers[f"/jobs/{JOB}/savepoints/r"] = {"status": {"id": "IN_PROGRESS"}}
    yield served
    served.stop()


@pytest.fixture
def execution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StreamExecution:
    """Of a stream that no other test has given up in this process."""
    monkeypatch.setattr(staging, "_abandoned", set())
    panes.register(str(tmp_path), STREAM, "job", {})
    return StreamExecution("job", (str(tmp_path),), STREAM, "job", False, nullcontext())


def staged(dataset: Path) -> Path:
    return Path(staging.staging_folder(str(dataset), STREAM))


def left(dataset: Path, name: str, age: int = 0) -> str:
    """What a job left: a checkpoint or savepoint so many seconds old."""
    folder = staged(dataset) / name
    folder.mkdir(parents=True)
    (folder / "_metadata").touch()
    time = 1_800_000_000 - age
    os.utime(folder / "_metadata", (time, time))
    return f"file://{folder}"


EARLY_ENDS: dict[str, tuple[BaseException, int]] = {
    "fails": (RuntimeError("no worker"), 1),
    "is interrupted": (Interrupted(15), 143),
}


@pytest.mark.parametrize(("error", "code"), EARLY_ENDS.values(), ids=EARLY_ENDS)
@pytest.mark.parametrize("runs", [False, True], ids=["submitting", "before a checkpoint"])
def test_a_restart_that_ends_early_keeps_what_it_started_from(
    error: BaseException,
    code: int,
    runs: bool,
    stub: StubFlink,
    execution: StreamExecution,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    left(tmp_path, "checkpoints/b0b0b0b0/chk-9")
    found = Ended(FlinkRest(stub.address), error) if runs else error
    assert replace(execution, savepoint=GIVEN)(Submitted(found)) == code  # type: ignore[arg-type]
    assert f"--savepoint_path={GIVEN}\n" in capsys.readouterr().err
    assert (staged(tmp_path) / "checkpoints/b0b0b0b0/chk-9/_metadata").exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [(JobFailedError("no worker"), 1), (Interrupted(2), 130)],
    ids=["failed", "interrupted, and its savepoint takes too long"],
)
def test_a_job_that_has_a_checkpoint_of_its_own_tells_the_newest(
    error: BaseException,
    code: int,
    stub: StubFlink,
    execution: StreamExecution,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    left(tmp_path, f"checkpoints/{JOB}/chk-1", age=9)
    newest = left(tmp_path, f"checkpoints/{JOB}/chk-2", age=8)
    left(tmp_path, "checkpoints/b0b0b0b0/chk-9")
    submitted: Any = Submitted(Ended(FlinkRest(stub.address), error))
    assert replace(execution, savepoint=GIVEN)(submitted) == code
    assert f"--savepoint_path={newest}\n" in capsys.readouterr().err
    assert staged(tmp_path).exists()
    assert (f"PATCH /jobs/{JOB}?mode=cancel" in stub.asked) == (code == 130)


@pytest.mark.parametrize(
    "error", [JobFailedError("no worker"), Interrupted(2)], ids=lambda e: type(e).__name__
)
def test_where_nothing_can_be_gone_on_from_nothing_is_left(
    error: BaseException, stub: StubFlink, execution: StreamExecution, tmp_path: Path
) -> None:
    submitted: Any = Submitted(Ended(FlinkRest(stub.address), error))
    assert execution(submitted) in (1, 130)
    assert not staged(tmp_path).exists()


@pytest.mark.parametrize(("error", "code"), EARLY_ENDS.values(), ids=EARLY_ENDS)
def test_an_update_that_is_not_taken_leaves_the_stream_to_the_job_that_runs(
    error: BaseException,
    code: int,
    execution: StreamExecution,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    submitted: Any = Submitted(error)
    service = dataflow.Service("project", "region", True, "counts-of-pages", None)
    assert replace(execution, updates=True, service=service)(submitted) == code
    told = capsys.readouterr().err
    assert "the job that ran goes on" in told
    assert "publishes nothing" not in told
    assert ("--filter=name=counts-of-pages" in told) == (code == 143)
    panes.PanePublisher(str(tmp_path), STREAM).publish(FAILING)
    assert staged(tmp_path).exists()


def test_a_job_that_may_have_been_submitted_is_told_with_the_way_to_end_it(
    execution: StreamExecution, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted: Any = Submitted(Interrupted(2))
    service = dataflow.Service("project", "here", True, "counts-of-pages", None)
    assert replace(execution, service=service)(submitted) == 130
    told = capsys.readouterr().err
    assert "--filter=name=counts-of-pages --status=active --project=project --region=here" in told
    assert "should the job run, it publishes nothing" in told
    with pytest.raises(staging.AbandonedError):
        panes.PanePublisher(str(tmp_path), STREAM).publish(FAILING)


def test_a_job_that_the_launcher_fails_to_watch_is_cancelled(
    stub: StubFlink, execution: StreamExecution, tmp_path: Path
) -> None:
    left(tmp_path, f"checkpoints/{JOB}/chk-1")
    submitted: Any = Submitted(Ended(FlinkRest(stub.address), OSError("the terminal is gone")))
    assert execution(submitted) == 1
    assert f"PATCH /jobs/{JOB}?mode=cancel" in stub.asked


def test_at_the_end_only_what_was_drained_is_removed(
    stub: StubFlink, execution: StreamExecution, tmp_path: Path
) -> None:
    result = FlinkResult(FlinkRest(stub.address), JOB, {})
    (staged(tmp_path) / "end").touch()
    stub.status_code = 503
    assert f"{staged(tmp_path)} is kept" in (execution.keep_or_clean(result) or "")
    checkpoint = left(tmp_path, f"checkpoints/{JOB}/chk-1", age=9)
    assert (execution.keep_or_clean(result) or "").endswith(f"--savepoint_path={checkpoint}")
    savepoint = left(tmp_path, f"savepoints/savepoint-{JOB[:6]}-1")
    assert (execution.keep_or_clean(result) or "").endswith(f"--savepoint_path={savepoint}")
    stub.status_code = 200
    stub.answers[f"/jobs/{JOB}/checkpoints"] = {"latest": {"savepoint": {"external_path": "s3://b/1"}}}
    assert (execution.keep_or_clean(result) or "").endswith("--savepoint_path=s3://b/1")
    (staged(tmp_path) / "drained").touch()
    assert execution.keep_or_clean(result) is None
    assert not staged(tmp_path).exists()


def test_in_process_nothing_is_left(execution: StreamExecution, tmp_path: Path) -> None:
    assert replace(execution, in_process=True).keep_or_clean(PipelineResult("DONE")) is None
    assert not staged(tmp_path).exists()


class Refusing:
    """Something that Flink is asked for, and does at the third time."""

    def __init__(self) -> None:
        self.asked = 0
        self.done = Event()

    def __call__(self, *arguments: object) -> None:
        self.asked += 1
        if self.asked < 3:
            raise FlinkError("no Flink answers")
        self.done.set()


def test_what_watches_a_stream_bears_a_flink_that_does_not_answer_for_a_while(
    stub: StubFlink, execution: StreamExecution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_execution, "RETRY_SECONDS", 0.01)
    drain, cancel, progress = Refusing(), Refusing(), PaneProgress(str(tmp_path), STREAM)
    monkeypatch.setattr(stream_execution, "end_when_drained", drain)
    result = FlinkResult(FlinkRest(stub.address), JOB, {})
    monkeypatch.setattr(result, "cancel", cancel)
    with progress:
        panes.PanePublisher(str(tmp_path), STREAM).publish(FAILING)
        with replace(execution, progress=progress)._watching(result):
            assert cancel.done.wait(60)
            assert drain.done.wait(60)
    assert cancel.asked == 3


def test_the_last_checkpoint_of_a_job_that_failed_is_found(tmp_path: Path) -> None:
    assert last_checkpoint(str(tmp_path), STREAM) is None
    for number in (1, 2):
        newest = left(tmp_path, f"checkpoints/{JOB}/chk-{number}", age=9 - number)
    (staged(tmp_path) / "checkpoints" / JOB / "chk-3").mkdir()
    assert last_checkpoint(str(tmp_path), STREAM) == newest
    assert last_checkpoint(str(tmp_path), STREAM, "b0b0b0b0") is None
