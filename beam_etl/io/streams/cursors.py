"""What a reader has open, and how it stays open from one reader to the next."""

import threading
from collections import OrderedDict
from collections.abc import Collection
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from beam_etl.io.rejects import Reject

MAX_PARKED = 256
"""Cursors that a process keeps open for readers to come: a few for each split that it reads."""


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

    def __init__(self, most: int = MAX_PARKED) -> None:
        self._most = most
        self._parked: OrderedDict[bytes, Cursor] = OrderedDict()
        self._lock = threading.Lock()

    def leave(self, key: bytes, cursor: Cursor) -> None:
        """Keeps a cursor; where there are too many, that which waits longest is closed."""
        with self._lock:
            gone = [self._parked.pop(key)] if key in self._parked else []
            self._parked[key] = cursor
            while len(self._parked) > self._most:
                gone.append(self._parked.popitem(last=False)[1])
        for old in gone:
            with suppress(Exception):  # of no use to anybody any more
                old.close()

    def take(self, key: bytes) -> Cursor | None:
        """The cursor that waits there, which is the caller's now."""
        with self._lock:
            return self._parked.pop(key, None)

    def close(self) -> None:
        """Closes all that wait."""
        with self._lock:
            gone = list(self._parked.values())
            self._parked.clear()
        for cursor in gone:
            cursor.close()


PARKING = Parking()
"""Of this process."""
