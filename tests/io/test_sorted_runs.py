"""Runs in files, merged: the rows in order, of all kinds, in memory that doesn't grow with them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from beam_etl.io.sorted_runs import RunFiles, write_run
from beam_etl.kernels.merging import merge_blocks
from beam_etl.kernels.sorting import Order, parse_order, sort_batch
from tests.tables import ORDERS, ask, odd_table, order_by

BLOCK_BYTES = 4_000


def through_files(
    runs: Iterable[pa.RecordBatch],
    order: Order,
    folder: Path,
    memory_bytes: int,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[pa.RecordBatch]:
    """The rows of all runs in order, each run sorted and written by itself; ties as they come."""
    firsts, places, done = [], [], 0
    for number, run in enumerate(runs):
        addresses = np.arange(done, done + run.num_rows, dtype=np.uint64)
        done += run.num_rows
        rows = sort_batch(run.append_column("address", pa.array(addresses)), order)
        path = str(folder / f"{number}.arrow")
        keys, _ = write_run(path, rows, order, block_bytes)
        firsts.append(keys)
        places += [(path, block) for block in range(keys.num_rows)]
    files = RunFiles()
    load = lambda place: files.read(*places[place])  # noqa: E731
    for merged in merge_blocks(pa.concat_batches(firsts), load, order, memory_bytes):
        yield merged.drop_columns(["address"])


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return odd_table(4000)


@pytest.mark.parametrize("by", ORDERS)
def test_rows_come_in_order(by: str, table: pa.Table, tmp_path: Path) -> None:
    order = parse_order(by.split(","), "first")
    found = pa.Table.from_batches(
        list(through_files(table.to_batches(max_chunksize=170), order, tmp_path, 20_000))
    )
    expected = ask(f"SELECT k FROM t ORDER BY {order_by(by, 'first')}, k", t=table)
    assert found["k"].to_pylist() == [row["k"] for row in expected]
    assert found.schema == table.schema


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
    runs = table.to_batches(max_chunksize=100)
    found = pa.Table.from_batches(list(through_files(runs, parse_order(["n"]), tmp_path, 30_000)))
    assert found.to_pylist() == table.sort_by("n").to_pylist()


@pytest.mark.parametrize("rows", [1 << 15, 1 << 17])
def test_what_arrow_holds_does_not_grow_with_the_input(rows: int, tmp_path: Path) -> None:
    bound, block, text, run_rows = 1 << 20, 64 << 10, "x" * 200, 1 << 12

    def runs() -> Iterator[pa.RecordBatch]:
        for begin in range(0, rows, run_rows):
            numbers = [(row * 7919) % rows for row in range(begin, begin + run_rows)]
            yield pa.record_batch({"n": numbers, "t": [text] * len(numbers)})

    before, most = pa.total_allocated_bytes(), 0
    for _ in through_files(runs(), parse_order(["n"]), tmp_path, bound, block):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 5 * bound + rows // run_rows * 2 * block
