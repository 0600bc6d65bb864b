from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from beam_etl.kernels.range_bounds import bounds_in_json, range_bounds, row_bytes, sample_keys
from beam_etl.kernels.sorting import TIE, Order, key_rows, parse_order, range_numbers

ROWS, PARTITIONS = 40_000, 8


def documents(skew: float) -> pa.RecordBatch:
    """Rows of which a part has one value in the midst of the others."""
    chosen = np.random.default_rng(5)
    values = np.where(chosen.random(ROWS) < skew, 500, chosen.integers(0, 1000, ROWS))
    return pa.record_batch({"v": values, "address": np.arange(ROWS, dtype=np.uint64)})


def sampled(batch: pa.RecordBatch, order: Order, rows: int, part: float = 0.2) -> list[pa.RecordBatch]:
    """The samples of batches of so many rows."""
    cut = [batch.slice(begin, rows) for begin in range(0, batch.num_rows, rows)]
    return [sample_keys(key_rows(some, order), row_bytes(some), part) for some in cut]


@pytest.mark.parametrize("by", ["v", "v:desc"])
@pytest.mark.parametrize("skew", [0.0, 0.3, 1.0], ids=["even", "hot value", "one value"])
def test_ranges_are_alike_in_size_also_where_rows_share_a_value(skew: float, by: str) -> None:
    batch, order = documents(skew), parse_order([by])
    bounds = range_bounds(sampled(batch, order, 4096), order, PARTITIONS)
    sizes = np.bincount(range_numbers(key_rows(batch, order), bounds, order), minlength=PARTITIONS)
    assert len(sizes) == PARTITIONS
    assert sizes.max() <= 1.5 * sizes.mean()
    assert sizes.max() <= 1.5 * sizes.min()
    assert (TIE in bounds.schema.names) == (skew > 0)  # equal values stay together where they can


@pytest.mark.parametrize("rows", [37, ROWS])
def test_bounds_do_not_depend_on_batches(rows: int) -> None:
    batch, order = documents(0.3), parse_order(["v"])
    first = range_bounds(sampled(batch, order, 4096), order, PARTITIONS)
    assert range_bounds(sampled(batch, order, rows)[::-1], order, PARTITIONS).equals(first)


def test_large_rows_weigh_more() -> None:
    texts = ["x" * 10_000] * 100 + ["x"] * 9900
    batch = pa.record_batch({"v": range(10_000), "t": texts, "address": pa.array(range(10_000), pa.uint64())})
    order = parse_order(["v"])
    bounds = range_bounds(sampled(batch, order, 1000, part=1.0), order, 2)
    assert bounds.column(0).to_pylist()[0] < 100


BOUNDS = {
    "numbers": (pa.array([1, 2, 3]), [2, 3]),
    "doubles": (pa.array([-1.5, 0.25, 3.0]), [0.25, 3.0]),
    "infinite": (pa.array([-1.5, 0.25, float("inf")]), None),
    "texts": (pa.array(["a", "b", "ü"]), ["b", "ü"]),
    "bytes": (pa.array([b"a", b"b", b"c"]), None),
    "dates": (
        pa.array([date(2026, 1, day) for day in (1, 2, 3)]),
        ["2026-01-02", "2026-01-03"],
    ),
}


@pytest.mark.parametrize(("values", "expected"), BOUNDS.values(), ids=BOUNDS)
def test_bounds_are_told_as_json_has_them(values: pa.Array, expected: object) -> None:
    batch = pa.record_batch({"v": values, "address": pa.array(range(3), pa.uint64())})
    order = parse_order(["v"])
    bounds = range_bounds(sampled(batch, order, 3, part=1.0), order, 3)
    assert bounds_in_json(bounds, str(values.type)) == expected


def test_no_row_at_all_has_no_bounds() -> None:
    batch, order = documents(0).slice(0, 0), parse_order(["v"])
    none = sample_keys(key_rows(batch, order), row_bytes(batch), 1.0)
    assert range_bounds([none], order, 5).num_rows == 0
