"""Waiting for jobs on Flink, cancelling and showing them, against a stand-in for Flink's REST."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from beam_etl.engines.flink import by_name, jobs
from beam_etl.engines.flink.rest import (
    FlinkRest,
    JobStatus,
    Stage,
    UnknownJobError,
    UnreachableError,
)
from tests.engines.stub_flink import StubFlink, failure, vertex

POLL = 0.01


@pytest.fixture
def stub() -> Iterator[StubFlink]:
    served = StubFlink()
    yield served
    served.stop()


@pytest.fixture
def rest(stub: StubFlink) -> FlinkRest:
    return FlinkRest(stub.address)


def wait(rest: FlinkRest, **limits: Any) -> tuple[JobStatus, list[str]]:
    """The end of job `a`, and the states that were seen on the way."""
    seen: list[str] = []
    status = jobs.wait(rest, "a", lambda status: seen.append(status.state), poll_seconds=POLL, **limits)
    return status, seen


def test_waiting_ends_with_the_job(stub: StubFlink, rest: FlinkRest) -> None:
    stub.add_job("a", "j", "INITIALIZING", "RUNNING", "RESTARTING", "SUSPENDED", "RUNNING", "FINISHED")
    status, seen = wait(rest)
    assert status.state == "FINISHED"
    assert seen == ["INITIALIZING", "RUNNING", "RESTARTING", "SUSPENDED", "RUNNING", "FINISHED"]


def test_waiting_bears_a_job_manager_that_comes_back(stub: StubFlink, rest: FlinkRest) -> None:
    details = stub.add_job("a", "j", "RUNNING")
    seen: list[int] = []

    def replace(status: JobStatus) -> None:
        seen.append(status.restarts)
        if len(seen) == 1:
            stub.stop()
            details["start-time"] += 9000  # the new one starts the job again
            threading.Timer(0.1, stub.start).start()
        if len(seen) == 3:
            stub.states["a"] = ["FINISHED"]

    status = jobs.wait(rest, "a", replace, poll_seconds=POLL)
    assert (status.state, seen) == ("FINISHED", [0, 1, 1, 1])


def test_waiting_bears_a_job_manager_that_isnt_ready(stub: StubFlink, rest: FlinkRest) -> None:
    stub.add_job("a", "j", "FINISHED")
    stub.status_code = 503
    threading.Timer(0.1, lambda: setattr(stub, "status_code", 200)).start()
    assert wait(rest)[0].state == "FINISHED"


def test_waiting_gives_up_on_an_address_that_stays_silent(stub: StubFlink, rest: FlinkRest) -> None:
    stub.add_job("a", "j", "RUNNING")
    stub.stop()
    with pytest.raises(UnreachableError, match=stub.address):
        wait(rest, lost_seconds=0.05)


def test_a_job_that_the_job_manager_came_back_without_is_lost(
    stub: StubFlink, rest: FlinkRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_TAKEN_UP_SECONDS", 0.05)
    stub.add_job("a", "j", "RUNNING")
    stub.on_status = stub.forget
    with pytest.raises(
        UnknownJobError, match=f"Flink at {stub.address} knows no job a: it was started again"
    ):
        wait(rest)


def test_a_job_may_be_taken_up_a_moment_after_the_job_manager_answers(
    stub: StubFlink, rest: FlinkRest
) -> None:
    threading.Timer(0.1, lambda: stub.add_job("a", "j", "FINISHED")).start()
    assert wait(rest)[0].state == "FINISHED"


def test_a_deadline_leaves_the_job_as_it_is(stub: StubFlink, rest: FlinkRest) -> None:
    stub.add_job("a", "j", "RUNNING")
    assert wait(rest, deadline=time.monotonic() + 0.05)[0].state == "RUNNING"
    stub.stop()
    with pytest.raises(UnreachableError):
        wait(rest, deadline=time.monotonic() + 0.05)


def test_the_end_is_told_with_the_stages_as_they_ended(stub: StubFlink, rest: FlinkRest) -> None:
    details = stub.add_job("a", "j", "FINISHED", vertices=(vertex("Read", "RUNNING", end=-1),))
    threading.Timer(0.1, lambda: details.update(vertices=[vertex("Read")])).start()
    assert [stage.state for stage in wait(rest)[0].stages] == ["FINISHED"]


def test_cancelling_waits_for_the_end(stub: StubFlink, rest: FlinkRest) -> None:
    stub.add_job("a", "j", "RUNNING")
    assert jobs.cancel(rest, "a") == "CANCELED"


def test_cancelling_tells_the_state_of_a_job_that_had_ended(stub: StubFlink, rest: FlinkRest) -> None:
    stub.add_job("a", "j", "FAILED")
    assert jobs.cancel(rest, "a") == "FAILED"


def status(state: str, *stages: tuple[str, str], restarts: int = 0) -> JobStatus:
    made = (Stage(name, 2, stage_state, 1, None, 0) for name, stage_state in stages)
    return JobStatus("a", "j", state, 1, 1, stages=tuple(made), restarts=restarts)


DONE_STAGES = (("start", "FINISHED"), ("Read", "FINISHED"))


@pytest.mark.parametrize(
    ("job", "text"),
    [
        (status("INITIALIZING"), "starting"),
        (status("RUNNING"), "starting"),
        (
            status("RUNNING", ("Read", "SCHEDULED"), ("Sum", "CREATED")),
            "stages 0 of 2, waiting for free slots",
        ),
        (status("RUNNING", ("Read", "DEPLOYING"), ("Sum", "CREATED")), "stages 0 of 2, deploying"),
        (
            status("RUNNING", *DONE_STAGES, ("Count", "RUNNING"), ("Write", "RUNNING")),
            "stages 2 of 4, running: Count",
        ),
        (
            status("RESTARTING", *DONE_STAGES, ("Count", "FAILED"), restarts=1),
            "stages 2 of 3, starting again after a failure; started again once",
        ),
        (
            status("RUNNING", *DONE_STAGES, ("Count", "RUNNING"), restarts=2),
            "stages 2 of 3, running: Count; started again 2 times",
        ),
        (status("CANCELLING", *DONE_STAGES, ("Count", "CANCELING")), "stages 2 of 3, cancelling"),
        (status("FINISHED", *DONE_STAGES), "stages 2 of 2, finished"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_progress_is_told_in_a_line(job: JobStatus, text: str) -> None:
    assert jobs.progress_text(job) == text


def test_the_table_has_each_job_and_how_far_it_is(stub: StubFlink, rest: FlinkRest) -> None:
    assert by_name.describe_jobs(rest) == f"Flink at {stub.address} knows no job"
    stub.add_job("a", "dedup-1", "FINISHED", start=1_700_000_000_000)
    stub.add_job(
        "b", "token_count-22", "RUNNING", start=1_700_000_009_000, vertices=(vertex("Read", "RUNNING"),)
    )
    heading, first, second = by_name.describe_jobs(rest).splitlines()
    assert heading.split() == ["job", "state", "started", "took"]
    assert first.split()[:2] == ["dedup-1", "FINISHED"]
    assert first.endswith("1.5 s")
    assert second.split()[:2] == ["token_count-22", "RUNNING"]
    assert second.endswith("stages 0 of 1, running: Read")
    assert first.index("FINISHED") == second.index("RUNNING")


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        ("FINISHED", 0, "j-1: finished after 1.5 s, started again once\n"),
        ("CANCELED", 1, "j-1: canceled after 1.5 s, started again once\n"),
        ("FAILED", 1, "j-1: failed after 1.5 s, started again once\nIOException: no disk\n"),
    ],
)
def test_attaching_gives_the_end_as_exit_code(
    stub: StubFlink, rest: FlinkRest, capsys: pytest.CaptureFixture[str], end: str, code: int, told: str
) -> None:
    stub.add_job("a", "j-1", "RUNNING", end, restarting=5)
    entries = [failure("first"), failure("last")][: 2 if end == "FAILED" else 1]
    root = "java.io.IOException: no disk\n\tat a.B.c(B.java:1)\n"
    stub.answers["/jobs/a/exceptions"] = {"root-exception": root, "exceptionHistory": {"entries": entries}}
    assert by_name.attach(rest, "j-1") == code
    assert capsys.readouterr().err.endswith(told)


def test_in_a_log_progress_is_a_line_when_it_changed(
    stub: StubFlink, rest: FlinkRest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_name, "LOG_SECONDS", 0)
    stub.add_job(
        "a", "j", "INITIALIZING", "RUNNING", "RUNNING", "CANCELLING", "CANCELED", vertices=(vertex("Read"),)
    )
    by_name.attach(rest, "j")
    assert capsys.readouterr().err.splitlines() == [
        "j: starting",
        "j: stages 1 of 1, deploying",
        "j: stages 1 of 1, cancelling",
        "j: stages 1 of 1, canceled",
        "j: canceled after 1.5 s",
    ]


def test_in_a_log_progress_is_told_now_and_then(
    stub: StubFlink, rest: FlinkRest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_name, "LOG_SECONDS", 3600)
    stub.add_job("a", "j", "INITIALIZING", "RUNNING", "FINISHED", vertices=(vertex("Read"),))
    by_name.attach(rest, "j")
    assert capsys.readouterr().err.splitlines() == ["j: starting", "j: finished after 1.5 s"]


def test_on_a_terminal_progress_is_one_line_that_goes_at_the_end(
    stub: StubFlink, rest: FlinkRest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    stub.add_job("a", "j", "INITIALIZING", "FINISHED", vertices=(vertex("Read"),))
    by_name.attach(rest, "j")
    first, *others = capsys.readouterr().err.split("\r\x1b[K")
    assert first == ""
    assert others == ["j: starting", "j: stages 1 of 1, finished", "j: finished after 1.5 s\n"]


def test_ctrl_c_leaves_the_job_and_says_how_to_come_back(
    stub: StubFlink, rest: FlinkRest, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.add_job("a", "dedup-1", "RUNNING")
    stub.on_status = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert by_name.attach(rest, "dedup-1") == 130
    assert not any(path.startswith("PATCH") for path in stub.asked)
    told = capsys.readouterr().err
    assert "dedup-1 goes on" in told
    assert f"attach dedup-1 --flink_master={stub.address}" in told
    assert f"cancel dedup-1 --flink_master={stub.address}" in told


def test_the_beginning_of_a_name_is_enough_for_the_only_one_that_runs(
    stub: StubFlink, rest: FlinkRest
) -> None:
    stub.add_job("a", "dedup-1", "FAILED", start=1)
    stub.add_job("b", "dedup-2", "RUNNING", start=2)
    assert by_name.cancel(rest, "dedup-") == 0
    assert "PATCH /jobs/b?mode=cancel" in stub.asked
    assert "PATCH /jobs/a?mode=cancel" not in stub.asked


def test_a_whole_name_means_the_newest_of_it_and_no_longer_one(stub: StubFlink, rest: FlinkRest) -> None:
    stub.add_job("a", "dedup-1", "RUNNING", start=1)
    stub.add_job("b", "dedup-1", "RUNNING", start=2)
    stub.add_job("c", "dedup-12", "RUNNING", start=3)
    assert by_name.cancel(rest, "dedup-1") == 0
    assert [path for path in stub.asked if path.startswith("PATCH")] == ["PATCH /jobs/b?mode=cancel"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("dedup-", "several jobs begin with 'dedup-'"),
        ("index", "no job 'index'"),
    ],
)
def test_a_name_that_fits_none_or_several_is_refused_with_those_that_run(
    stub: StubFlink, rest: FlinkRest, capsys: pytest.CaptureFixture[str], name: str, told: str
) -> None:
    stub.add_job("a", "dedup-1", "RUNNING", start=1)
    stub.add_job("b", "dedup-2", "RUNNING", start=2)
    for act in (by_name.attach, by_name.cancel):
        assert act(rest, name) == 2
        said = capsys.readouterr().err
        assert told in said
        assert "dedup-1, dedup-2" in said
    assert not any(path.startswith("PATCH") for path in stub.asked)


def test_cancelling_by_name_what_has_ended_says_so(
    stub: StubFlink, rest: FlinkRest, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.add_job("a", "dedup-1", "FINISHED")
    assert by_name.cancel(rest, "dedup-1") == 1
    assert capsys.readouterr().err == "dedup-1: had ended, finished\n"


def test_without_flink_both_say_so(
    stub: StubFlink, rest: FlinkRest, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.stop()
    assert by_name.attach(rest, "j") == 1
    assert by_name.cancel(rest, "j") == 1
    assert capsys.readouterr().err.count(f"no Flink answers at {stub.address}") == 2
