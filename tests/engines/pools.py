"""Pools and boots of SDK workers as processes, as clusters start them."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from tests.engines.task_manager import PATIENCE, TaskManager, wait_for

REPOSITORY = Path(__file__).parents[2]


class Started:
    """A process whose standard error is listened to."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        paths = [environment.get("PYTHONPATH", ""), str(REPOSITORY)]
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self, pattern: str, times: int = 1) -> list[re.Match[str]]:
        """Waits until so many lines of its log match."""
        return wait_for(lambda: self._matches(pattern, times), f"{times} x {pattern} in {self.log}")

    def never_said(self, pattern: str) -> bool:
        return not any(re.search(pattern, line) for line in self.log)

    def workers(self, order: str = "", times: int = 1) -> list[int]:
        """Process ids of the workers started so far, at least so many."""
        return [int(found[1]) for found in self.said(rf"worker {order}.*: process (\d+) started", times)]

    def end(self) -> None:
        """Ends it, however it is; nothing stays open."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        self.process.wait(PATIENCE)
        self._listener.join(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _matches(self, pattern: str, times: int) -> list[re.Match[str]] | None:
        found = [match for line in list(self.log) if (match := re.search(pattern, line))]
        return found if len(found) >= times else None

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))


class Pool(Started):
    """A pool. Without a preload of its own it loads Beam only, to be ready soon."""

    def __init__(self, preload: str = "tests.engines.preloads:nothing", **environment: str) -> None:
        super().__init__(
            ["-m", "beam_etl.engines.pool", *([f"--preload={preload}"] if preload else [])], environment
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert re.fullmatch(r"pool on 127\.0\.0\.1:\d+\n", said), self.log
        self.address = said.split()[-1]
        self._channel = grpc.insecure_channel(self.address)
        self.stub: Any = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(self._channel)

    def start(self, manager: TaskManager, worker: str = "1-1") -> str:
        """Asks for a worker; the error of the answer."""
        return self.stub.StartWorker(manager.request(worker), timeout=PATIENCE).error

    def stop(self, worker: str = "1-1") -> str:
        return self.stub.StopWorker(
            beam_fn_api_pb2.StopWorkerRequest(worker_id=worker), timeout=PATIENCE
        ).error

    def nursery(self) -> int:
        """Process id of what starts the workers."""
        return wait_for(lambda: children(self.pid), "the process that starts workers")[0]

    def end(self) -> None:
        self._channel.close()
        super().end()


class Boot(Started):
    """A worker with the process that looks after it, as a task manager starts it."""

    def __init__(self, manager: TaskManager, **environment: str) -> None:
        endpoints = ["--id=1-1", f"--provision_endpoint={manager.address}", "--semi_persist_dir=/tmp"]
        super().__init__(["-m", "beam_etl.engines.boot", *endpoints], environment)


@contextmanager
def ending(started: Any) -> Iterator[Any]:
    """Ends a process, or a task manager, after the test."""
    try:
        yield started
    finally:
        started.end() if isinstance(started, Started) else started.leave(abruptly=True)


def children(pid: int) -> list[int]:
    """Process ids of the children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def lives(pid: int) -> bool:
    """Whether a process runs. (One that has ended and that nobody has asked about yet doesn't.)"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(*pids: int) -> bool:
    """Waits until these processes have ended."""
    return wait_for(lambda: not any(lives(pid) for pid in pids), f"the end of {pids}")
