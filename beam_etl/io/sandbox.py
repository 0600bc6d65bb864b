"""Reading in a process of its own, which may end by what it reads: that is rejected, and the rest goes on.

Readers tell where they enter what could end a process (`isolate.entering`). When it ends, another is started that
fails at that place as at any content that can't be read, and gives the rest of what the first one would have given.
"""

import pickle  # of orders and rejects between two processes of this run: nobody else writes to their pipes
import signal
from collections.abc import Callable, Generator, Iterator
from typing import Any

from beam_etl.child_process import TIME_SIGNAL, Child, Waiting, how_it_ended
from beam_etl.io.counting import count_all
from beam_etl.io.isolate import MAY_PASS, FatalError, Place
from beam_etl.kernels.ipc import decode

MEMORY_BYTES = 2 << 30
"""What a reader may take on top of what it has to begin with."""

MOST_ENDS = 30
"""Processes that one split may end: each costs a second or two, and the limit of time."""

WAITS, LEAST_WAIT_SECONDS = 10, 120
"""Times the limit of CPU that a reader may be silent without taking any, and at least how long: it may wait for a disk,
or for a core."""

ORDER, ITEM, BATCH, ENTERING, ERROR, DONE, FULL = b"o", b"i", b"b", b"e", b"x", b"d", b"m"
"""What it is to read; and what it says: an item, which may be a batch; where it enters; what it raised; that it has
done, and its counters; that memory is used up."""


_OF_THE_MACHINE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""Signals that others send: where memory is short, as somebody stops a container, or asks for it."""


class EndedError(Exception):
    """The process ended, or had to be ended."""

    def __init__(self, place: Place, reason: str) -> None:
        super().__init__(reason)
        self.place = place
        self.reason = reason


def isolated(make: Callable[[], Iterator[Any]], seconds: int, given: int = 0) -> Generator[Any, None, int]:
    """The items of `make()`, made by another process.

    Args:
      make: a function of an importable module, or a partial of one, which pickles; its items do, or are record batches.
        Called again it gives the same ones.
      seconds: of CPU for what comes after each place that it enters.
      given: so many of the items are there already.

    Returns:
      How many processes have ended by it.

    Raises:
      FatalError: processes end again and again, or where nothing tells the place.
      Exception: what it raises.
    """
    ends: dict[Place, str] = {}
    while True:
        try:
            for item in _items((make, ends, given, seconds)):
                given += 1
                yield item
            return len(ends)
        except EndedError as ended:
            if not ended.place or ended.place in ends or len(ends) == MOST_ENDS:
                raise FatalError(ended.reason) from ended
            ends[ended.place] = ended.reason


def _items(order: tuple[Callable[[], Iterator[Any]], dict[Place, str], int, int]) -> Iterator[Any]:
    """What one process makes.

    Raises:
      EndedError: it ended.
      Exception: what `make` raises.
    """
    reader = _waiting.take() or _Reader()
    try:
        yield from reader.items(order, order[-1])
    finally:
        if reader.is_done:
            _waiting.put(reader)
        else:  # it has ended, or more answers to this order are on their way
            reader.end()


class _Reader(Child):
    """A process that reads for this one."""

    def __init__(self) -> None:
        super().__init__("beam_etl.io.sandboxed")
        self._place: Place = ()
        self.is_done = True
        """With its last order: nothing more comes of it."""

    def items(self, order: Any, seconds: int) -> Iterator[Any]:
        self._place, self.is_done = (), False
        self.send(ORDER, pickle.dumps(order))
        while True:
            kind, content = self._next(seconds)
            if kind == ENTERING:
                self._place = pickle.loads(content)  # noqa: S301
            elif kind == BATCH:
                yield decode(content)
            elif kind == ITEM:
                yield pickle.loads(content)  # noqa: S301
            elif kind == ERROR:
                self.is_done = True
                raise pickle.loads(content)  # noqa: S301
            elif kind == FULL:
                raise EndedError(self._place, f"reading it takes over {MEMORY_BYTES >> 30} GiB of memory")
            else:
                self.is_done = True
                count_all(pickle.loads(content))  # noqa: S301
                return

    def _next(self, seconds: int) -> tuple[bytes, bytes]:
        most, spent = max(WAITS * seconds, LEAST_WAIT_SECONDS), self._ticks()
        while not self.answers_within(most):
            before, spent = spent, self._ticks()
            if spent == before:  # else others take its cores: what it takes itself has a limit of its own
                raise EndedError(self._place, f"reading it stood still for {most} s{MAY_PASS}")
        found = self.receive()
        if found is None:
            raise EndedError(self._place, _reason(self.wait(), seconds))
        return found

    def _ticks(self) -> int:
        """CPU that it took so far, of all threads; 0 where the system doesn't tell."""
        try:
            with open(f"/proc/{self.process.pid}/stat", "rb") as told:
                behind_name = told.read().rpartition(b")")[2].split()
            return int(behind_name[11]) + int(behind_name[12])
        except (OSError, ValueError, IndexError):
            return 0


def _reason(code: int, seconds: int) -> str:
    if code == -TIME_SIGNAL:
        return f"reading it takes over {seconds} s, which --max_record_seconds allows"
    may_pass = MAY_PASS if -code in _OF_THE_MACHINE else ""
    return f"reading it ends the process ({how_it_ended(code)}){may_pass}"


_waiting: Waiting[_Reader] = Waiting()
