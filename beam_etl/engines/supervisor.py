"""Starts SDK workers, watches them from outside, and ends those that hang. Knows nothing of Beam."""

import json
import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from beam_etl.engines.lifeline import Order

CONNECT_SECONDS = 60.0
"""A worker that hasn't reached its task manager by then is ended: Flink itself would wait for it for ever."""

HANG_SECONDS = float(os.environ.get("BEAM_ETL_HANG_SECONDS", "120"))
"""A worker without a sign of life for so long is ended. One comes every second unless the process is frozen, or some
native code keeps Python's lock; before the first one it loads what it needs, which a busy machine may take long for."""

TICK_SECONDS = 0.5

_log = logging.getLogger(__name__)


def log_to_standard_error(name: str) -> None:
    """Says what this process does with its workers, with the time."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"%(asctime)s {name}: %(message)s"))
    ours = logging.getLogger("beam_etl.engines")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False


class Process(Protocol):
    """What is needed of a process: `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""

    def kill(self) -> None: ...


Start = Callable[[Order], tuple[Process, int]]
"""Starts a worker; the process, and the end of its lifeline to read from."""


@dataclass(eq=False)
class Worker:
    """A worker that was started and hasn't been seen to end."""

    ticket: int
    order: Order
    process: Process
    line: int
    began: float = field(default_factory=time.monotonic)
    connected: bool = False
    reason: str = ""
    """Why it was ended, or what it said before it ended."""
    age: float = 0
    silent: float | None = None
    """Seconds since the start, and since the last sign of life, in which the supervisor ran itself."""
    _unread: bytes = field(default=b"", repr=False)

    def read(self) -> bool:
        """Takes what the worker has said; False when there is no more."""
        try:
            got = os.read(self.line, 65536)
        except BlockingIOError:  # a child of the worker's own may hold the other end
            return False
        *lines, self._unread = (self._unread + got).split(b"\n")
        for line in lines:
            sign = json.loads(line)
            self.connected = self.connected or "connected" in sign
            self.reason = sign.get("failed", self.reason)
        if got:
            self.silent = 0
        return bool(got)


@dataclass(frozen=True)
class Event:
    """A worker that has connected (code None), or ended with an exit code."""

    worker: Worker
    code: int | None = None

    @property
    def error(self) -> str:
        """Why the worker can't be used; empty if it can."""
        if self.code is None:
            return ""
        return f"worker {self.worker.order} ended with exit code {self.code}" + (
            f": {self.worker.reason}" if self.worker.reason else ""
        )


class Supervisor:
    """The workers that one process has started. For one thread only."""

    def __init__(
        self, start: Start, hang_seconds: float = HANG_SECONDS, connect_seconds: float = CONNECT_SECONDS
    ) -> None:
        self._start = start
        self._hang_seconds = hang_seconds
        self._connect_seconds = connect_seconds
        self._workers: list[Worker] = []
        self._last = time.monotonic()

    def start(self, order: Order, ticket: int = 0) -> Worker:
        """Starts a worker. `step` tells what becomes of it.

        Args:
          order: what the worker is for.
          ticket: a number of the caller's, to know the worker by.

        Raises:
          OSError: there can't be another process.
        """
        process, line = self._start(order)
        os.set_blocking(line, False)
        worker = Worker(ticket, order, process, line)
        self._workers.append(worker)
        _log.info("worker %s: process %d started", order, process.pid)
        return worker

    def step(self, seconds: float = TICK_SECONDS, also: Sequence[int] = ()) -> tuple[list[Event], list[int]]:
        """Waits until something happens, at most some seconds, and ends workers that hang.

        Returns:
          What has happened, and which of the files `also` can be read.
        """
        lines = {worker.line: worker for worker in self._workers if worker.line >= 0}
        ready, _, _ = select.select([*lines, *also], [], [], seconds)
        events = []
        for worker in (lines[file] for file in ready if file in lines):
            events += self._heard(worker)
        now = time.monotonic()
        self._judge(min(now - self._last, 2 * TICK_SECONDS))
        self._last = now
        events += self._ended()
        return events, [file for file in also if file in ready]

    def cancel(self, ticket: int) -> None:
        """Ends a worker that hasn't connected yet: nobody waits for it any more."""
        for worker in self._workers:
            if worker.ticket == ticket and not worker.connected:
                self._kill(worker, "not wanted any more")

    def lines(self) -> list[int]:
        """The files that workers are heard by."""
        return [worker.line for worker in self._workers if worker.line >= 0]

    def close(self) -> None:
        """Ends all workers, and returns when they have ended."""
        for worker in self._workers:
            self._kill(worker, "its supervisor ends")
        while self._workers:
            self._ended()
            time.sleep(0.01)

    def _heard(self, worker: Worker) -> list[Event]:
        before = worker.connected
        if not worker.read():
            os.close(worker.line)
            worker.line = -1
        if worker.connected and not before:
            took = time.monotonic() - worker.began
            _log.info("worker %s: process %d connected after %.2f s", worker.order, worker.process.pid, took)
            return [Event(worker)]
        return []

    def _judge(self, passed: float) -> None:
        """Counts the time that passed; of a pause that the supervisor made itself only a little: it heard nobody."""
        for worker in self._workers:
            worker.age += passed
            worker.silent = None if worker.silent is None else worker.silent + passed
            if worker.silent is not None and worker.silent > self._hang_seconds:
                self._kill(worker, f"no sign of life for {self._hang_seconds:g} s")
            elif not worker.connected and worker.age > self._connect_seconds:
                self._kill(worker, f"did not reach its task manager within {self._connect_seconds:g} s")

    def _kill(self, worker: Worker, reason: str) -> None:
        if not worker.reason:
            _log.warning("worker %s: process %d killed: %s", worker.order, worker.process.pid, reason)
            worker.reason = reason
        worker.process.kill()

    def _ended(self) -> list[Event]:
        events = [
            Event(worker, code) for worker in self._workers if (code := worker.process.poll()) is not None
        ]
        for event in events:
            worker = event.worker
            if worker.line >= 0:
                while worker.read():
                    pass
                os.close(worker.line)
            self._workers.remove(worker)
            _log.info("%s (process %d)", event.error, worker.process.pid)
        return events


def spawn(order: Order) -> tuple[Process, int]:
    """Starts a worker as a process of its own, which imports all it needs: about 1.5 s."""
    command = [sys.executable, "-m", "beam_etl.engines.worker", order.text(), str(os.getpid())]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    line = os.dup(process.stdout.fileno())
    process.stdout.close()
    return process, line
