"""The key that most of a partition belongs to, told from some of its rows."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FIRST_ROWS, FIRST_BYTES = 4096, 256 << 10
"""A partition is looked at first when it has so many rows, or bytes: a small one costs nothing."""

MOST_ROWS, MOST_BYTES = 1 << 16, 4 << 20
"""Then whenever it has twice as many as at the last look, or so many more. A look takes some 50 us."""

LOOKED_AT = 64
"""Rows of a batch that are looked at. A key with half of them is found in all but one of 10^9 looks or so."""

HOT_SHARE = 0.25
"""A key with less of a partition isn't why the partition is large."""

KEY_CHARACTERS = 100


Key = tuple[object, ...]
"""The values of a row in the key columns."""


class KeySample:
    """What a partition has, and which key has most of it. Batches come one by one, none is kept.

    The batch with which a look is due is looked at: large ones more often than small ones. By rows and by bytes, each
    for itself, what came since the last look counts for the keys of the rows that are seen, in equal parts.

    Args:
      by: key columns. Batches that lack one aren't looked at.
    """

    def __init__(self, by: Sequence[str]) -> None:
        self._by = tuple(by)
        self._rows = _Looks(FIRST_ROWS, MOST_ROWS)
        self._bytes = _Looks(FIRST_BYTES, MOST_BYTES)

    @property
    def rows(self) -> int:
        """All rows so far."""
        return self._rows.total

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return self._bytes.total

    def add(self, batch: pa.RecordBatch) -> None:
        """Counts a batch, and looks at it where that is due."""
        due = [
            looks
            for looks, size in ((self._rows, batch.num_rows), (self._bytes, batch.nbytes))
            if looks.is_due_with(size)
        ]
        if due and batch.num_rows and self._by and set(self._by) <= set(batch.schema.names):
            keys = self._keys(batch)
            for looks in due:
                looks.look(keys)

    def hottest_by_rows(self) -> tuple[str, int] | None:
        """The key with most rows, and about how many it has; None where none has HOT_SHARE of them."""
        return self._told(self._rows)

    def hottest_by_bytes(self) -> tuple[str, int] | None:
        """The same by bytes."""
        return self._told(self._bytes)

    def _keys(self, batch: pa.RecordBatch) -> list[Key]:
        places = np.linspace(0, batch.num_rows - 1, min(batch.num_rows, LOOKED_AT)).astype(np.int64)
        return keys_at(batch, self._by, places)

    def _told(self, looks: "_Looks") -> tuple[str, int] | None:
        key, share = looks.hottest()
        if key is None or share < HOT_SHARE:
            return None
        return key_text(self._by, key), round(share * looks.total)


class _Looks:
    """Shares of keys by one measure."""

    def __init__(self, first: int, most: int) -> None:
        self.total = 0
        self._most = most
        self._next = first
        self._seen = 0
        self._shares: defaultdict[Key, float] = defaultdict(float)

    def is_due_with(self, size: int) -> bool:
        self.total += size
        return self.total >= self._next

    def look(self, keys: list[Key]) -> None:
        for key in keys:
            self._shares[key] += (self.total - self._seen) / len(keys)
        self._seen = self.total
        self._next = self.total + min(self.total, self._most)

    def hottest(self) -> tuple[Key | None, float]:
        """The key with the largest share of what was seen, and this share."""
        if not self._shares:
            return None, 0.0
        key = max(self._shares, key=self._shares.__getitem__)
        return key, self._shares[key] / self._seen


def keys_at(batch: pa.RecordBatch, by: Sequence[str], places: npt.NDArray[np.int64]) -> list[Key]:
    """The values of some rows in the columns `by`."""
    columns = [_plain(batch.column(name).take(pa.array(places))).to_pylist() for name in by]
    return list(zip(*columns, strict=True))


def _plain(values: pa.Array) -> pa.Array:
    """Values that Python has: its times have no nanoseconds, and its years end at 9999."""
    if pa.types.is_dictionary(values.type):
        return _plain(values.dictionary_decode())
    return values.cast(pa.string()) if pa.types.is_temporal(values.type) else values


def key_text(by: Sequence[str], key: Key) -> str:
    """A key in a line, without control characters."""
    return ", ".join(f"{name}={_text(value)}" for name, value in zip(by, key, strict=True))


def _text(value: object) -> str:
    text = "null" if value is None else repr(value) if isinstance(value, str | bytes) else str(value)
    return text if len(text) <= KEY_CHARACTERS else f"{text[:KEY_CHARACTERS]}..."
