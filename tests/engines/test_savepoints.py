"""Savepoints and drains, against a stand-in for Flink's REST."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from beam_etl.engines.flink import by_name, jobs, savepoints
from beam_etl.engines.flink.rest import FlinkError, FlinkRest
from tests.engines.stub_flink import StubFlink, vertex

COMPLETED = {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/savepoints/savepoint-1"}}
FAILED = {
    "status": {"id": "COMPLETED"},
    "operation": {
        "failure-cause": {
            "class": "E",
            "stack-trace": "java.io.IOException: the disk is full\\n\\tat a.B.c(B.java:1)",
        }
    },
}


@pytest.fixture
def stub() -> Iterator[StubFlink]:
    """Knows a stream that runs, whose checkpoints are beside its output."""
    served = StubFlink()
    served.add_job("a", "token_count-1", "RUNNING", "FINISHED")
    served.answers["/jobs/a/config"] = {
        "execution-config": {"user-config": {"stateBackendStoragePath": "file:///out/_staging/1/checkpoints"}}
    }
    for kind in ("stop", "savepoints"):
        served.answers[f"/jobs/a/{kind}"] = {"request-id": "r"}
    served.answers["/jobs/a/savepoints/r"] = COMPLETED
    yield served
    served.stop()


COMMANDS: dict[str, tuple[bool, str, dict[str, Any]]] = {
    "savepoint": (
        False,
        "POST /jobs/a/savepoints",
        {"target-directory": "file:///out/_staging/1/savepoints", "cancel-job": False},
    ),
    "stop": (
        True,
        "POST /jobs/a/stop",
        {"targetDirectory": "file:///out/_staging/1/savepoints", "drain": False},
    ),
}


@pytest.mark.parametrize(("ends", "asked", "sent"), COMMANDS.values(), ids=COMMANDS)
def test_a_savepoint_goes_beside_the_checkpoints_and_its_path_is_printed(
    ends: bool, asked: str, sent: dict[str, Any], stub: StubFlink, capsys: pytest.CaptureFixture[str]
) -> None:
    assert by_name.savepoint(FlinkRest(stub.address), "token_count", None, ends) == by_name.DONE
    assert asked in stub.asked
    assert stub.sent == [sent]
    assert capsys.readouterr().out == "file:/savepoints/savepoint-1\n"


def test_a_drain_tells_the_sources_to_end_and_ends_the_job_when_all_have(
    stub: StubFlink, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.states["a"] = ["RUNNING"]
    stub.answers["/jobs/a"]["vertices"] = [vertex("read"), vertex("commit")]
    told = stub.answers["/jobs/a/config"]["execution-config"]["user-config"]
    told["stateBackendStoragePath"] = f"file://{tmp_path}/checkpoints"
    marks = {name: [{"id": "0.currentInputWatermark", "value": "1000"}] for name in ("read", "commit")}
    stub.answers |= {f"/jobs/a/vertices/{name}/watermarks": mark for name, mark in marks.items()}
    looks = count()

    def pass_time() -> None:
        assert (tmp_path / "end").exists()
        for name in ("read", "commit")[: next(looks)]:
            marks[name][0]["value"] = "9223372036854775807"

    stub.on_status = pass_time
    assert by_name.drain(FlinkRest(stub.address), "token_count") == by_name.DONE
    changes = [asked for asked in stub.asked if not asked.startswith("GET")]
    assert changes == ["POST /jobs/a/savepoints", "PATCH /jobs/a?mode=cancel"]
    assert (tmp_path / "drained").exists()
    assert "drained" in capsys.readouterr().err


def test_a_stream_that_somebody_else_ends_meanwhile_is_not_marked_as_drained(
    stub: StubFlink, tmp_path: Path
) -> None:
    told = stub.answers["/jobs/a/config"]["execution-config"]["user-config"]
    told["stateBackendStoragePath"] = f"file://{tmp_path}/checkpoints"
    stub.answers["/jobs/a"]["vertices"] = [vertex("read")]
    stub.answers["/jobs/a/vertices/read/watermarks"] = [{"id": "0", "value": "1000"}]
    stub.states["a"] = ["RUNNING", "RUNNING", "CANCELED"]
    savepoints.tell_to_end(FlinkRest(stub.address), "a")
    assert jobs.end_when_drained(FlinkRest(stub.address), "a", poll_seconds=0.01) == "CANCELED"
    assert [path.name for path in tmp_path.iterdir()] == ["end"]


def test_a_drain_of_what_keeps_its_state_elsewhere_says_what_to_do(
    stub: StubFlink, capsys: pytest.CaptureFixture[str]
) -> None:
    assert by_name.drain(FlinkRest(stub.address), "token_count") == by_name.FAILED
    assert "make it where that folder is seen" in capsys.readouterr().err


def test_another_place_can_be_named(stub: StubFlink) -> None:
    assert by_name.savepoint(FlinkRest(stub.address), "token_count", "s3://b/s", False) == by_name.DONE
    assert stub.sent == [{"target-directory": "s3://b/s", "cancel-job": False}]


def test_a_savepoint_that_fails_is_told_with_its_cause(
    stub: StubFlink, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.answers["/jobs/a/savepoints/r"] = FAILED
    assert by_name.savepoint(FlinkRest(stub.address), "token_count", None, True) == by_name.FAILED
    assert "the disk is full" in capsys.readouterr().err


def test_a_savepoint_that_takes_too_long_is_given_up(stub: StubFlink) -> None:
    stub.answers["/jobs/a/savepoints/r"] = {"status": {"id": "IN_PROGRESS"}, "operation": None}
    with pytest.raises(FlinkError, match=r"isn't there after 0\.3 s"):
        savepoints.stop(FlinkRest(stub.address), "a", "file:///s", seconds=0.3)


def test_without_a_place_the_user_is_asked_for_one(stub: StubFlink) -> None:
    stub.answers["/jobs/a/config"] = {}
    stub.answers["/jobmanager/config"] = []
    with pytest.raises(FlinkError, match="--target=URL"):
        savepoints.savepoint_folder(FlinkRest(stub.address), "a")
    stub.answers["/jobmanager/config"] = [{"key": "state.savepoints.dir", "value": "s3://b/savepoints"}]
    assert savepoints.savepoint_folder(FlinkRest(stub.address), "a") == "s3://b/savepoints"


def test_the_latest_savepoint_of_a_job_is_told(stub: StubFlink) -> None:
    rest = FlinkRest(stub.address)
    assert savepoints.latest_savepoint(rest, "a") is None
    stub.answers["/jobs/a/checkpoints"] = {"latest": {"savepoint": {"external_path": "file:/s/1"}}}
    assert savepoints.latest_savepoint(rest, "a") == "file:/s/1"
