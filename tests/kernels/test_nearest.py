"""What Nearest leaves out is never among the first rows, and little is left in."""

import copy
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from beam_etl.kernels.nearest import Nearest, is_numbered
from beam_etl.kernels.sorting import Key, Order, first_rows
from beam_etl.kernels.where import Fact, comparable_value
from tests.tables import FLOATS

ROWS, BATCH = 3000, 250

drawn = np.random.default_rng(4)
COLUMNS = {
    "integers": pa.array(drawn.integers(-1000, 1000, ROWS), pa.int32()),
    "integers and nulls": pa.array(drawn.integers(0, 9, ROWS), mask=drawn.random(ROWS) < 0.3),
    "ends of int64": pa.array(drawn.choice([-(1 << 63), (1 << 63) - 1, 0], ROWS)),
    "nulls alone": pa.nulls(ROWS, pa.int64()),
    "floats": pa.array([FLOATS[at] for at in drawn.integers(0, len(FLOATS), ROWS)], pa.float64()),
    "dates": pa.array(drawn.integers(0, 9000, ROWS), pa.int32()).cast(pa.date32()),
    "times": pa.array(np.arange(ROWS) * 7919 % 3001).cast(pa.timestamp("us", "UTC")),
    "ascending": pa.array(np.arange(ROWS)),
    "descending": pa.array(np.arange(ROWS)[::-1]),
}


def facts_of(values: pa.Array) -> Fact:
    """As footers tell them: of floats without NaN."""
    if pa.types.is_floating(values.type):
        values = values.filter(pc.fill_null(pc.invert(pc.is_nan(values)), True))
    limits = pc.min_max(values)
    return Fact(
        *(comparable_value(limits[name]) if limits[name].is_valid else None for name in ("min", "max")),
        has_values=values.null_count < len(values),
        has_nulls=values.null_count > 0,
    )


@pytest.mark.parametrize("nulls", ["last", "first"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("k", [1, 40, 2 * ROWS])
@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
def test_the_first_rows_are_among_those_that_are_left(
    values: pa.Array, k: int, descending: bool, nulls: str
) -> None:
    order = Order((Key("v", descending),), nulls)
    table = pa.table({"v": values, "address": np.arange(ROWS, dtype=np.uint64)})
    nearest = Nearest(order, k)
    left = [
        batch.take(pa.array(nearest.places(batch.column("v"))))
        for batch in table.to_batches(max_chunksize=BATCH)
        if nearest.can_hold({"v": [facts_of(batch.column("v"))]}, values.type)
    ]
    expected = first_rows(table.to_batches()[0], order, k).column("address")
    assert first_rows(pa.concat_batches(left), order, k).column("address").equals(expected)


def test_of_an_ascending_column_nothing_behind_the_first_batch_is_looked_at() -> None:
    nearest = Nearest(Order((Key("v"),)), 40)
    batches = pa.table({"v": COLUMNS["ascending"]}).to_batches(max_chunksize=BATCH)
    assert len(nearest.places(batches[0].column(0))) == 40
    assert not any(nearest.can_hold({"v": [facts_of(batch.column(0))]}, pa.int64()) for batch in batches[1:])
    assert all(len(nearest.places(batch.column(0))) == 0 for batch in batches[1:])


def test_no_footer_tells_of_nan() -> None:
    nearest = Nearest(Order((Key("v", descending=True),)), 2)
    nearest.places(pa.array([5.0, 6.0, 7.0]))
    assert nearest.can_hold({"v": [Fact(1.0, 2.0)]}, pa.float64())
    assert nearest.places(pa.array([1.0, math.nan])).tolist() == [1]


def test_where_nothing_is_told_everything_can_be() -> None:
    nearest = Nearest(Order((Key("v"),)), 1)
    nearest.places(pa.array([5]))
    assert nearest.can_hold({}, pa.int64())
    assert nearest.can_hold({"v": [Fact()]}, pa.int64())


def test_a_copy_learns_for_itself_until_it_is_taken_over() -> None:
    known = Nearest(Order((Key("v"),)), 1)
    other = copy.copy(known)
    other.places(pa.array([3, 1]))
    assert known.places(pa.array([8])).tolist() == [0]
    known.take_over(other)
    assert known.places(pa.array([0, 1, 2])).tolist() == [0, 1]


@pytest.mark.parametrize("kind", [pa.string(), pa.uint64(), pa.decimal128(5, 2), pa.bool_()], ids=str)
def test_other_kinds_are_looked_at_row_by_row(kind: pa.DataType) -> None:
    assert not is_numbered(kind)
