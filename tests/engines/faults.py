"""The test's side of faults: meets workers at points, says who they are, and kills."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.engines import faulty

WAIT_SECONDS = 180
"""For what happens within seconds, on a machine that is busy with other things too."""

WORKER_PATH = Path(__file__).parent / "faulty_worker"

Found = TypeVar("Found")


def wait_for(what: str, ask: Callable[[], Found | None], seconds: float = WAIT_SECONDS) -> Found:
    """What `ask` returns once it isn't None."""
    deadline = time.monotonic() + seconds
    while (found := ask()) is None:
        assert time.monotonic() < deadline, f"{what}: not after {seconds} s"
        time.sleep(0.05)
    return found


def environment(folder: Path) -> dict[str, str]:
    """What makes a Python process one that tells what it does below `folder`."""
    return {"PYTHONPATH": f"{WORKER_PATH}{os.pathsep}{WORKER_PATH.parents[2]}", faulty.FOLDER: str(folder)}


@dataclass(frozen=True)
class Faults:
    """The workers of one job, seen from the test."""

    folder: Path

    @classmethod
    def of(cls, parent: Path, job_name: str) -> "Faults":
        folder = parent / job_name
        folder.mkdir(parents=True)
        return cls(folder)

    def arm(self, point: str, times: int = 1) -> None:
        """The next so many processes that come to this point wait there."""
        for number in range(times):
            (self.folder / f"armed-{point}-{number}").touch()

    def meet(self, point: str, number: int = 0) -> int:
        """Waits for the process that came to the point; its id."""

        def met() -> int | None:
            found = list(self.folder.glob(f"reached-{point}-{number}-*"))
            return int(found[0].name.rpartition("-")[2]) if found else None

        return wait_for(f"a worker at {point}", met)

    def let_go(self, point: str, number: int = 0) -> None:
        """Those who wait there go on."""
        (self.folder / f"go-{point}-{number}").touch()

    def processed(self) -> dict[str, Counter[str]]:
        """Batches, rows and visits by step: of all attempts together."""
        found: dict[str, Counter[str]] = {}
        for trace in self.folder.glob("trace-*"):
            for line in trace.read_text(encoding="utf-8").splitlines():
                step, direction, rows = line.split("\t")
                counted = found.setdefault(step, Counter())
                counted[f"batches {direction}"] += 1
                counted[f"rows {direction}"] += int(rows)
        return found

    def workers(self) -> set[int]:
        """The processes that have done something."""
        return {int(trace.name.rpartition("-")[2]) for trace in self.folder.glob("trace-*")}


def kill(process: int) -> None:
    """As a machine that loses its power: no handler runs. Returns when it's gone."""
    os.kill(process, signal.SIGKILL)
    wait_for(f"the end of {process}", lambda: True if not is_running(process) else None)


def is_running(process: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def owner(worker: int, task_managers: list[int]) -> int:
    """The task manager that an SDK worker is connected to."""
    mine = _sockets(worker)
    listening = {}
    remote = set()
    for inode, state, local_port, remote_port in _connections():
        if state == _LISTEN:
            listening[inode] = local_port
        elif inode in mine:
            remote.add(remote_port)
    for process in task_managers:
        if remote & {port for inode, port in listening.items() if inode in _sockets(process)}:
            return process
    raise AssertionError(f"none of {task_managers} listens where worker {worker} is connected to: {remote}")


_LISTEN = "0A"


def _connections() -> list[tuple[str, str, int, int]]:
    """Of each TCP socket: inode, state, local and remote port."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="utf-8").splitlines()[1:]:
            field = line.split()
            local, remote = (int(field[at].rpartition(":")[2], 16) for at in (1, 2))
            found.append((field[9], field[3], local, remote))
    return found


def _sockets(process: int) -> set[str]:
    found = set()
    for handle in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = os.readlink(handle)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found
