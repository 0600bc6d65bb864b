"""Workers from a pool: each task manager has its own, and none outlives what it is for."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.environments import ExternalEnvironment

from tests.engines.pools import REPOSITORY, Pool, children, ending, gone, lives
from tests.engines.task_manager import TaskManager, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with ending(Pool(BEAM_ETL_HANG_SECONDS="5")) as started:
        yield started


@pytest.fixture
def own_pool() -> Iterator[Pool]:
    """One that a test may damage."""
    with ending(Pool()) as started:
        yield started


@pytest.fixture
def manager() -> Iterator[TaskManager]:
    with ending(TaskManager()) as started:
        yield started


@pytest.fixture
def other() -> Iterator[TaskManager]:
    with ending(TaskManager()) as started:
        yield started


def started(pool: Pool, manager: TaskManager, worker: str = "1-1") -> int:
    """Process id of a worker that a task manager has asked for, and that has connected."""
    assert pool.start(manager, worker) == ""
    wait_for(lambda: worker in manager.workers, f"worker {worker}")
    return worker_of(pool, manager, worker)


def worker_of(pool: Pool, manager: TaskManager, worker: str = "1-1") -> int:
    return pool.workers(f"{worker} of {manager.address}")[-1]


def test_a_pipeline_runs_on_workers_of_a_pool(pool: Pool) -> None:
    nursery = pool.nursery()
    with beam.Pipeline(runner=FnApiRunner(default_environment=ExternalEnvironment(pool.address))) as pipeline:
        numbers = pipeline | beam.Create(range(100))
        sums = numbers | beam.Map(lambda n: (n % 3, n)) | beam.CombinePerKey(sum)
        parents = numbers | beam.Map(lambda _: os.getppid()) | beam.Distinct()
        assert_that(sums, equal_to([(0, 1683), (1, 1617), (2, 1650)]))
        assert_that(parents, equal_to([nursery]), label="Forked there")


def test_equal_ids_of_two_task_managers_are_two_workers(
    pool: Pool, manager: TaskManager, other: TaskManager
) -> None:
    mine, others = started(pool, manager), started(pool, other)
    manager.leave()
    assert pool.stop() == ""
    assert gone(mine)
    assert lives(others)
    assert other.workers == ["1-1"]


@pytest.mark.parametrize("abruptly", [False, True], ids=["in order", "abruptly"])
def test_a_worker_leaves_with_its_task_manager(pool: Pool, manager: TaskManager, abruptly: bool) -> None:
    worker = started(pool, manager)
    manager.leave(abruptly)
    assert gone(worker)
    assert pool.said(f"of {manager.address} ended with exit code 0")


def test_a_killed_worker_is_noticed_and_another_can_be_had(pool: Pool, manager: TaskManager) -> None:
    os.kill(started(pool, manager), signal.SIGKILL)
    assert pool.said(f"of {manager.address} ended with exit code -9")
    wait_for(lambda: not manager.workers, "the task manager to see it")
    assert lives(started(pool, manager))


def test_a_frozen_worker_is_killed_and_the_task_manager_is_told(pool: Pool, manager: TaskManager) -> None:
    os.kill(started(pool, manager), signal.SIGSTOP)
    wait_for(lambda: not manager.workers, "the worker to be killed")
    assert pool.said(rf"of {manager.address}: process \d+ killed: no sign of life for 5 s")
    wait_for(lambda: any("no sign of life for 5 s" in line for line in manager.log), "the log")


def test_workers_that_work_are_not_taken_for_frozen_ones(pool: Pool, manager: TaskManager) -> None:
    worker = started(pool, manager)
    with ending(TaskManager()) as others:
        os.kill(started(pool, others), signal.SIGSTOP)
        wait_for(lambda: not others.workers, "the frozen one to be killed")
    assert lives(worker)


def test_a_worker_that_cannot_reach_its_task_manager_is_an_error_of_the_answer(pool: Pool) -> None:
    with ending(TaskManager()) as manager:
        manager.leave()
        error = pool.start(manager)
    assert manager.address in error
    assert "failed to connect" in error.lower()


def test_packages_that_a_job_brings_are_an_error_that_names_them(pool: Pool) -> None:
    with ending(TaskManager(["requirements.txt", "own-1.0.tar.gz", "pickled_main_session"])) as manager:
        error = pool.start(manager)
    assert "own-1.0.tar.gz, requirements.txt, and workers install nothing" in error
    assert "pickled_main_session" not in error


def test_files_for_people_to_read_are_no_error(pool: Pool) -> None:
    with ending(TaskManager(["submission_environment_dependencies.txt"])) as manager:
        assert pool.start(manager) == ""


def test_a_worker_that_nobody_waits_for_any_more_is_ended(pool: Pool, manager: TaskManager) -> None:
    manager.provisions.clear()
    asked = pool.stub.StartWorker.future(manager.request("1-1"))
    worker = worker_of(pool, manager)
    asked.cancel()
    assert gone(worker)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=str)
def test_nothing_outlives_a_pool(own_pool: Pool, manager: TaskManager, end: signal.Signals) -> None:
    processes = [own_pool.nursery(), started(own_pool, manager)]
    os.kill(processes[1], signal.SIGSTOP)  # and be it frozen
    own_pool.process.send_signal(end)
    assert gone(own_pool.pid, *processes)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=lambda end: end.name)
def test_a_pool_survives_the_process_that_starts_workers(
    own_pool: Pool, manager: TaskManager, end: signal.Signals
) -> None:
    nursery, worker = own_pool.nursery(), started(own_pool, manager)
    os.kill(nursery, end)
    assert gone(nursery, worker)
    wait_for(lambda: set(children(own_pool.pid)) - {nursery}, "another one")
    assert lives(started(own_pool, manager, "2-1"))


def test_the_suite_is_loaded_without_threads_so_that_workers_can_be_forked(manager: TaskManager) -> None:
    with ending(Pool(preload="")) as pool:
        pool.said("all is loaded")
        assert "engines.nursery" in command(started(pool, manager))
        assert pool.never_said("slow start|not loaded"), pool.log


def test_what_starts_threads_when_loaded_makes_slow_starts_no_broken_workers(manager: TaskManager) -> None:
    with ending(Pool("tests.engines.preloads:a_thread")) as pool:
        pool.said("all is loaded")
        assert "engines.worker" in command(started(pool, manager))
        assert pool.said("slow start: what was loaded has threads: python")


def test_workers_run_the_code_that_is_there_when_they_start(manager: TaskManager, tmp_path: Path) -> None:
    module = tmp_path / "own_of_job.py"
    module.write_text("VALUE = 1\n", encoding="utf-8")
    with ending(Pool("tests.engines.preloads:a_module", PYTHONPATH=str(tmp_path))) as pool:
        pool.said("all is loaded")
        assert pool.start(manager) == ""
        assert pool.never_said("slow start")
        os.utime(module, ns=(1, 1))
        assert pool.start(manager, "1-2") == ""
        pool.said(f"slow start: what was loaded has changed: {module}")


def test_a_preload_that_fails_is_told_and_workers_start_all_the_same(manager: TaskManager) -> None:
    with ending(Pool("tests.engines.preloads:no_such")) as pool:
        assert pool.start(manager) == ""
        pool.said("tests.engines.preloads:no_such: not loaded ahead")


def test_only_this_machine_reaches_a_pool(pool: Pool) -> None:
    port = int(pool.address.rpartition(":")[2])
    refused = subprocess.run(
        [sys.executable, "-m", "beam_etl.engines.pool", "--host=0.0.0.0"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert refused.returncode == 2
    assert "0.0.0.0 could be reached by others" in refused.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", port))  # it is free on every address but one


def test_a_port_that_is_taken_is_an_error(pool: Pool) -> None:
    port = pool.address.rpartition(":")[2]
    second = subprocess.run(
        [sys.executable, "-m", "beam_etl.engines.pool", f"--port={port}"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert second.returncode == 1
    assert f"127.0.0.1:{port}" in second.stderr


FORK_TWICE = """
import json, os, random, secrets, sys, uuid
import numpy
from beam_etl.engines import nursery
from beam_etl.engines.lifeline import Order

def serve(order, line, parent):
    drawn = [random.random(), numpy.random.random(), str(uuid.uuid4()), secrets.token_hex()]
    os.write(line, json.dumps([drawn, os.getppid() == parent]).encode())
    os._exit(0)

for _ in range(2):
    process, line = nursery._fork(Order("1-1", "nowhere"), serve, [])
    with open(line, "rb") as file:
        print(file.read().decode())
    while process.poll() is None:
        pass
"""


def test_forked_workers_draw_different_random_numbers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK_TWICE], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    (one, of_parent), (two, also) = map(json.loads, done.stdout.splitlines())
    assert (of_parent, also) == (True, True)
    assert not set(one) & set(two)


ENDLESS = """
import sys, time
import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.environments import ExternalEnvironment

def endless(_):
    while True:
        time.sleep(0.01)

runner = FnApiRunner(default_environment=ExternalEnvironment(sys.argv[1]))
with beam.Pipeline(runner=runner) as pipeline:
    pipeline | beam.Create([0]) | "For ever" >> beam.Map(endless)
"""


def test_an_element_that_never_ends_ends_its_worker_with_its_place(tmp_path: Path) -> None:
    with (
        ending(Pool("tests.engines.preloads:short_elements")) as pool,
        (tmp_path / "job").open("w+") as log,
    ):
        job = subprocess.Popen([sys.executable, "-c", ENDLESS, pool.address], stderr=log)
        try:
            pool.said(r"exit code 1: one element in For ever takes longer than 3 s")
            pool.said("in endless$")
        finally:
            job.kill()
            job.wait()
            log.seek(0)
            sys.stderr.write(log.read())  # shown where this fails


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
