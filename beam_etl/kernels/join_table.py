"""Rows of one side of a join, found by their key."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.content import row_sizes
from beam_etl.kernels.join_keys import comparable, key_hashes, valid_keys
from beam_etl.kernels.numbering import Numbering

Rows = npt.NDArray[np.int64]

PAIRS = 1 << 14
"""Pairs that are made at a time, however many a key has."""

JOINED_BYTES = 4 << 20
"""Bytes of the rows of pairs that are made at a time; a larger pair stands alone."""


class JoinTable:
    """Rows, by key. Threads may share one: it is only read.

    It takes some 40 bytes a row besides them.

    Args:
      rows: at most 2 GiB of each column.
      on: key columns. A null in one of them: the row is found by nobody. Their types are those of what is looked up.
    """

    def __init__(self, rows: pa.RecordBatch, on: Sequence[str]) -> None:
        self.rows = rows
        self._on = tuple(on)
        keys = self._keys(rows)
        hashes, self._is_exact = key_hashes(keys)
        valid = valid_keys(keys)
        present = np.arange(rows.num_rows) if valid is None else np.flatnonzero(valid)
        self._numbering = Numbering()
        codes = self._numbering.add(hashes if valid is None else hashes[present])
        counts = np.bincount(codes, minlength=len(self._numbering))
        self._counts = np.append(counts, 0)  # of code -1
        self._starts = np.append(np.cumsum(counts) - counts, 0)
        self._order = present[np.argsort(codes, kind="stable")]
        self._sizes = row_sizes(rows)

    def pairs(self, others: pa.RecordBatch) -> Iterator[tuple[Rows, Rows]]:
        """Rows of equal keys: int64[m] places in `others`, ascending, and int64[m] places in `rows`.

        At most PAIRS and about JOINED_BYTES at a time. Values decide, not hashes.
        """
        keys = self._keys(others)
        hashes, _ = key_hashes(keys)
        codes = self._numbering.find(hashes)
        valid = valid_keys(keys)
        if valid is not None:
            codes[~valid] = -1
        counts = self._counts[codes]
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        sizes = row_sizes(others)
        for begin in range(0, total, PAIRS):
            pair = np.arange(begin, min(begin + PAIRS, total))
            at = np.searchsorted(ends, pair, side="right")
            mine = self._order[self._starts[codes[at]] + pair - (ends[at] - counts[at])]
            if not self._is_exact:
                at, mine = self._equal(keys, at, mine)
            yield from _bounded(at, mine, sizes[at] + self._sizes[mine])

    def _keys(self, rows: pa.RecordBatch) -> list[pa.Array]:
        return [rows.column(name) for name in self._on]

    def _equal(self, keys: list[pa.Array], at: Rows, mine: Rows) -> tuple[Rows, Rows]:
        """Those pairs whose keys are equal, of pairs whose hashes are."""
        same = np.ones(len(at), np.bool_)
        for theirs, ours in zip(keys, self._keys(self.rows), strict=True):
            pair = (comparable(theirs.take(pa.array(at))), comparable(ours.take(pa.array(mine))))
            same &= pc.equal(*pair).to_numpy(zero_copy_only=False)
        return (at, mine) if same.all() else (at[same], mine[same])


def distinct_keys(keys: pa.RecordBatch) -> pa.RecordBatch:
    """Each row once, in no order."""
    names = keys.schema.names
    grouped = pa.Table.from_batches([keys]).group_by(names, use_threads=False).aggregate([]).combine_chunks()
    found = grouped.select(names).cast(keys.schema).to_batches()
    return found[0] if found else keys.slice(0, 0)


def _bounded(at: Rows, mine: Rows, sizes: Rows) -> Iterator[tuple[Rows, Rows]]:
    """The pairs in pieces of about JOINED_BYTES."""
    if not len(at):
        return
    pieces = np.cumsum(sizes) // JOINED_BYTES
    edges = [0, *(np.flatnonzero(np.diff(pieces)) + 1).tolist(), len(at)]
    for begin, end in pairwise(edges):
        yield at[begin:end], mine[begin:end]
