"""A worker with the process that looks after it: what a task manager starts by --environment_type=PROCESS."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.engines.pools import REPOSITORY, Boot, children, ending, gone, lives
from tests.engines.task_manager import PATIENCE, TaskManager, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
]


@pytest.fixture
def manager() -> Iterator[TaskManager]:
    with ending(TaskManager()) as started:
        yield started


@pytest.fixture
def boot(manager: TaskManager) -> Iterator[Boot]:
    """One whose worker has connected."""
    with ending(Boot(manager, BEAM_ETL_HANG_SECONDS="5")) as started:
        wait_for(lambda: manager.workers == ["1-1"], "the worker")
        yield started


@pytest.mark.parametrize("abruptly", [False, True], ids=["in order", "abruptly"])
def test_both_leave_with_the_task_manager(boot: Boot, manager: TaskManager, abruptly: bool) -> None:
    (worker,) = boot.workers()
    manager.leave(abruptly)
    assert boot.process.wait(PATIENCE) == 0
    assert not lives(worker)


def test_a_killed_worker_ends_it_with_the_signal(boot: Boot, manager: TaskManager) -> None:
    os.kill(boot.workers()[0], signal.SIGKILL)
    assert boot.process.wait(PATIENCE) == 128 + signal.SIGKILL
    wait_for(lambda: not manager.workers, "the task manager to see it")


def test_a_frozen_worker_is_killed_and_the_task_manager_is_told(boot: Boot, manager: TaskManager) -> None:
    os.kill(boot.workers()[0], signal.SIGSTOP)
    assert boot.process.wait(PATIENCE) == 128 + signal.SIGKILL
    assert any("no sign of life for 5 s" in line for line in manager.log)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_the_worker_does_not_outlive_it(boot: Boot, end: signal.Signals) -> None:
    (worker,) = boot.workers()
    os.kill(worker, signal.SIGSTOP)  # and be it frozen
    boot.process.send_signal(end)
    assert boot.process.wait(PATIENCE) == (128 + end if end == signal.SIGTERM else -end)
    assert gone(worker)


def test_both_end_with_a_task_manager_that_is_killed(manager: TaskManager) -> None:
    """Be the worker frozen, so that it doesn't see its streams break."""
    endpoints = f"--id=1-1 --provision_endpoint={manager.address}"
    parent = subprocess.Popen(
        ["/bin/sh", "-c", f"{sys.executable} -m beam_etl.engines.boot {endpoints} & echo $!; wait"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        boot = int(parent.stdout.readline())
        wait_for(lambda: manager.workers == ["1-1"], "the worker")
        (worker,) = wait_for(lambda: children(boot), "the worker")
        os.kill(worker, signal.SIGSTOP)
        parent.kill()
        assert gone(boot, worker)


def test_packages_that_a_job_brings_end_it_and_the_task_manager_is_told() -> None:
    """A task manager throws away what its processes print."""
    with ending(TaskManager(["requirements.txt"])) as manager, ending(Boot(manager)) as boot:
        assert boot.process.wait(PATIENCE) == 1
        assert any("requirements.txt, and workers install nothing" in line for line in manager.log)


def test_a_task_manager_that_is_not_there_ends_it() -> None:
    with ending(TaskManager()) as manager:
        manager.leave()
        with ending(Boot(manager)) as boot:
            assert boot.process.wait(PATIENCE) == 1
            assert boot.said("failed to connect")
