"""Starts a pool's SDK workers: a process without threads that has loaded what workers use, and forks them.

A worker starts in a tenth of a second so, not in two. Orders come on the standard input, a JSON object a line, and
what becomes of workers goes out on the standard output. The process ends, with all workers, when its input does.

Forking is safe for a process of one thread only. Where what was loaded has started others, and on systems whose
libraries don't survive a fork, workers are started as processes of their own.
"""

import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from beam_etl.engines.lifeline import Order, end_with
from beam_etl.engines.supervisor import (
    TICK_SECONDS,
    Event,
    Process,
    Supervisor,
    log_to_standard_error,
    spawn,
)

SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Environment in which NumPy and Arrow start no threads when they are imported."""

_WORKER = "beam_etl.engines.worker"

_log = logging.getLogger("beam_etl.engines.nursery")  # it runs as __main__


class Forked:
    """A child of this process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)


class Sources:
    """The files that this process has loaded modules from, as they were then."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._changed: dict[str, int] = {}

    def note(self) -> None:
        """Takes in what has been loaded since."""
        added = sys.modules.keys() - self._known
        self._known |= added
        for name in added:
            if file := getattr(sys.modules[name], "__file__", None):
                self._changed[file] = _changed(file)

    def stale(self) -> list[str]:
        """Those that have changed: a copy of this process would run what its users have replaced."""
        return [file for file, changed in self._changed.items() if _changed(file) != changed]


class Nursery:
    """What the process does, step by step."""

    def __init__(self, preload: Iterator[str]) -> None:
        self._preload = preload
        self._loading = True
        self._sources = Sources()
        self._supervisor = Supervisor(self._start)
        self._unread = b""

    def run(self) -> None:
        """Takes orders until there can't be more."""
        going = True
        while going:
            events, ready = self._supervisor.step(0 if self._loading else TICK_SECONDS, also=[0])
            for event in events:
                _tell(event)
            if ready:
                going = self._take()
            elif self._loading:
                self._loading = next(self._preload, None) is not None
                self._sources.note()
                if not self._loading:
                    _log.info("all is loaded that workers use")
            _say({})
        self._supervisor.close()

    def _take(self) -> bool:
        got = os.read(0, 65536)
        *lines, self._unread = (self._unread + got).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "cancel" in message:
                self._supervisor.cancel(message["cancel"])
            else:
                self._begin(message["ticket"], Order(**message["order"]))
        return bool(got)

    def _begin(self, ticket: int, order: Order) -> None:
        try:
            self._supervisor.start(order, ticket)
        except OSError as error:
            _say({"ticket": ticket, "error": f"no process for worker {order}: {error}"})

    def _start(self, order: Order) -> tuple[Process, int]:
        if sys.platform != "linux":
            return spawn(order)
        serve = importlib.import_module(_WORKER).serve
        self._sources.note()
        if others := _other_threads():
            _log.warning("slow start: what was loaded has threads: %s", ", ".join(others))
            return spawn(order)
        if stale := self._sources.stale():
            _log.warning(
                "slow start: what was loaded has changed: %s. Start the pool again.", ", ".join(stale[:3])
            )
            return spawn(order)
        return _fork(order, serve, self._supervisor.lines())


def _fork(
    order: Order, serve: Callable[[Order, int, int], NoReturn], others: Sequence[int]
) -> tuple[Process, int]:
    """Starts a worker as a copy of this process.

    Args:
      order: whose worker it is.
      serve: what the copy does.
      others: files of this process that are none of the copy's business.
    """
    parent, (line, worker_line) = os.getpid(), os.pipe()
    gc.freeze()  # else the copy's garbage collection would touch, and so copy, all pages
    pid = os.fork()
    if pid:
        os.close(worker_line)
        return Forked(pid), line
    try:
        for file in (line, *others):
            os.close(file)
        _take_own_files()
        if numpy := sys.modules.get("numpy"):
            numpy.random.seed()  # Python's own random numbers, uuid, secrets and tempfile see to that themselves
        serve(order, worker_line, parent)
    finally:
        os._exit(1)


def _take_own_files() -> None:
    """Leaves the input and output of the parent alone: prints go to standard error."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)


def _changed(file: str) -> int:
    """When a file was last changed, in nanoseconds; 0 if it isn't there (or inside an archive)."""
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


def _other_threads() -> list[str]:
    """Names of the threads of this process but its first, native ones too."""
    names = []
    for thread in Path("/proc/self/task").iterdir():
        if int(thread.name) != os.getpid():
            with contextlib.suppress(OSError):  # it has just ended
                names.append((thread / "comm").read_text().strip())
    return names


def _pieces(preload: str) -> Iterator[str]:
    """Loads what workers use, piece by piece, so that an order needn't wait for all of it.

    Args:
      preload: MODULE:FUNCTION; the function loads a piece and yields its name, again and again.
    """
    importlib.import_module(_WORKER)
    yield _WORKER
    try:
        module, _, function = preload.partition(":")
        yield from getattr(importlib.import_module(module), function)()
    except Exception:  # noqa: BLE001 - a worker loads what it misses by itself, or says what is wrong with it
        _log.exception("%s: not loaded ahead", preload)


def _tell(event: Event) -> None:
    message: dict[str, Any] = {"ticket": event.worker.ticket, "error": event.error}
    if event.worker.reason:
        message["reason"] = event.worker.reason
    _say(message)


def _say(message: dict[str, Any]) -> None:
    try:
        os.write(1, json.dumps(message).encode() + b"\n")
    except OSError:  # nobody reads: the pool is gone
        os._exit(1)


def main(arguments: Sequence[str]) -> None:
    """Arguments: process id of the pool, and what to load."""
    end_with(int(arguments[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the pool decides
    log_to_standard_error("pool")
    logging.getLogger().setLevel(logging.ERROR)  # what libraries say when they are imported is no news
    Nursery(_pieces(arguments[1])).run()


if __name__ == "__main__":
    main(sys.argv[1:])
