"""Lines of text, some of which end the process that reads them, hold it up for ever, or take all memory."""

import ctypes
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.io.formats import Rows, Split, SplitReader
from beam_etl.io.formats.text import TextLines
from beam_etl.io.isolate import by_halves, entering
from beam_etl.io.rejects import Reject, reject_record


def crash() -> None:
    ctypes.string_at(0)


def hang() -> None:
    """As a library that loops without Python's lock."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", (1 << 31) - 1)


def fill() -> None:
    """As a library that is told a size by what it reads; it asks for more than any machine has."""
    bytearray(1 << 50)


DEEDS: dict[str, Callable[[], None]] = {
    "crash": crash,
    "hang": hang,
    "fill": fill,
}


class DeadlyLines(TextLines):
    """As text, but what a line names is done when it is read."""

    name = "deadly"

    def open(self, split: Split, stored: pa.Schema | None) -> "_Reader":  # type: ignore[override]
        return _Reader(split, super().open(split, stored))


class _Reader:
    def __init__(self, split: Split, lines: SplitReader) -> None:
        self._path = split.file.path
        self._lines = lines
        self.schema = lines.schema

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        for rows in self._lines.rows(names, complete):
            yield from [rows] if isinstance(rows, Reject) else self._survived(rows)

    def _survived(self, rows: Rows) -> Iterator[Rows | Reject]:
        good: list[int] = []
        for start, stop, result in by_halves(lambda i, j: _do(rows, i, j), 0, len(rows.positions)):
            if isinstance(result, Exception):
                position = int(rows.positions[start])
                yield reject_record(self._path, position, str(result), rows.raw(start))
            else:
                good += range(start, stop)
        batch: Any = rows.batch.take(pa.array(good, pa.int64()))
        yield Rows(batch, rows.positions[good], lambda row: rows.raw(good[row]))


def _do(rows: Rows, start: int, stop: int) -> None:
    entering("lines", *rows.positions[[start, stop - 1]].tolist())
    named = pc.unique(rows.batch.column("text").slice(start, stop - start)).to_pylist()
    for deed in sorted(DEEDS.keys() & set(named)):
        DEEDS[deed]()
