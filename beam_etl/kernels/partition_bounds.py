"""Bounds of ranges that hold about equally many rows, from a sample that doesn't depend on how rows are spread."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.hashing import hash_rows
from beam_etl.kernels.partitioning import RANGE, Level, Partitioning
from beam_etl.kernels.sorting import Key, Order, sort_batch


def sample_rows(batch: pa.RecordBatch, columns: Sequence[str], part: float) -> pa.RecordBatch:
    """About `part` of the rows, chosen by hash of the address: the same whatever the batches. Only these columns.

    Args:
      batch: with an address.
      columns: those wanted.
      part: 0 to 1.
    """
    wanted = batch.select(list(columns))
    if part >= 1:
        return wanted
    hashes = hash_rows([batch.column(schema.ADDRESS)])
    return wanted.filter(pa.array(hashes < np.uint64(part * 2.0**64)))


def with_bounds(partitioning: Partitioning, samples: Sequence[pa.RecordBatch]) -> Partitioning:
    """The partitioning with the bounds of its ranges, found in a sample of rows.

    Args:
      partitioning: whose levels of ranges say how many are wanted.
      samples: rows with their columns, in any order.
    """
    levels = tuple(_bounded(level, samples) if is_open(level) else level for level in partitioning.by)
    return replace(partitioning, by=levels)


def is_open(level: Level) -> bool:
    """Whether the bounds of a level aren't known yet."""
    return level.function == RANGE and level.bounds is None


def _bounded(level: Level, samples: Sequence[pa.RecordBatch]) -> Level:
    bounds: list[Any] = []
    if samples:
        name = level.columns[0]
        rows = pa.concat_batches([batch.select([name]) for batch in samples])
        bounds = even_bounds(rows.column(name), level.partitions or 1)
    return replace(level, partitions=None, bounds=tuple(bounds))


def even_bounds(values: pa.Array, ranges: int) -> list[Any]:
    """Where ranges of about equally many values begin, but for the first one; as JSON has them.

    Equal values stay together: one that is more than its share has a range of its own, and the others share the rest.

    Args:
      values: of any type with an order; nulls belong to no range, NaNs to the last one.
      ranges: how many are wanted, at least 1.

    Returns:
      At most `ranges` - 1 distinct values, ascending.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type):
        values = values.filter(pc.invert(pc.is_nan(values)))
    rows = pa.RecordBatch.from_arrays([values.drop_null()], ["value"])
    ordered = sort_batch(rows, Order((Key("value"),))).column(0)
    runs = pc.run_end_encode(ordered)
    ends = np.asarray(runs.run_ends).astype(np.int64)
    counts = np.diff(ends, prepend=0)
    left, parts, held, firsts = len(ordered), ranges, 0, []
    for place, count in enumerate(counts.tolist()):
        share = left / parts
        if held > share / 2 and parts > 1 and held + count / 2 > share:
            firsts.append(int(ends[place - 1]))
            left, parts, held = left - held, parts - 1, 0
        held += count
    return [bound_in_json(ordered[first]) for first in firsts]


def bound_in_json(value: pa.Scalar) -> Any:
    """A bound as JSON has it: times as text."""
    kind = value.type
    if pa.types.is_timestamp(kind):
        return pa.scalar(value.value, pa.int64()).cast(pa.timestamp(kind.unit)).cast(pa.string()).as_py()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return value.as_py()
    return value.cast(pa.string()).as_py()
