"""Readers in one process take turns: theirs is Python's work, whose lock would go to and fro at each record."""

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")

LONGEST_SECONDS = 5.0
"""Who waits for so long goes on: what is read may never end, and then its reader is left to itself."""

_lock = threading.Lock()


class _Turn:
    """One reader's. It has the lock that it took, whichever others take meanwhile."""

    def __init__(self) -> None:
        self._held: threading.Lock | None = None

    def take(self) -> None:
        global _lock
        waited_for = _lock
        if not waited_for.acquire(timeout=LONGEST_SECONDS):
            waited_for = _lock = threading.Lock()
            waited_for.acquire()
        self._held = waited_for

    def leave(self) -> None:
        if self._held is not None:
            self._held.release()
            self._held = None


class FileOutOfTurn:
    """An opened file, for whoever reads it `in_turns`: others go on while it waits for bytes."""

    def __init__(self, file: Any, turn: _Turn) -> None:
        self._file = file
        self._turn = turn
        self.seek, self.tell, self.size = file.seek, file.tell, file.size

    def read(self, size: int) -> bytes:
        self._turn.leave()
        try:
            return bytes(self._file.read(size))
        finally:
            self._turn.take()


def in_turns(file: Any, make: Callable[[FileOutOfTurn], Iterator[Item]]) -> Iterator[Item]:
    """The items that are made of an opened file, each while no other thread makes any of its own.

    Args:
      file: its bytes are read while others may go on.
      make: of items; `None` is none.
    """
    turn = _Turn()
    items = make(FileOutOfTurn(file, turn))
    while True:
        turn.take()
        try:
            item = next(items, None)
        finally:
            turn.leave()
        if item is None:
            return
        yield item
