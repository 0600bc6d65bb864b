"""Bounds of ranges that hold about equal bytes, from a sample of rows that doesn't depend on how they are spread."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.content import row_sizes
from beam_etl.kernels.hashing import hash_rows
from beam_etl.kernels.partition_bounds import bound_in_json
from beam_etl.kernels.sorting import FIRST_KEY, KEY, TIE, Order, floats_of, range_numbers, sorted_places

Places = npt.NDArray[np.int64]

WEIGHT = "weight"
"""int64: bytes of a sampled row, beside its keys."""

PARTITION = "partition"
"""uint64: the range that a block has rows of."""

UNEVEN = 1.25
"""How much larger than their mean a range may be, so that equal values stay together."""

IS_EDGE = "is_edge"
"""Whether a block has rows of other ranges as well."""

_LAST = "last."
"""Before the names of a block's last keys."""


def sample_keys(keys: pa.RecordBatch, weights: npt.NDArray[np.int64], part: float) -> pa.RecordBatch:
    """About `part` of the rows: those whose tie has a small hash, whatever the batches. WEIGHT is added.

    Args:
      keys: `key_rows`, with a tie.
      weights: int64[rows].
      part: 0 to 1.
    """
    weighted = keys.append_column(WEIGHT, pa.array(weights, pa.int64()))
    if part >= 1:
        return weighted
    hashes = hash_rows([keys.column(TIE)])
    return weighted.filter(pa.array(hashes < np.uint64(part * 2.0**64)))


def row_bytes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """`row_sizes`, and 1 for the row itself: int64[rows]."""
    return row_sizes(batch) + 1


def range_bounds(samples: Sequence[pa.RecordBatch], order: Order, partitions: int) -> pa.RecordBatch:
    """Where ranges of about equal weight begin, but for the first one.

    Where ranges differ little although rows with one value of the order's first column stay together, a bound is such a
    value. Else it is a whole key with its tie, so that rows which are equal in all columns of the order are spread.

    Args:
      samples: of `sample_keys`, one or more.
      order: of their rows.
      partitions: how many ranges are wanted, at least 1.

    Returns:
      `key_rows`, or their columns of the first column alone, in order, at most `partitions` - 1, no two of them equal.
    """
    sample = pa.concat_batches(samples)
    keys = sample.drop_columns([WEIGHT])
    places = sorted_places(keys, order)
    keys = keys.take(pa.array(places))
    weights = sample.column(WEIGHT).to_numpy()[places]
    before = np.cumsum(weights) - weights
    total = float(weights.sum())
    targets = np.arange(1, partitions) * (total / partitions)
    first = keys.select([name for name in keys.schema.names if name.startswith(FIRST_KEY)])
    begins = _begins(first)
    chosen = _nearest(begins, before, targets)
    largest = np.diff(before[chosen], prepend=0.0, append=total).max(initial=0.0)
    if largest <= UNEVEN * total / partitions:
        return first.take(pa.array(chosen))
    return keys.take(pa.array(_nearest(np.arange(1, len(places)), before, targets)))


def _begins(keys: pa.RecordBatch) -> Places:
    """The rows that differ from the one before them, but for the first."""
    codes = [values.dictionary_encode(null_encoding="encode").indices.to_numpy() for values in keys.columns]
    differs = [np.diff(code) != 0 for code in codes]
    return np.flatnonzero(np.logical_or.reduce(differs)) + 1 if keys.num_rows else np.empty(0, np.int64)


def _nearest(places: Places, before: npt.NDArray[np.int64], targets: npt.NDArray[np.floating[Any]]) -> Places:
    """For each target the place before which there is most nearly as much, each place once."""
    if not len(places):
        return places
    weights = before[places]
    after = np.clip(np.searchsorted(weights, targets), 1, max(len(places) - 1, 1))
    after = np.minimum(after, len(places) - 1)
    ahead = np.maximum(after - 1, 0)
    is_ahead = targets - weights[ahead] <= weights[after] - targets
    return places[np.unique(np.where(is_ahead, ahead, after))]


def bounds_in_json(bounds: pa.RecordBatch, kind: str) -> list[Any] | None:
    """Bounds that are values of one column, as JSON has them; None of others, or where JSON can't hold them.

    Args:
      bounds: of `range_bounds`.
      kind: the column's type, as text.
    """
    if bounds.schema.names != [FIRST_KEY]:
        return None
    values = bounds.column(0)
    if kind in ("halffloat", "float", "double"):
        plain = floats_of(values).to_pylist()
        return plain if all(map(math.isfinite, plain)) else None
    if pa.types.is_temporal(values.type):
        return [bound_in_json(value) for value in values]
    plain = values.to_pylist()
    return plain if all(isinstance(value, str | int) for value in plain) else None


def with_lasts(firsts: pa.RecordBatch, lasts: pa.RecordBatch) -> pa.RecordBatch:
    """Blocks as `locate_blocks` takes them: the keys of their first rows, and of their last ones."""
    names = [*firsts.schema.names, *(f"{_LAST}{name}" for name in lasts.schema.names)]
    return pa.RecordBatch.from_arrays([*firsts.columns, *lasts.columns], names)


def keys_of_blocks(blocks: pa.RecordBatch) -> pa.RecordBatch:
    """The keys of their first rows."""
    return blocks.select([name for name in blocks.schema.names if name.startswith(KEY)])


def locate_blocks(blocks: pa.RecordBatch, bounds: pa.RecordBatch, order: Order) -> pa.RecordBatch:
    """A row for each range that a block has rows of.

    Args:
      blocks: of `with_lasts`, and further columns.
      bounds: of `range_bounds`.
      order: of rows.

    Returns:
      The blocks without their last keys, PARTITION and IS_EDGE.
    """
    names = [name for name in blocks.schema.names if name.startswith(_LAST)]
    rest = blocks.drop_columns(names)
    begin = end = np.zeros(blocks.num_rows, np.int64)
    if bounds.num_rows:
        lasts = blocks.select(names).rename_columns([name.removeprefix(_LAST) for name in names])
        begin = range_numbers(keys_of_blocks(rest), bounds, order)
        end = range_numbers(lasts, bounds, order)
    counts = end - begin + 1
    places = np.repeat(np.arange(blocks.num_rows), counts)
    offset = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    return (
        rest.take(pa.array(places))
        .append_column(pa.field(PARTITION, pa.uint64()), pa.array((begin[places] + offset).astype(np.uint64)))
        .append_column(pa.field(IS_EDGE, pa.bool_()), pa.array(counts[places] > 1))
    )
