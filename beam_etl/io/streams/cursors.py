"""What a reader has open, and how it stays open from one reader to the next."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from beam_etl.io.rejects import Reject

MAX_PARKED = 256
"""Cursors that a process keeps open for readers to come: a few for each split that it reads."""

PARKED_SECONDS = 120.0
"""A cursor that waits for longer waits in vain: its split is read elsewhere now, or from another place on."""


class Piece(NamedTuple):
    """What is passed on or rejected together: a position is before a piece, or behind it."""

    lane: str
    """Whose clock the rows move."""
    documents: pa.RecordBatch | None
    """In the order read, with a column `time`."""
    rejects: list[Reject]


class Cursor(Protocol):
    """An open split of a stream."""

    def next(self) -> Piece | None:
        """The next piece; None where there is nothing now. Doesn't wait for longer than a moment."""

    def position(self) -> Any:
        """Where the next piece begins, as JSON; a cursor opened there gives the same rows. Its size is bounded."""

    def lanes(self) -> Collection[str]:
        """All lanes of the split, as far as known."""

    def at_end(self) -> Collection[str]:
        """Lanes that have nothing to read, and are known to have nothing."""

    @property
    def finished(self) -> bool:
        """Whether there will never be a piece again."""

    def close(self) -> None:
        """Gives back what is open."""


class Parking:
    """Cursors that wait for a reader, by split and position.

    Engines make readers anew, some once a second, and may keep the old one for a while. To open a file in its middle,
    or a connection, each time would cost more than reading. So a reader leaves its cursor here at each checkpoint, and
    whoever goes on from there first takes it: the same reader, or another one. Nobody else has it then.
    """

    def __init__(self, most: int = MAX_PARKED, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._parked: OrderedDict[bytes, tuple[Cursor, float]] = OrderedDict()
        """Each with the time since which it waits: those that wait longest first."""
        self._lock = threading.Lock()

    def leave(self, key: bytes, cursor: Cursor) -> None:
        """Keeps a cursor; those that have waited too long are closed, and where there are too many, the oldest."""
        now = self._clock()
        with self._lock:
            gone = [self._parked.pop(key)] if key in self._parked else []
            self._parked[key] = cursor, now
            while len(self._parked) > self._most or self._oldest() < now - PARKED_SECONDS:
                gone.append(self._parked.popitem(last=False)[1])
        for old, _ in gone:
            with suppress(Exception):  # of no use to anybody any more
                old.close()

    def take(self, key: bytes) -> Cursor | None:
        """The cursor that waits there, which is the caller's now."""
        with self._lock:
            cursor, _ = self._parked.pop(key, (None, 0.0))
            return cursor

    def close(self) -> None:
        """Closes all that wait."""
        with self._lock:
            gone = list(self._parked.values())
            self._parked.clear()
        for cursor, _ in gone:
            cursor.close()

    def _oldest(self) -> float:
        return next(iter(self._parked.values()))[1]


PARKING = Parking()
"""Of this process."""
