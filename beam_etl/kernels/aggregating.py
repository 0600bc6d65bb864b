"""Partial answers about groups of rows: made of rows, merged, and finished. See `aggregations.StatePlan`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

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
    plain_group,
)
from beam_etl.kernels.coded_groups import MANY_ROWS, group_codes
from beam_etl.kernels.exact_sums import (
    binned,
    carried,
    float_sums,
    halves,
    sums_fit,
    whole_means,
    whole_sums,
)
from beam_etl.kernels.grouping import estimate_groups
from beam_etl.kernels.log_buckets import bucket_values
from beam_etl.kernels.sorting import Key, Order, comparable, floats_of, key_rows, sorted_places

Integers = npt.NDArray[np.int64]
Column: TypeAlias = pa.Array | pa.ChunkedArray
Columns: TypeAlias = Mapping[str, pa.Array]
Wanted: TypeAlias = Mapping[str, tuple[str | list[str], str]]
"""By the name of an answer: a column, or none, and what is asked of it."""


def summarize_rows(rows: pa.RecordBatch | pa.Table, plan: StatePlan) -> pa.RecordBatch:
    """Partial answers of some rows: `plan.state`.

    Of a group column that is a dictionary only the codes are looked at, and of a table what can be is read chunk by
    chunk: putting narrow rows into one batch takes as long as adding them up.
    """
    looked_up_again = bool(plan.valued or plan.floats)
    at_hand = _one_array if looked_up_again else _at_hand
    columns = {name: _plain(at_hand(rows.column(name))) for name in plan.answered}
    groups: dict[str, Column] = {}
    texts: dict[str, pa.Array] = {}
    for name in plan.by:
        groups[name] = values = at_hand(rows.column(name))
        if not pa.types.is_dictionary(values.type):
            groups[name] = values = plain_group(values)
            if looked_up_again:
                values = values.dictionary_encode(null_encoding="encode")
        if pa.types.is_dictionary(values.type):
            groups[name], texts[name] = _codes(values)
    sizes = {name: len(values) for name, values in texts.items()}
    parts = [_totals(groups, sizes, columns, plan, rows.num_rows)]
    for kind, column in enumerate(plan.valued, start=1):
        parts.append(_values(groups, columns[column], column, kind, plan))
    for kind, column in enumerate(plan.floats, start=len(plan.valued) + 1):
        parts += _pieces(groups, columns[column], kind, plan)
    states = {name: pa.concat_arrays([part[name] for part in parts]) for name in plan.state.names}
    states |= {name: values.take(states[name]) for name, values in texts.items()}
    return pa.RecordBatch.from_arrays(list(states.values()), schema=plan.state)


def _at_hand(values: Column) -> Column:
    """A column in one array, but for those of kinds that are only compared and added up."""
    if not isinstance(values, pa.ChunkedArray):
        return values
    kind = values.type
    checks = (pa.types.is_integer, pa.types.is_dictionary, pa.types.is_string, pa.types.is_temporal)
    return values if any(check(kind) for check in checks) else _one_array(values)


def _one_array(values: Column) -> pa.Array:
    """A column without chunks."""
    if not isinstance(values, pa.ChunkedArray):
        return values
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()


def _codes(values: Column) -> tuple[Column, pa.Array]:
    """The codes of a dictionary's column, and what they stand for."""
    if not isinstance(values, pa.ChunkedArray):
        return values.indices, plain_group(values.dictionary)
    chunks = values.unify_dictionaries().chunks
    codes = pa.chunked_array([chunk.indices for chunk in chunks], values.type.index_type)
    return codes, plain_group(chunks[0].dictionary if chunks else pa.array([], values.type.value_type))


def _plain(values: Column) -> Column:
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _totals(
    groups: Mapping[str, Column],
    sizes: Mapping[str, int],
    columns: Mapping[str, Column],
    plan: StatePlan,
    rows: int,
) -> Columns:
    """A row of kind 0 for each group. `sizes` tells how many codes there are where groups are codes."""
    table = dict(groups)
    wanted: dict[str, tuple[str | list[str], str]] = {ROWS: ([], "count_all")}
    if not groups:
        table[ROWS] = pa.nulls(rows)  # else the table had no rows
    counted = plan.asked(COUNT, SUM, MEAN)
    for column in (name for name in counted if columns[name].null_count):
        table[part_of("valid", column)] = columns[column]
        wanted[part_of("valid", column)] = (part_of("valid", column), "count")
    for column in plan.whole:
        for name, values in _whole(columns[column], column).items():
            table[name] = values
            wanted[name] = (name, "sum")
    for column in plan.decimals:
        name = part_of("total", column)
        table[name] = columns[column].cast(plan.state.field(name).type)
        wanted[name] = (name, "sum")
    for function in (MIN, MAX):
        for column in plan.asked(function):
            name = part_of(function, column)
            table[name] = comparable(columns[column], column)
            wanted[name] = (name, function)
    found = _coded(table, sizes, wanted, rows) or _grouped(table, plan.by, wanted)
    for column in counted:
        found.setdefault(part_of("valid", column), found[ROWS])
    for column in plan.whole:
        high = found.get(part_of("high", column))
        pair = carried(
            _integers(high) if high is not None else np.int64(0), _integers(found[part_of("low", column)])
        )
        found |= {part_of("high", column): pa.array(pair[0]), part_of("low", column): pa.array(pair[1])}
    return _state(found, 0, plan)


def _coded(
    table: Mapping[str, Column], sizes: Mapping[str, int], wanted: Wanted, rows: int
) -> dict[str, pa.Array] | None:
    """What `_grouped` gives, where many rows are grouped by one column of few codes."""
    if len(sizes) != 1 or not rows >= max(MANY_ROWS, *sizes.values()):
        return None
    ((name, size),) = sizes.items()
    functions = {asked: function for asked, (_, function) in wanted.items()}
    found = group_codes(table[name], size, table, functions)
    return found and {name: found[0], **found[1]}


def _whole(values: Column, column: str) -> dict[str, Column]:
    """What is added up of integers: themselves, or halves where the sum might not fit."""
    numbers = values.cast(pa.uint8()) if pa.types.is_boolean(values.type) else values
    if sums_fit(numbers):
        return {part_of("low", column): numbers.cast(pa.int64())}
    high, low = halves(_one_array(numbers))
    return {part_of("high", column): pa.array(high), part_of("low", column): pa.array(low)}


def _values(
    groups: Mapping[str, pa.Array], values: pa.Array, column: str, kind: int, plan: StatePlan
) -> Columns:
    """A row for each distinct value of a group."""
    name = part_of("value", column)
    table = pa.RecordBatch.from_arrays(
        [*groups.values(), plan.value_of(values, column)], names=[*groups, name]
    )
    valid = table.filter(table.column(name).is_valid())
    columns = dict(zip(valid.schema.names, valid.columns, strict=True))
    return _state(_grouped(columns, (*plan.by, name), {ROWS: ([], "count_all")}), kind, plan)


def _pieces(
    groups: Mapping[str, pa.Array], values: pa.Array, kind: int, plan: StatePlan
) -> Iterator[Columns]:
    """A row for each bin of a group's sum of doubles."""
    doubles = pc.fill_null(values.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False)
    for begin, end, bins in binned(doubles):
        if not bins:
            continue
        table = {name: group.slice(begin, end - begin) for name, group in groups.items()}
        table |= {part_of(PIECE, str(number)): pa.array(pieces) for number, pieces in bins.items()}
        names = {number: part_of(PIECE, str(number)) for number in bins}
        found = _grouped(table, plan.by, {name: (name, "sum") for name in names.values()})
        for number, name in names.items():
            kept = pc.not_equal(found[name], 0)
            columns = {group: found[group].filter(kept) for group in plan.by}
            columns[PIECE] = found[name].filter(kept)
            columns[BIN] = pa.repeat(pa.scalar(number, pa.int32()), len(columns[PIECE]))
            yield _state(columns, kind, plan)


def _grouped(table: Mapping[str, Column], keys: Iterable[str], wanted: Wanted) -> dict[str, pa.Array]:
    """Arrow's group_by, with names of our own."""
    grouped = pa.table(dict(table)).group_by(list(keys), use_threads=False)
    found = grouped.aggregate(list(wanted.values())).combine_chunks()
    arrays = [
        column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column for column in found.columns
    ]
    named = dict(zip(found.column_names, arrays, strict=True))
    answers = {
        name: named["count_all" if function == "count_all" else f"{column}_{function}"]
        for name, (column, function) in wanted.items()
    }
    return {**{key: named[key] for key in keys}, **answers}


def _state(found: Columns, kind: int, plan: StatePlan) -> Columns:
    """Rows of one kind with all columns of a state: sums that don't concern it are 0, keys and limits null.

    Group columns are as they are given.
    """
    rows = len(next(iter(found.values())))
    columns = {}
    for field in plan.state:
        values = found.get(field.name)
        if field.name == KIND:
            values = pa.repeat(pa.scalar(kind, pa.int16()), rows)
        elif values is None and field.name in plan.sums:
            values = pa.repeat(pa.scalar(0).cast(field.type), rows)
        elif values is None:
            values = pa.nulls(rows, field.type)
        elif field.name not in plan.by:
            filled = pc.fill_null(values, 0) if field.name in plan.sums and values.null_count else values
            values = filled.cast(field.type)
        columns[field.name] = values
    return columns


def no_rows(plan: StatePlan) -> pa.RecordBatch:
    """The partial answer about no rows, where everything is one group."""
    columns = _state({ROWS: pa.array([0], pa.int64())}, 0, plan)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=plan.state)


def merge_states(batch: pa.RecordBatch, plan: StatePlan) -> pa.RecordBatch:
    """A merge kernel over `plan.state`."""
    table = dict(zip(batch.schema.names, batch.columns, strict=True))
    encoded = {name: table[name].dictionary_encode(null_encoding="encode") for name in plan.by}
    table |= {name: column.indices for name, column in encoded.items()}
    wanted: dict[str, tuple[str | list[str], str]] = {name: (name, "sum") for name in plan.sums}
    for function in (MIN, MAX):
        limits = (part_of(function, column) for column in plan.asked(function))
        wanted |= {name: (name, function) for name in limits}
    found = _grouped(table, plan.keys, wanted)
    found |= {name: column.dictionary.take(found[name]) for name, column in encoded.items()}
    for column in plan.whole:
        high, low = carried(
            _integers(found[part_of("high", column)]), _integers(found[part_of("low", column)])
        )
        found |= {part_of("high", column): pa.array(high), part_of("low", column): pa.array(low)}
    merged = pa.RecordBatch.from_arrays(
        [found[field.name].cast(field.type) for field in plan.state], schema=plan.state
    )
    if not plan.floats:
        return merged
    is_piece = pc.is_valid(merged.column(BIN))
    return merged.filter(pc.or_(pc.invert(is_piece), pc.not_equal(merged.column(PIECE), 0)))


def finish_states(batch: pa.RecordBatch, plan: StatePlan) -> pa.RecordBatch:
    """The answers, a row a group, groups ascending, nulls last.

    Args:
      batch: all merged rows of some groups.
      plan: their columns.

    Returns:
      The columns `by`, and one for each aggregation: counts int64; sums of integers int64, or WIDE where one of them
      doesn't fit; sums of floats and means float64; sums of decimals decimal128; others of the column's type. What is
      asked of no value is null, but counts.
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
    valid = _integers(heads.column(part_of("valid", column)))
    if column in plan.whole:
        make = whole_sums if one.function == SUM else whole_means
        return make(
            _integers(heads.column(part_of("high", column))),
            _integers(heads.column(part_of("low", column))),
            valid,
        )
    if column in plan.decimals:
        totals = heads.column(part_of("total", column))
        totals = pc.if_else(pa.array(valid > 0), totals, pa.scalar(None, totals.type))
        return totals if one.function == SUM else _decimal_means(totals, valid)
    kind = len(plan.valued) + 1 + plan.floats.index(column)
    is_such = ordered.column(KIND).to_numpy() == kind
    rows = ordered.filter(pa.array(is_such))
    sums = float_sums(
        numbers[is_such].tolist(), rows.column(BIN).to_pylist(), rows.column(PIECE).to_pylist(), len(valid)
    )
    found = np.array(sums, np.float64)
    return pa.array(found if one.function == SUM else found / np.maximum(valid, 1), mask=valid == 0)


def _decimal_means(totals: pa.Array, valid: Integers) -> pa.Array:
    pairs = zip(totals.to_pylist(), valid.tolist(), strict=True)
    return pa.array([None if total is None else float(total / count) for total, count in pairs], pa.float64())


def _quantile(one: Aggregation, rows: pa.RecordBatch, of: Integers, groups: int, plan: StatePlan) -> pa.Array:
    """The smallest value that the part of each group doesn't exceed."""
    assert one.part is not None
    below = np.concatenate([[0], np.cumsum(_integers(rows.column(ROWS)))])
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


def _integers(values: pa.Array) -> Integers:
    """Integers, nulls as 0: a sum of nothing is null."""
    return pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)


def wide_columns(batch: pa.RecordBatch, plan: StatePlan) -> list[str]:
    """Names of sums of integers that don't fit into int64."""
    sums = [one.name for one in plan.aggregations if one.function == SUM and one.column in plan.whole]
    return [name for name in sums if pa.types.is_decimal(batch.schema.field(name).type)]


def expected_crossing(sample: Sequence[pa.RecordBatch], plan: StatePlan, scale: float, bundles: int) -> int:
    """Bytes of partial answers that cross, estimated.

    Args:
      sample: batches of rows, each from another place of the input.
      plan: of the answers.
      scale: the input's rows in samples.
      bundles: how many bundles the engine makes of the input; each sends its groups once.

    Half of the sample is the first half of each batch: see `token_totals.expected_crossing`.
    """
    if not sample:
        return 0
    half_of_it = [batch.slice(0, (batch.num_rows + 1) // 2) for batch in sample]
    half, whole = (
        merge_states(pa.concat_batches([summarize_rows(batch, plan) for batch in part]), plan)
        for part in (half_of_it, sample)
    )
    rows = estimate_groups(half.num_rows, whole.num_rows, scale / bundles)
    return round(whole.nbytes / max(1, whole.num_rows) * rows * bundles)
