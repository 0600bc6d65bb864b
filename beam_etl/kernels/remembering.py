"""What windows left behind: rows that are found again by a key of 64 bits, and forgotten when their time is over.

Rows of a window are kept in runs, each sorted by the key, and runs of about one size are merged: a lookup is a binary
search in a few arrays, and each row is copied some log2(windows) times.

Source: O'Neil, Cheng, Gawlick and O'Neil, The Log-Structured Merge-Tree (1996).
"""

import struct
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.numbering import find_sorted

Keys = npt.NDArray[np.uint64]

ENDED = "window_ended"
"""int64 column: the end of the window that a row is of, in microseconds since 1970."""

ALWAYS = np.iinfo(np.int64).max
"""The end of no window: rows that are never forgotten."""

_HEAD = struct.Struct("<q")
_GROWTH = 2
"""A run is merged with the one before it, unless that has so many times its rows."""


def pack(ended: int, rows: pa.RecordBatch) -> bytes:
    """Rows of one window as bytes: 8 for its end, some 250 for what each batch takes, and the columns."""
    return _HEAD.pack(ended) + rows.serialize().to_pybytes()


def unpack(packed: bytes, columns: pa.Schema) -> tuple[int, pa.RecordBatch]:
    """What `pack` was given; `columns` are those of the rows."""
    (ended,) = _HEAD.unpack_from(packed)
    return ended, pa.ipc.read_record_batch(pa.py_buffer(packed)[_HEAD.size :], columns)


class Remembered:
    """Rows by key and window. Not for several threads at once.

    Args:
      key: a uint64 column without nulls.
      columns: of the rows, all of fixed width or binary.
    """

    def __init__(self, key: str, columns: pa.Schema) -> None:
        self._key = key
        self._empty = pa.RecordBatch.from_pylist([], columns.append(pa.field(ENDED, pa.int64())))
        self._runs: list[pa.RecordBatch] = []

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(run.nbytes for run in self._runs)

    @property
    def rows(self) -> int:
        """Rows held, forgotten ones that weren't let go yet included."""
        return sum(run.num_rows for run in self._runs)

    def add(self, ended: int, rows: pa.RecordBatch, after: int) -> None:
        """Adds the rows of a window.

        Args:
          ended: when it ended.
          rows: in any order.
          after: what is of windows that ended then or before isn't needed any more.
        """
        rows = rows.append_column(ENDED, pa.array(np.full(rows.num_rows, ended)))
        self._runs.append(self._sorted([rows]))
        self._merge(after)

    def load(self, parts: Iterable[tuple[int, pa.RecordBatch]]) -> None:
        """Adds many windows at once: each its end, and its rows."""
        found = [rows.append_column(ENDED, pa.array(np.full(rows.num_rows, ended))) for ended, rows in parts]
        if found:
            self._runs.append(self._sorted(found))

    def find(self, keys: Keys, after: int, before: int) -> pa.RecordBatch:
        """All rows with one of the keys, of windows that ended after `after` and before `before`, or are of no window.

        Returns:
          The columns and ENDED, in no order.
        """
        wanted = np.unique(keys)
        found = [self._empty]
        for run in self._runs:
            held = run.column(self._key).to_numpy()
            present, begin = find_sorted(held, wanted)  # mostly few
            if not len(present):
                continue
            count = np.searchsorted(held, wanted[present], "right") - begin
            rows = np.repeat(begin - np.cumsum(count) + count, count) + np.arange(count.sum())
            ended = run.column(ENDED).to_numpy()[rows]
            lives = (ended > after) & ((ended < before) | (ended == ALWAYS))
            found.append(run.take(pa.array(rows[lives])))
        return pa.concat_batches(found)

    def _merge(self, after: int) -> None:
        runs = self._runs
        while len(runs) > 1 and runs[-2].num_rows <= _GROWTH * runs[-1].num_rows:
            last, before = runs.pop(), runs.pop()
            runs.append(self._sorted([_living(before, after), _living(last, after)]))

    def _sorted(self, parts: list[pa.RecordBatch]) -> pa.RecordBatch:
        whole = pa.concat_batches(parts)
        order = np.argsort(whole.column(self._key).to_numpy(), kind="stable")
        return whole.take(pa.array(order))


def _living(run: pa.RecordBatch, after: int) -> pa.RecordBatch:
    lives = run.column(ENDED).to_numpy() > after
    return run if lives.all() else run.filter(pa.array(lives))
