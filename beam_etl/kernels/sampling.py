"""Samples that depend on the rows alone: of each key, those with the smallest hashes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.hashing import Hashes, hash_rows

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

WAITING_ROWS = 1 << 20
"""Rows of a partition whose hashes are held before the largest are forgotten: 24 bytes each."""


def sample_keys(rows: pa.RecordBatch, by: Sequence[str]) -> tuple[Integers, Integers]:
    """What a sample is chosen by: int64[rows] hashes, and int64[rows] in the order of addresses for ties.

    Rows that have no address are taken to differ in the columns `by`.
    """
    hashes = positive(hash_rows([rows.column(name) for name in by]))
    if schema.ADDRESS not in rows.schema.names:
        return hashes, np.zeros(rows.num_rows, np.int64)
    address = rows.column(schema.ADDRESS).to_numpy()
    return hashes, (address ^ np.uint64(1 << 63)).view(np.int64)


def positive(hashes: Hashes) -> Integers:
    """63 bits of a hash, as a signed number that isn't negative."""
    return (hashes >> np.uint64(1)).astype(np.int64)


def first_of_each(group: npt.NDArray[np.generic], most: Integers | int) -> Flags:
    """Of rows that stand group by group, whether each is one of the first `most` of its group."""
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    place = np.arange(len(group)) - np.repeat(starts, np.diff(np.append(starts, len(group))))
    return np.asarray(place < most)


def smallest_rows(
    batch: pa.RecordBatch, by: Sequence[str], sample_by: Sequence[str], most: int
) -> pa.RecordBatch:
    """A merge kernel: of each key the rows that come first in the order of `sample_keys`, in the batch's order.

    Args:
      batch: any rows.
      by: key columns. Keys are told apart by 64 bits of hash.
      sample_by: columns in which rows of a key differ.
      most: rows that a key keeps, at least 1.

    Raises:
      TypeError: a column's type has no stable hash.
    """
    found = _Hashed.of(batch, by, sample_by)
    order = found.order()
    first = first_of_each(found.key[order], most)
    return batch if first.all() else batch.take(pa.array(np.sort(order[first])))


def sample_partition(
    batches: Iterable[pa.RecordBatch], by: Sequence[str], sample_by: Sequence[str], most: int
) -> Iterator[pa.RecordBatch]:
    """The same for a partition that has all rows of its keys: read twice, batch by batch, and never held.

    Memory is 24 bytes for each row that stays, and for WAITING_ROWS more.

    Args:
      batches: can be iterated again. Of rows that `sample_keys` doesn't tell apart, the first that come stay.
      by, sample_by, most: as for `smallest_rows`.
    """
    last = _last_ones(batches, by, sample_by, most)
    for batch in batches:
        stays = last.keep(_Hashed.of(batch, by, sample_by))
        if stays.any():
            yield batch if stays.all() else batch.filter(pa.array(stays))


class _Hashed(NamedTuple):
    """Rows by their hashes."""

    key: Hashes
    hash: Integers
    tie: Integers

    @classmethod
    def of(cls, batch: pa.RecordBatch, by: Sequence[str], sample_by: Sequence[str]) -> "_Hashed":
        return cls(hash_rows([batch.column(name) for name in by]), *sample_keys(batch, sample_by))

    def order(self) -> npt.NDArray[np.intp]:
        """Key by key, and inside a key as rows are chosen."""
        return np.lexsort((self.tie, self.hash, self.key))

    def take(self, places: npt.NDArray[np.intp]) -> "_Hashed":
        return _Hashed(self.key[places], self.hash[places], self.tie[places])


class _LastOnes:
    """Of each key with enough rows the last one that stays, and how many equal ones do."""

    def __init__(self, chosen: _Hashed, most: int) -> None:
        ends = np.flatnonzero(np.append(chosen.key[1:] != chosen.key[:-1], [True] * min(1, len(chosen.key))))
        counts = np.diff(np.append(-1, ends))
        self._last = chosen.take(ends[counts == most])
        self._left: dict[int, int] = {}
        at, full = self._places(chosen.key)
        same = full & (chosen.hash == _values_at(self._last.hash, at))
        same &= chosen.tie == _values_at(self._last.tie, at)
        for place in at[same].tolist():
            self._left[place] = self._left.get(place, 0) + 1

    def keep(self, rows: _Hashed) -> Flags:
        """Whether each row stays. Rows that are equal to the last one do while there is room."""
        at, full = self._places(rows.key)
        last_hash, last_tie = (_values_at(values, at) for values in (self._last.hash, self._last.tie))
        same = full & (rows.hash == last_hash) & (rows.tie == last_tie)
        stays = ~full | (rows.hash < last_hash) | ((rows.hash == last_hash) & (rows.tie < last_tie))
        for row in np.flatnonzero(same).tolist():
            left = self._left[int(at[row])]
            stays[row] = left > 0
            self._left[int(at[row])] = left - 1
        return np.asarray(stays)

    def _places(self, keys: Hashes) -> tuple[Integers, Flags]:
        """Where each key's last row is, and whether it has one."""
        known = self._last.key
        if not len(known):
            return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.bool_)
        at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        return at, known[at] == keys


def _values_at(values: Integers, at: Integers) -> Integers:
    return values[at] if len(values) else np.zeros(len(at), np.int64)


def _last_ones(
    batches: Iterable[pa.RecordBatch], by: Sequence[str], sample_by: Sequence[str], most: int
) -> _LastOnes:
    waiting: list[_Hashed] = []
    chosen = _Hashed(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    rows = 0
    for batch in batches:
        waiting.append(_Hashed.of(batch, by, sample_by))
        rows += batch.num_rows
        if rows > max(WAITING_ROWS, len(chosen.key)):
            chosen, waiting, rows = _chosen([chosen, *waiting], most), [], 0
    return _LastOnes(_chosen([chosen, *waiting], most), most)


def _chosen(parts: Sequence[_Hashed], most: int) -> _Hashed:
    """The first `most` of each key, in order."""
    rows = _Hashed(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    ordered = rows.take(rows.order())
    return ordered.take(np.flatnonzero(first_of_each(ordered.key, most)))
