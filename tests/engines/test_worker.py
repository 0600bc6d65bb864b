"""What ends a worker that hangs, and what a worker is given: without processes of their own."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from apache_beam.runners.worker import data_plane
from apache_beam.runners.worker.statesampler import StateSampler
from apache_beam.utils.counters import CounterFactory

from beam_etl.engines import worker
from beam_etl.engines.lifeline import Lifeline, Order
from beam_etl.engines.provision import StagedError, harness_environment, provision_info, staged_files
from beam_etl.engines.supervisor import Event, Supervisor, Worker
from beam_etl.engines.worker import Stopwatch, broken_stream
from tests.engines.pools import ending
from tests.engines.task_manager import TaskManager, wait_for

LIMIT = 0.3
"""Seconds for an element."""


@contextmanager
def harness_with(work: Any) -> Iterator[Any]:
    """A harness in which one bundle runs: `work(sampler, end)`, in a thread of its own, until `end` is set."""
    sampler, end, begun = StateSampler("", CounterFactory()), threading.Event(), threading.Event()

    def bundle() -> None:
        sampler.start()
        begun.set()
        work(sampler, end)
        sampler.stop_if_still_running()

    thread = threading.Thread(target=bundle)
    thread.start()
    begun.wait()
    processors = {"bundle-1": ("descriptor", SimpleNamespace(state_sampler=sampler))}
    cache = SimpleNamespace(active_bundle_processors=processors, processors_being_created={})
    try:
        yield SimpleNamespace(_bundle_processor_cache=cache)
    finally:
        end.set()
        thread.join()


def busy(sampler: StateSampler, end: threading.Event) -> None:
    with sampler.scoped_state("Score", "process-msecs"):
        end.wait()


class Clock:
    """In place of the module `time`: moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What a stopwatch goes by."""
    made = Clock()
    monkeypatch.setattr(worker, "time", made)
    return made


def waiting_for_input(_: StateSampler, end: threading.Event) -> None:
    channel = data_plane.GrpcClientDataChannel.__new__(data_plane.GrpcClientDataChannel)
    data_plane._GrpcDataChannel.__init__(channel)
    list(channel.input_elements("bundle-1", ["input"], abort_callback=end.is_set))


def waiting_to_be_finalized(sampler: StateSampler, end: threading.Event) -> None:
    sampler.stop()
    end.wait()


def asked_for(seconds: float, stopwatch: Stopwatch, harness: Any) -> str:
    """What a stopwatch says that is asked again and again."""
    deadline = time.monotonic() + seconds
    while not (said := stopwatch.stuck(harness)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return said


def test_an_element_that_takes_too_long_is_told_with_its_step_and_place() -> None:
    with harness_with(busy) as harness:
        said = asked_for(60, Stopwatch(LIMIT), harness)
    assert said.startswith(f"one element in Score takes longer than {LIMIT} s, now at\n")
    assert "in busy\n" in said


def until_it_waits(stopwatch: Stopwatch, harness: Any) -> None:
    wait_for(lambda: not stopwatch.stuck(harness) and not stopwatch._since, "the bundle to wait")


@pytest.mark.parametrize("work", [waiting_for_input, waiting_to_be_finalized], ids=lambda work: work.__name__)
def test_what_waits_is_not_stuck(work: Any, clock: Clock) -> None:
    stopwatch = Stopwatch(LIMIT)
    with harness_with(work) as harness:
        until_it_waits(stopwatch, harness)
        for _ in range(3):
            clock.now += 2 * LIMIT
            assert stopwatch.stuck(harness) == ""


def test_what_goes_on_is_not_stuck(clock: Clock) -> None:
    arrived, done = threading.Semaphore(0), threading.Semaphore(0)

    def one_after_another(sampler: StateSampler, end: threading.Event) -> None:
        while not end.is_set():
            if arrived.acquire(timeout=0.01):
                with sampler.scoped_state("Score", "process-msecs"):
                    pass
                done.release()

    stopwatch = Stopwatch(LIMIT)
    with harness_with(one_after_another) as harness:
        for _ in range(10):
            assert stopwatch.stuck(harness) == ""
            clock.now += 0.8 * LIMIT
            arrived.release()
            done.acquire()


def test_time_before_the_element_does_not_count(clock: Clock) -> None:
    """A bundle may wait for its next element for longer than an element may take."""
    arrives = threading.Event()

    def work(sampler: StateSampler, end: threading.Event) -> None:
        waiting_for_input(sampler, arrives)
        busy(sampler, end)

    stopwatch = Stopwatch(LIMIT)
    with harness_with(work) as harness:
        until_it_waits(stopwatch, harness)
        clock.now += 2 * LIMIT
        arrives.set()
        wait_for(lambda: stopwatch.stuck(harness) or stopwatch._since, "the element to begin")
        assert list(stopwatch._since.values()) == [clock.now]


def test_the_setup_of_a_dofn_that_takes_too_long_is_told() -> None:
    cache = SimpleNamespace(active_bundle_processors={}, processors_being_created={})
    cache.processors_being_created["bundle-1"] = ("descriptor", threading.current_thread(), time.time())
    said = asked_for(60, Stopwatch(LIMIT), SimpleNamespace(_bundle_processor_cache=cache))
    assert said.startswith(f"the setup of a DoFn takes longer than {LIMIT} s, now at\n")


def test_a_stream_that_breaks_under_a_bundle_that_writes_is_told() -> None:
    def torn() -> Iterator[Any]:
        yield from ()
        raise ConnectionError("the other side is out of memory")

    channel = data_plane.GrpcClientDataChannel.__new__(data_plane.GrpcClientDataChannel)
    data_plane._GrpcDataChannel.__init__(channel)
    harness = SimpleNamespace(_data_channel_factory=SimpleNamespace(_data_channel_cache={"url": channel}))
    assert broken_stream(harness) == ""
    with suppress(ConnectionError):
        channel._read_inputs(torn())
    assert broken_stream(harness).endswith("broke: the other side is out of memory")


class Sleeper:
    """A process of a worker that never says anything."""

    pid = -1
    killed = False

    def poll(self) -> int | None:
        return -9 if self.killed else None

    def kill(self) -> None:
        self.killed = True


def silent(_: Order) -> tuple[Sleeper, int]:
    return Sleeper(), os.pipe()[0]


def outcome(supervisor: Supervisor) -> Event:
    events = wait_for(lambda: supervisor.step(0.05)[0], "something to happen")
    return events[0]


def test_a_worker_that_never_connects_is_ended_with_the_reason() -> None:
    supervisor = Supervisor(silent, connect_seconds=0.2)
    supervisor.start(Order("1-1", "127.0.0.1:1"), ticket=7)
    event = outcome(supervisor)
    assert (event.worker.ticket, event.code) == (7, -9)
    assert event.error == (
        "worker 1-1 of 127.0.0.1:1 ended with exit code -9: did not reach its task manager within 0.2 s"
    )


@contextmanager
def supervised(signs: int, passed: int) -> Iterator[tuple[Supervisor, Worker]]:
    """A worker that has given some signs of life, and none for some seconds. Two are allowed."""
    line, worker_line = os.pipe()
    supervisor = Supervisor(lambda _: (Sleeper(), line), hang_seconds=2, connect_seconds=1000)
    started = supervisor.start(Order("1-1", "127.0.0.1:1"))
    for _ in range(signs):
        Lifeline(worker_line).beat()
    supervisor.step(0)
    for _ in range(passed):
        supervisor._last -= 1
        supervisor.step(0)
    yield supervisor, started
    supervisor.close()
    os.close(worker_line)


@pytest.mark.parametrize(
    ("signs", "reason"), [(1, "no sign of life for 2 s"), (0, "")], ids=["it was", "not yet"]
)
def test_a_worker_that_was_alive_may_be_silent_for_so_long(signs: int, reason: str) -> None:
    """One that loads what it needs has a limit of its own."""
    with supervised(signs, passed=4) as (_, started):
        assert started.reason == reason


def test_a_supervisor_that_was_stopped_itself_does_not_blame_its_workers() -> None:
    with supervised(signs=1, passed=0) as (supervisor, started):
        supervisor._last -= 3600  # as after the machine was suspended
        assert supervisor.step(0)[0] == []
        assert not started.reason


def test_the_harness_gets_the_options_and_endpoints_of_its_task_manager() -> None:
    with ending(TaskManager(options={"job_name": "ours"})) as manager:
        order = Order("3-1", manager.address)
        environment = harness_environment(order, provision_info(order), None)
    assert environment["WORKER_ID"] == "3-1"
    assert json.loads(environment["PIPELINE_OPTIONS"]) == {"beam:option:job_name:v1": "ours"}
    for name in ("LOGGING", "CONTROL"):
        assert environment[f"{name}_API_SERVICE_DESCRIPTOR"] == f'url: "{manager.address}"\n'


def test_a_staged_main_session_is_where_the_harness_looks_as_long_as_it_does() -> None:
    with ending(TaskManager(["pickled_main_session"])) as manager:
        order = Order("3-1", manager.address)
        info = provision_info(order)
        with staged_files(order, info) as folder:
            environment = harness_environment(order, info, folder)
            session = Path(environment["SEMI_PERSISTENT_DIRECTORY"], "staged", "pickled_main_session")
            assert session.read_bytes() == b"content of pickled_main_session"
        assert not Path(folder).exists()


def test_a_worker_of_a_job_without_files_writes_none() -> None:
    with ending(TaskManager(["submission_environment_dependencies.txt"])) as manager:
        order = Order("3-1", manager.address)
        with staged_files(order, provision_info(order)) as folder:
            assert folder is None


def test_a_package_by_its_name_alone_is_refused_too() -> None:
    with ending(TaskManager()) as manager:
        order = Order("3-1", manager.address)
        info = provision_info(order)
    info.dependencies.add(type_urn="beam:artifact:type:pypi:v1")
    with (
        pytest.raises(StagedError, match="beam:artifact:type:pypi:v1, and workers install nothing"),
        staged_files(order, info),
    ):
        pass
