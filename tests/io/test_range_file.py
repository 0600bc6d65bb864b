"""A file that is read by ranges gives the bytes that are there, in few requests."""

import random
import threading

import pytest

from beam_etl.io.stores import range_file
from beam_etl.io.stores.range_file import WHOLE_BYTES, WINDOW_BYTES, RangeFile

CONTENT = random.Random(3).randbytes(10 << 20)


class Fetched:
    """A store that counts its requests."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content, self.ranges, self._lock = content, [], threading.Lock()
        self.file = RangeFile(self, len(content))

    def __call__(self, start: int, stop: int) -> bytes:
        assert 0 <= start < stop <= len(self.content)
        with self._lock:
            self.ranges.append((start, stop))
        return self.content[start:stop]


@pytest.mark.parametrize("size", [1 << 10, 64 << 10, 3 << 20])
def test_what_is_read_in_order_is_fetched_ahead_in_growing_pieces(size: int) -> None:
    fetched = Fetched()
    assert b"".join(iter(lambda: fetched.file.read(size), b"")) == CONTENT
    assert max(stop - start for start, stop in fetched.ranges) <= max(size, WINDOW_BYTES)
    assert len(fetched.ranges) <= 16
    assert sum(stop - start for start, stop in fetched.ranges) <= len(CONTENT) + 2 * WINDOW_BYTES


def test_what_is_read_elsewhere_is_fetched_as_it_is_asked_for() -> None:
    fetched = Fetched()
    for start in (9 << 20, 100, 5 << 20):
        fetched.file.seek(start)
        assert fetched.file.read(1000) == CONTENT[start : start + 1000]
    assert fetched.ranges == [(start, start + 1000) for start in (9 << 20, 100, 5 << 20)]


def test_columns_that_are_read_in_turns_are_each_read_in_order() -> None:
    fetched, places = Fetched(), [0, 3 << 20, 7 << 20]
    found = dict.fromkeys(places, b"")
    for at in range(0, 2 << 20, 128 << 10):
        for start in places:
            fetched.file.seek(start + at)
            found[start] += fetched.file.read(128 << 10)
    assert found == {start: CONTENT[start : start + (2 << 20)] for start in places}
    assert len(fetched.ranges) <= 8 * len(places)


def test_a_small_file_is_one_request() -> None:
    fetched = Fetched(CONTENT[:WHOLE_BYTES])
    fetched.file.seek(-8, 2)
    assert fetched.file.read() == fetched.content[-8:]
    fetched.file.seek(0)
    assert fetched.file.read(5) == fetched.content[:5]
    assert fetched.ranges == [(0, WHOLE_BYTES)]


def test_reads_anywhere_in_any_order_give_what_is_there() -> None:
    fetched, choice = Fetched(), random.Random(5)
    for _ in range(500):
        start, size = choice.randrange(len(CONTENT) + 10), choice.choice((1, 100, 70_000, 2_000_000))
        if choice.random() < 0.4:
            start = fetched.file.tell()
        fetched.file.seek(start)
        assert fetched.file.read(size) == CONTENT[start : start + size]


def test_what_is_known_of_a_file_does_not_grow_with_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_file, "HELD_BYTES", 10_000)
    fetched = Fetched()
    for start in range(0, len(CONTENT), 50_000):
        fetched.file.seek(start)
        assert fetched.file.read(1000) == CONTENT[start : start + 1000]
    assert len(fetched.file._windows) == len(fetched.file._ends) == 10


def test_a_file_that_is_shorter_than_it_was_is_an_error() -> None:
    file = RangeFile(lambda start, stop: CONTENT[start : min(stop, 2 << 20)], 4 << 20)
    with pytest.raises(EOFError, match="the file ends at 2097152, it had 4194304 bytes"):
        file.read()
