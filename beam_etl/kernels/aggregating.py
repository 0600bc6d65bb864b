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
    KIND,
    MAX,
    MEAN,
    MIN,
    PIECE,
    ROWS,
    SUM,
    StatePlan,
    part_of,
    plain_group,
)
from beam_etl.kernels.coded_groups import MANY_ROWS, group_codes
from beam_etl.kernels.exact_sums import (
    binned,
    carried,
    halves,
    sums_fit,
)
from beam_etl.kernels.grouping import estimate_groups
from beam_etl.kernels.sorting import comparable

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
    if not pa.types.is_dictionary(values.type):
        return values
    is_chunked = isinstance(values, pa.ChunkedArray)
    return values.cast(values.type.value_type) if is_chunked else values.dictionary_decode()


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
    found = _coded(table, sizes, plan.by, wanted, rows) or _grouped(table, plan.by, wanted)
    for column in counted:
        found.setdefault(part_of("valid", column), found[ROWS])
    for column in plan.whole:
        high = found.get(part_of("high", column))
        pair = carried(
            integers(high) if high is not None else np.int64(0), integers(found[part_of("low", column)])
        )
        found |= {part_of("high", column): pa.array(pair[0]), part_of("low", column): pa.array(pair[1])}
    return _state(found, 0, plan)


def _coded(
    table: Mapping[str, Column], sizes: Mapping[str, int], by: Sequence[str], wanted: Wanted, rows: int
) -> dict[str, pa.Array] | None:
    """What `_grouped` gives, where many rows are grouped by one column of few codes, and by nothing else."""
    if len(by) != 1 or by[0] not in sizes:
        return None
    name, size = by[0], sizes[by[0]]
    if rows < max(MANY_ROWS, size):
        return None
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
        high, low = carried(integers(found[part_of("high", column)]), integers(found[part_of("low", column)]))
        found |= {part_of("high", column): pa.array(high), part_of("low", column): pa.array(low)}
    merged = pa.RecordBatch.from_arrays(
        [found[field.name].cast(field.type) for field in plan.state], schema=plan.state
    )
    if not plan.floats:
        return merged
    is_piece = pc.is_valid(merged.column(BIN))
    return merged.filter(pc.or_(pc.invert(is_piece), pc.not_equal(merged.column(PIECE), 0)))


def integers(values: pa.Array) -> Integers:
    """Integers, nulls as 0: a sum of nothing is null."""
    return pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)


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
