from datetime import date

import pyarrow as pa
import pytest

from beam_etl.kernels.sorting import (
    Key,
    Order,
    first_rows,
    floats_of,
    ordered_floats,
    parse_order,
    sort_batch,
)
from beam_etl.testing import check_merge
from tests.tables import FLOATS, ORDERS, ask, odd_table, order_by

ROWS = 2000


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return odd_table(ROWS)


@pytest.mark.parametrize("nulls", ["last", "first"])
@pytest.mark.parametrize("by", ORDERS)
def test_rows_come_in_duckdbs_order_and_ties_stay(by: str, nulls: str, table: pa.Table) -> None:
    found = sort_batch(table.to_batches()[0], parse_order(by.split(","), nulls))
    expected = ask(f"SELECT k FROM t ORDER BY {order_by(by, nulls)}, k", t=table)
    assert found.column("k").to_pylist() == [row["k"] for row in expected]


def test_ties_go_by_the_address_whatever_the_batch(table: pa.Table) -> None:
    numbered = table.to_batches()[0].append_column("address", table["k"].cast(pa.uint64()).combine_chunks())
    shuffled = numbered.take(pa.array(range(ROWS - 1, -1, -1)))
    order = parse_order(["i", "s:desc"])
    assert sort_batch(shuffled, order).column("k").equals(sort_batch(numbered, order).column("k"))


def test_dictionaries_are_ordered_by_their_values() -> None:
    batch = pa.record_batch({"v": pa.array(["b", "a", None, "b", "ä"]).dictionary_encode()})
    assert sort_batch(batch, Order((Key("v", descending=True),))).column("v").to_pylist() == [
        "ä",
        "b",
        "b",
        "a",
        None,
    ]


def test_floats_come_back_from_their_order() -> None:
    values = pa.array([value for value in FLOATS if value != 0.0], pa.float64(), from_pandas=False)
    assert repr(floats_of(ordered_floats(values)).to_pylist()) == repr(values.to_pylist())


def test_the_first_rows_are_those_of_the_sorted_table_however_they_are_merged(table: pa.Table) -> None:
    numbered = table.append_column("address", table["k"].cast(pa.uint64()))
    order = parse_order(["i:desc", "f"])
    parts = numbered.to_batches(max_chunksize=300)
    check_merge(lambda batch: first_rows(batch, order, 50), parts)
    expected = ask(f"SELECT k FROM t ORDER BY {order_by('i:desc,f', 'last')}, k LIMIT 50", t=table)
    found = first_rows(numbered.combine_chunks().to_batches()[0], order, 50)
    assert found.column("k").to_pylist() == [row["k"] for row in expected]


@pytest.mark.parametrize("nulls", ["last", "first"])
@pytest.mark.parametrize("descending", [False, True], ids=["asc", "desc"])
@pytest.mark.parametrize("name", ["number", "day"])
def test_ties_at_the_last_of_the_first_rows_go_by_the_address(
    name: str, descending: bool, nulls: str
) -> None:
    rows = [
        {"number": n * 7919 % 97, "day": date(2026, 1, 1 + n % 5), "address": n * 31 % ROWS}
        for n in range(ROWS)
    ]
    batch = pa.RecordBatch.from_pylist(rows)
    expected = sorted(rows, key=lambda row: row["address"])
    expected.sort(key=lambda row: row[name], reverse=descending)
    found = first_rows(batch, Order((Key(name, descending),), nulls), 50)
    assert found.column("address").to_pylist() == [row["address"] for row in expected[:50]]


WRONG = {
    "no such column": (["nothing"], KeyError, "no column 'nothing' to order by; there are v, w"),
    "lists": (["v"], TypeError, "column 'v' is list<item: int64>, which has no order"),
}


@pytest.mark.parametrize(("by", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_has_no_order_is_told(by: list[str], error: type[Exception], message: str) -> None:
    batch = pa.record_batch({"v": [[1], [2]], "w": [1, 2]})
    with pytest.raises(error, match=message):
        sort_batch(batch, parse_order(by))


@pytest.mark.parametrize("by", [[], ["a", "a:desc"]], ids=["none", "twice"])
def test_an_order_has_columns_and_each_once(by: list[str]) -> None:
    with pytest.raises(ValueError, match="at least one column, and each once"):
        parse_order(by)
