"""Bounds of ranges that hold about equal bytes, from a sample of rows that doesn't depend on how they are spread."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.hashing import hash_rows
from beam_etl.kernels.sorting import KEY, TIE, Order, range_numbers, sorted_places

WEIGHT = "weight"
"""int64: bytes of a sampled row, beside its keys."""

PARTITION = "partition"
"""uint64: the range that a block has rows of."""

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
    """Bytes of each row, about: texts by their length, other columns as their mean. int64[rows], 1 and more."""
    sizes = np.ones(batch.num_rows, np.int64)
    for values in batch.columns:
        kind = values.type
        if _has_lengths(kind):
            sizes += pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        else:
            sizes += values.nbytes // max(batch.num_rows, 1)
    return sizes


def _has_lengths(kind: pa.DataType) -> bool:
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(check(kind) for check in checks)


def range_bounds(samples: Sequence[pa.RecordBatch], order: Order, partitions: int) -> pa.RecordBatch | None:
    """Where ranges of about equal weight begin, but for the first one.

    The tie is part of a bound, so that rows which are equal in all columns of the order are spread as well.

    Args:
      samples: of `sample_keys`.
      order: of their rows.
      partitions: how many ranges are wanted, at least 1.

    Returns:
      `key_rows` in order, at most `partitions` - 1, no two of them equal; None without a sample.
    """
    if not samples:
        return None
    sample = pa.concat_batches(samples)
    keys = sample.drop_columns([WEIGHT])
    places = sorted_places(keys, order)
    weights = sample.column(WEIGHT).to_numpy()[places]
    before = np.cumsum(weights) - weights
    targets = np.arange(1, partitions) * (weights.sum() / partitions)
    chosen = np.unique(np.searchsorted(before, targets))
    return keys.take(pa.array(places[chosen[(chosen > 0) & (chosen < len(places))]]))


def with_lasts(firsts: pa.RecordBatch, lasts: pa.RecordBatch) -> pa.RecordBatch:
    """Blocks as `locate_blocks` takes them: the keys of their first rows, and of their last ones."""
    names = [*firsts.schema.names, *(f"{_LAST}{name}" for name in lasts.schema.names)]
    return pa.RecordBatch.from_arrays([*firsts.columns, *lasts.columns], names)


def keys_of_blocks(blocks: pa.RecordBatch) -> pa.RecordBatch:
    """The keys of their first rows."""
    return blocks.select([name for name in blocks.schema.names if name.startswith(KEY)])


def locate_blocks(blocks: pa.RecordBatch, bounds: pa.RecordBatch | None, order: Order) -> pa.RecordBatch:
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
    if bounds is not None and bounds.num_rows:
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
