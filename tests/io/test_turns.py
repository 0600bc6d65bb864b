"""Readers that take turns: one at a time, none waits for another's bytes, and the others go on when one ends."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from beam_etl.io.formats.archives.turns import FileOutOfTurn, in_turns

SECONDS = 20
"""Until a test that hangs has failed."""


class Bytes:
    """A file whose bytes come when `there` is set, or an error."""

    seek = tell = size = None

    def __init__(self, there: threading.Event, error: OSError | None = None) -> None:
        self._there, self._error = there, error

    def read(self, size: int) -> bytes:
        assert self._there.wait(SECONDS)
        if self._error is not None:
            raise self._error
        return bytes(size)


def pieces(file: FileOutOfTurn, times: int = 3) -> Iterator[bytes]:
    for _ in range(times):
        yield file.read(5)


def ready() -> threading.Event:
    there = threading.Event()
    there.set()
    return there


def read_all(file: Bytes) -> list[bytes]:
    return list(in_turns(file, pieces))


def test_items_are_made_by_one_thread_at_a_time() -> None:
    making, seen = 0, []

    def items(file: FileOutOfTurn) -> Iterator[int]:
        nonlocal making
        for number in range(200):
            making += 1
            seen.append(making)
            time.sleep(1e-4)  # others may run
            making -= 1
            yield number

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: list(in_turns(Bytes(ready()), items)), range(4)))
    assert made == [list(range(200))] * 4
    assert set(seen) == {1}


def test_others_read_on_while_one_waits_for_bytes() -> None:
    late = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(read_all, Bytes(late))
        try:
            assert read_all(Bytes(ready())) == [bytes(5)] * 3
            assert not waiting.done()
        finally:
            late.set()
        assert waiting.result(SECONDS) == [bytes(5)] * 3


def test_a_reader_that_fails_or_is_left_ends_its_turn() -> None:
    with pytest.raises(OSError, match="a bad disk"):
        read_all(Bytes(ready(), OSError("a bad disk")))
    left = in_turns(Bytes(ready()), pieces)
    assert next(left) == bytes(5)
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(read_all, Bytes(ready())).result(SECONDS) == [bytes(5)] * 3
    left.close()  # type: ignore[attr-defined]


def test_a_reader_that_never_ends_holds_others_up_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_etl.io.formats.archives.turns.LONGEST_SECONDS", 0.1)
    inside, leave = threading.Event(), threading.Event()

    def endless(file: FileOutOfTurn) -> Iterator[bytes]:
        inside.set()
        leave.wait(SECONDS)
        yield file.read(5)

    with ThreadPoolExecutor(2) as threads:
        stuck = threads.submit(lambda: list(in_turns(Bytes(ready()), endless)))
        try:
            assert inside.wait(SECONDS)
            assert threads.submit(read_all, Bytes(ready())).result(SECONDS) == [bytes(5)] * 3
        finally:
            leave.set()
        assert stuck.result(SECONDS) == [bytes(5)]
    assert read_all(Bytes(ready())) == [bytes(5)] * 3
