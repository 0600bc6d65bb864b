import os
from pathlib import Path

import pyarrow as pa
import pytest

from beam_etl.io.sorted_runs import sort_external
from beam_etl.kernels.sorting import parse_order
from tests.tables import ORDERS, ask, odd_table, order_by


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return odd_table(4000)


@pytest.mark.parametrize("memory_bytes", [20_000, 1 << 30], ids=["runs", "memory"])
@pytest.mark.parametrize("by", ORDERS)
def test_rows_come_in_order_however_much_memory_there_is(
    by: str, memory_bytes: int, table: pa.Table, tmp_path: Path
) -> None:
    batches = table.to_batches(max_chunksize=70)
    found = pa.Table.from_batches(
        list(sort_external(batches, parse_order(by.split(","), "first"), str(tmp_path), memory_bytes))
    )
    expected = ask(f"SELECT k FROM t ORDER BY {order_by(by, 'first')}, k", t=table)
    assert found["k"].to_pylist() == [row["k"] for row in expected]
    assert found.schema == table.schema
    assert os.listdir(tmp_path) == []


def test_columns_of_all_kinds_go_through_files(tmp_path: Path) -> None:
    rows = 3000
    table = pa.table(
        {
            "n": [(7 * row) % rows for row in range(rows)],
            "dictionary": pa.array([f"v{row % 50}" for row in range(rows)]).dictionary_encode(),
            "list": [[row, row + 1] for row in range(rows)],
            "struct": [{"a": row, "b": str(row)} for row in range(rows)],
            "null": pa.nulls(rows),
        }
    )
    found = pa.Table.from_batches(
        list(sort_external(table.to_batches(max_chunksize=100), parse_order(["n"]), str(tmp_path), 30_000))
    )
    assert found.to_pylist() == table.sort_by("n").to_pylist()


def test_files_go_when_nobody_reads_on(table: pa.Table, tmp_path: Path) -> None:
    rows = sort_external(table.to_batches(max_chunksize=70), parse_order(["s"]), str(tmp_path), 20_000)
    next(rows)
    assert os.listdir(tmp_path) != []
    rows.close()  # type: ignore[attr-defined]
    assert os.listdir(tmp_path) == []


def test_no_rows_are_sorted_too() -> None:
    assert list(sort_external([], parse_order(["s"]))) == []


@pytest.mark.parametrize("rows", [1 << 15, 1 << 17])
def test_what_arrow_holds_does_not_grow_with_the_input(rows: int, tmp_path: Path) -> None:
    bound, block = 1 << 20, "x" * 200

    def batches() -> object:
        for begin in range(0, rows, 1000):
            numbers = [(row * 7919) % rows for row in range(begin, min(begin + 1000, rows))]
            yield pa.record_batch({"n": numbers, "t": [block] * len(numbers)})

    before, most = pa.total_allocated_bytes(), 0
    for _ in sort_external(batches(), parse_order(["n"]), str(tmp_path), bound):  # type: ignore[arg-type]
        most = max(most, pa.total_allocated_bytes() - before)
    runs = rows * 208 // bound
    assert most < 5 * bound + runs * (300 << 10)
