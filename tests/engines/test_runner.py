"""A job on Flink as its launcher waits for it, against a stand-in for Flink's REST."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from beam_etl.engines.flink import jobs
from beam_etl.engines.flink.rest import FlinkRest
from beam_etl.engines.flink.runner import FlinkResult, JobFailedError
from beam_etl.engines.flink.settings import RESTARTS
from tests.engines.stub_flink import StubFlink, failure, task, vertex


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubFlink]:
    quick = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: None)
    monkeypatch.setattr(jobs, "time", quick)
    served = StubFlink()
    yield served
    served.stop()


def failing(stub: StubFlink, most: int | None, finishes_at: int = -1) -> tuple[FlinkResult, list[int]]:
    """A job that fails at each of 30 looks, at the last for good, and the looks; at one of them a stage is finished."""
    details = stub.add_job(
        "a", "job", "RUNNING", vertices=(vertex("read", "RUNNING"), vertex("join", "RUNNING"))
    )
    for stage in ("read", "join"):
        stub.answers[f"/jobs/a/vertices/{stage}"] = {"subtasks": [task(30)]}
    entries: list[Any] = []
    stub.answers["/jobs/a/exceptions"] = {
        "root-exception": "java.lang.Exception: a bad row",
        "exceptionHistory": {"entries": entries},
    }
    looks: list[int] = []

    def look() -> None:
        if stub.states["a"][0] != "RUNNING":
            for stage in details["vertices"]:
                stage["status"] = "CANCELED"
            return
        looks.append(len(looks))
        details["timestamps"]["RESTARTING"] = len(looks)
        details["vertices"][0]["status"] = "FINISHED" if len(looks) == finishes_at else "RUNNING"
        entries.append(failure("java.lang.Exception: a bad row"))
        if len(looks) == 30:
            details["state"], stub.states["a"] = "FAILED", ["FAILED"]

    stub.on_status = look
    return FlinkResult(FlinkRest(stub.address), "a", {}, most), looks


@pytest.mark.parametrize("finishes_at", [-1, 8], ids=["nothing is finished", "a stage is finished meanwhile"])
def test_a_batch_job_that_gets_no_further_is_cancelled_with_its_cause(
    stub: StubFlink, finishes_at: int
) -> None:
    result, looks = failing(stub, RESTARTS, finishes_at)
    with pytest.raises(JobFailedError, match=r"cancelled after 11 restarts .* a bad row"):
        result.wait_until_finish()
    assert "PATCH /jobs/a?mode=cancel" in stub.asked
    assert len(looks) == RESTARTS + 1 + (finishes_at + 1)  # which is seen at the next look


def test_the_restarts_of_a_stream_are_for_flink_to_count(stub: StubFlink) -> None:
    result, looks = failing(stub, None)
    with pytest.raises(JobFailedError, match="^.*a bad row"):
        result.wait_until_finish()
    assert len(looks) == 30
    assert "PATCH /jobs/a?mode=cancel" not in stub.asked
