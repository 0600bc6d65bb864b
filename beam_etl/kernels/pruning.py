"""What the name of a partition says of the rows in it, for conditions."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.partition_rows import bounds_of, time_bounds
from beam_etl.kernels.partitioning import HASH, RANGE, TIME, Level, Partitioning
from beam_etl.kernels.where import Fact, comparable_value


def partition_facts(
    partitioning: Partitioning, values: Sequence[str | None], types: Mapping[str, pa.DataType]
) -> dict[str, list[Fact]]:
    """What is known of the columns in one partition.

    Args:
      partitioning: of the table.
      values: of the partition, one a level; None for null.
      types: of the columns; of one that is absent nothing is known.
    """
    facts: dict[str, list[Fact]] = {}
    for level, value in zip(partitioning.by, values, strict=True):
        column = level.columns[0]
        if len(level.columns) == 1 and column in types:
            facts.setdefault(column, []).append(_fact(level, value, types[column]))
    return facts


def _fact(level: Level, value: str | None, kind: pa.DataType) -> Fact:
    if pa.types.is_dictionary(kind):
        return _fact(level, value, kind.value_type)
    if value is None:
        return Fact(has_values=False)
    if level.function == HASH:
        return _bucket(level, int(value))
    if level.function == RANGE:
        return _range(level, int(value), kind)
    if level.function == TIME:
        return _time(value, level.unit or "", kind)
    found = comparable_value(pa.scalar(value).cast(kind))
    return Fact(found, found, has_nulls=False)


def _bucket(level: Level, number: int) -> Fact:
    partitions = np.uint64(level.partitions or 1)

    def is_elsewhere(value: pa.Scalar) -> bool:
        return int(hash_values(pa.repeat(value, 1))[0] % partitions) != number

    return Fact(excludes=is_elsewhere)


def _range(level: Level, number: int, kind: pa.DataType) -> Fact:
    if pa.types.is_floating(kind):  # NaN lies in the last range, and is above no bound
        return Fact(has_nulls=False)
    bounds = bounds_of(level, kind)
    low = comparable_value(bounds[number - 1]) if number else None
    high = comparable_value(bounds[number]) if number < len(bounds) else None
    return Fact(low, high, has_nulls=False)


def _time(text: str, unit: str, kind: pa.DataType) -> Fact:
    ticks = "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit
    start, stop = time_bounds(text, unit, ticks)
    return Fact(start, stop - 1, has_nulls=False)
