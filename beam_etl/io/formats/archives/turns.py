"""Readers in one process take turns: theirs is Python's work, whose lock would go to and fro at each record."""

import threading
from collections.abc import Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")

_turn = threading.Lock()


def in_turns(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each made while no other thread makes any of its own; `None` is no item."""
    while True:
        with _turn:
            item = next(items, None)
        if item is None:
            return
        yield item


class FileOutOfTurn:
    """An opened file, for whoever reads it `in_turns`: others go on while it waits for bytes."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell, self.size = file.seek, file.tell, file.size

    def read(self, size: int) -> bytes:
        _turn.release()
        try:
            return bytes(self._file.read(size))
        finally:
            _turn.acquire()
