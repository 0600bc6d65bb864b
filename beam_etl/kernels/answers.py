"""Answers about groups of rows, of their merged partial answers. See `aggregations.StatePlan`."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.aggregating import Integers, integers
from beam_etl.kernels.aggregations import (
    BIN,
    COUNT,
    DISTINCT,
    KIND,
    MAX,
    MEAN,
    MIN,
    PIECE,
    ROWS,
    SUM,
    Aggregation,
    StatePlan,
    part_of,
)
from beam_etl.kernels.exact_sums import WIDE, float_sums, whole_means, whole_sums
from beam_etl.kernels.log_buckets import bucket_values
from beam_etl.kernels.sorting import Key, Order, floats_of, key_rows, sorted_places


def finish_states(batch: pa.RecordBatch, plan: StatePlan) -> pa.RecordBatch:
    """The answers, a row a group, groups ascending, nulls last.

    Args:
      batch: all merged rows of some groups.
      plan: their columns.

    Returns:
      The columns `by`, and one for each aggregation: counts int64; sums of integers int64, or WIDE where one of them
      doesn't fit; sums of floats and means float64; sums of decimals decimal128, or decimal256 where one of them has
      over 38 digits; others of the column's type. What is asked of no value is null, but counts.
    """
    keys = [_ranks(batch.column(name)) if name in plan.by else batch.column(name) for name in plan.keys]
    order = Order(tuple(map(Key, plan.keys)), tie="")
    ordered = batch.take(pa.array(sorted_places(key_rows(pa.record_batch(keys, plan.keys), order), order)))
    kinds = ordered.column(KIND).to_numpy()
    heads = ordered.filter(pa.array(kinds == 0))
    numbers = np.cumsum(kinds == 0) - 1
    names = [*plan.by, *(one.name for one in plan.aggregations)]
    arrays = [heads.column(name) for name in plan.by]
    arrays += [_answer(one, heads, ordered, numbers, plan) for one in plan.aggregations]
    return pa.RecordBatch.from_arrays(arrays, names)


def _ranks(values: pa.Array) -> pa.Array:
    """Numbers that compare as the values do: a text of many rows is compared once."""
    encoded = values.dictionary_encode(null_encoding="encode")
    order = Order((Key("value"),))
    places = sorted_places(key_rows(pa.record_batch([encoded.dictionary], ["value"]), order), order)
    ranks = np.empty(len(places), np.int32)
    ranks[places] = np.arange(len(places), dtype=np.int32)
    return pa.array(ranks[encoded.indices.to_numpy()])


def _answer(
    one: Aggregation, heads: pa.RecordBatch, ordered: pa.RecordBatch, numbers: Integers, plan: StatePlan
) -> pa.Array:
    if one.column is None:
        return heads.column(ROWS)
    if one.function == COUNT:
        return heads.column(part_of("valid", one.column))
    if one.function in (MIN, MAX):
        return _restored(heads.column(part_of(one.function, one.column)), plan.kind_of(one.column))
    if one.function in (SUM, MEAN):
        return _sum(one, heads, ordered, numbers, plan)
    is_such = ordered.column(KIND).to_numpy() == plan.valued.index(one.column) + 1
    rows, of = ordered.filter(pa.array(is_such)), numbers[is_such]
    if one.function == DISTINCT:
        return pa.array(np.bincount(of, minlength=heads.num_rows).astype(np.int64))
    return _quantile(one, rows, of, heads.num_rows, plan)


def _sum(
    one: Aggregation, heads: pa.RecordBatch, ordered: pa.RecordBatch, numbers: Integers, plan: StatePlan
) -> pa.Array:
    column = str(one.column)
    valid = integers(heads.column(part_of("valid", column)))
    if column in plan.whole:
        make = whole_sums if one.function == SUM else whole_means
        return make(
            integers(heads.column(part_of("high", column))),
            integers(heads.column(part_of("low", column))),
            valid,
        )
    if column in plan.decimals:
        totals = heads.column(part_of("total", column))
        totals = pc.if_else(pa.array(valid > 0), totals, pa.scalar(None, totals.type))
        return _narrowed(totals) if one.function == SUM else _decimal_means(totals, valid)
    kind = len(plan.valued) + 1 + plan.floats.index(column)
    is_such = ordered.column(KIND).to_numpy() == kind
    rows = ordered.filter(pa.array(is_such))
    sums = float_sums(
        numbers[is_such].tolist(), rows.column(BIN).to_pylist(), rows.column(PIECE).to_pylist(), len(valid)
    )
    found = np.array(sums, np.float64)
    return pa.array(found if one.function == SUM else found / np.maximum(valid, 1), mask=valid == 0)


def _narrowed(totals: pa.Array) -> pa.Array:
    """Sums of decimals with 38 digits, where none has more."""
    try:
        return totals.cast(pa.decimal128(38, totals.type.scale))
    except pa.ArrowInvalid:
        return totals


def _decimal_means(totals: pa.Array, valid: Integers) -> pa.Array:
    pairs = zip(totals.to_pylist(), valid.tolist(), strict=True)
    return pa.array([None if total is None else float(total / count) for total, count in pairs], pa.float64())


def _quantile(one: Aggregation, rows: pa.RecordBatch, of: Integers, groups: int, plan: StatePlan) -> pa.Array:
    """The smallest value that the part of each group doesn't exceed."""
    assert one.part is not None
    below = np.concatenate([[0], np.cumsum(integers(rows.column(ROWS)))])
    starts, ends = (np.searchsorted(of, np.arange(groups), side) for side in ("left", "right"))
    inside = below[ends] - below[starts]
    ranks = np.maximum(1, -(-inside * one.part.numerator // one.part.denominator))
    places = np.searchsorted(below[1:], below[starts] + ranks, side="left")
    values = rows.column(part_of("value", str(one.column))).take(pa.array(places, mask=inside == 0))
    kind = plan.kind_of(str(one.column))
    return bucket_values(values, kind) if plan.approximate else _restored(values, kind)


def _restored(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """What `comparable` took."""
    if pa.types.is_null(kind):
        return pa.nulls(len(values))
    return (floats_of(values) if pa.types.is_floating(kind) else values).cast(kind)


def wide_columns(batch: pa.RecordBatch, plan: StatePlan) -> list[str]:
    """Names of sums that don't fit into int64, or into 38 digits."""
    return [
        one.name
        for one in plan.aggregations
        if one.function == SUM and batch.schema.field(one.name).type == wide_type(one.column, plan)
    ]


def wide_type(column: str | None, plan: StatePlan) -> pa.DataType | None:
    """Of the sums of a column, where one of them doesn't fit; None where all do, being no sums of whole numbers."""
    if column in plan.whole:
        return WIDE
    return plan.state.field(part_of("total", column)).type if column in plan.decimals else None


def widen_columns(batch: pa.RecordBatch, wide: list[str], plan: StatePlan) -> pa.RecordBatch:
    """The same answers with wide sums in the columns `wide`."""
    for one in plan.aggregations:
        kind = wide_type(one.column, plan)
        if one.name in wide and kind is not None:
            place = batch.schema.get_field_index(one.name)
            batch = batch.set_column(place, pa.field(one.name, kind), batch.column(place).cast(kind))
    return batch
