"""Cursors that wait for readers: each is taken once or closed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_etl.io.columns import Columns
from beam_etl.io.streams.cursors import PARKING, Cursor, Parking
from beam_etl.io.streams.source import StreamSource


class Open:
    """A cursor without anything to read, which tells whether it is closed."""

    finished = False

    def __init__(self) -> None:
        self.closed = 0

    def next(self) -> None:
        """Nothing now."""

    def position(self) -> int:
        return 1

    def lanes(self) -> tuple[str]:
        return ("a",)

    at_end = lanes

    def close(self) -> None:
        self.closed += 1


def test_a_cursor_that_nobody_takes_is_closed_when_another_is_left_two_minutes_later() -> None:
    now = [1000.0]
    parking, cursors = Parking(clock=lambda: now[0]), [Open() for _ in range(4)]
    for number, cursor in enumerate(cursors):
        parking.leave(bytes([number]), cursor)
        now[0] += 50.0
    assert [cursor.closed for cursor in cursors] == [1, 0, 0, 0]
    assert [parking.take(bytes([number])) for number in range(4)] == [None, *cursors[1:]]
    parking.close()
    assert [cursor.closed for cursor in cursors] == [1, 0, 0, 0]


def test_where_there_are_too_many_the_oldest_is_closed() -> None:
    parking, cursors = Parking(most=2), [Open() for _ in range(3)]
    for key, cursor in zip((b"a", b"b", b"b"), cursors, strict=True):
        parking.leave(key, cursor)
    assert [cursor.closed for cursor in cursors] == [0, 1, 0]
    parking.leave(b"c", Open())
    assert [cursor.closed for cursor in cursors] == [1, 1, 0]


OPENED: list[Open] = []


@dataclass(frozen=True, kw_only=True)
class Silent(StreamSource):
    """A stream of nothing."""

    def open(self, position: Any) -> Cursor:
        OPENED.append(Open())
        return OPENED[-1]


def test_a_stream_that_is_told_to_end_closes_what_it_had_open(tmp_path: Path) -> None:
    source = Silent(columns=Columns(needed=("id", "time")), end=str(tmp_path / "end"))
    OPENED.clear()
    reader = source.create_reader(None, None)
    assert not reader.advance()
    mark = reader.get_checkpoint_mark()
    reader.close()
    (tmp_path / "end").touch()
    last = source.create_reader(None, mark)
    assert not last.advance()
    last.get_checkpoint_mark()
    last.close()
    PARKING.close()
    assert [cursor.closed for cursor in OPENED] == [1]
