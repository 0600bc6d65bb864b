import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest, sort_ranges, write_sorted
from beam_etl.io.data_files import working_folder
from beam_etl.pipelines.sort import run
from tests.tables import ask, odd_table, order_by

ROWS = 3000


def stored(folder: Path, table: pa.Table, files: int) -> Path:
    """The table in Parquet files of small row groups, in order."""
    folder.mkdir()
    rows = -(-table.num_rows // files)
    for number in range(files):
        pq.write_table(table.slice(number * rows, rows), folder / f"{number:02d}.parquet", row_group_size=200)
    return folder


def written(output: Path) -> list[pa.Table]:
    """The documents of each file, by the files' names."""
    names = sorted(os.listdir(output / "documents")) if (output / "documents").exists() else []
    return [pq.read_table(output / "documents" / name) for name in names]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs, blocks, merges and ranges of some kilobytes."""
    monkeypatch.setattr(sort_ranges, "RUN_BYTES", 60_000)
    monkeypatch.setattr(write_sorted, "PARTITION_BYTES", 100_000)
    monkeypatch.setattr(sort_ranges, "MERGE_BYTES", 10_000)
    monkeypatch.setattr(sort_ranges, "MIN_BLOCK_BYTES", 3_000)


CASES = [
    pytest.param("i", "last", 1, 2, id="one column", marks=pytest.mark.long),
    pytest.param("s:desc", "last", 3, 1, id="descending"),
    pytest.param("f,s:desc", "first", 2, 2, id="several", marks=pytest.mark.long),
    pytest.param("d:desc,b", "first", 11, 3, id="many files and workers"),
]


@pytest.mark.parametrize(("by", "nulls", "files", "workers"), CASES)
def test_files_by_name_are_duckdbs_order(
    by: str, nulls: str, files: int, workers: int, small: None, tmp_path: Path
) -> None:
    table = odd_table(ROWS)
    source = stored(tmp_path / "in", table, files)
    flags = [f"--input={source}", f"--output={tmp_path}/out", f"--by={by}", f"--nulls={nulls}"]
    assert run([*flags, f"--direct_num_workers={workers}"]) == 0
    found = written(tmp_path / "out")
    assert len(found) > 3
    rows = pa.concat_tables(found)
    expected = ask(f"SELECT k FROM t ORDER BY {order_by(by, nulls)}, k", t=table)
    assert rows["k"].to_pylist() == [row["k"] for row in expected]
    assert rows.schema.equals(table.schema)
    assert sorted(os.listdir(tmp_path / "out")) == ["_manifests", "documents"]


@pytest.mark.parametrize("rows", [0, pytest.param(1, marks=pytest.mark.long)])
def test_few_rows_are_sorted_too(rows: int, tmp_path: Path) -> None:
    source = stored(tmp_path / "in", odd_table(rows), 1)
    assert run([f"--input={source}", f"--output={tmp_path}/out", "--by=s"]) == 0
    assert sum(table.num_rows for table in written(tmp_path / "out")) == rows


def test_an_attempt_that_is_late_leaves_nothing_behind(tmp_path: Path) -> None:
    source = stored(tmp_path / "in", odd_table(5), 1)
    output = str(tmp_path / "out")
    assert run([f"--input={source}", f"--output={output}", "--by=s"]) == 0
    published = manifest.latest(output)
    assert published is not None
    assert working_folder(output, published.run, "runs") is None
    assert not os.path.exists(f"{output}/_staging")


def numbered(values: list[Any]) -> pa.Table:
    return pa.table({"v": values, "k": range(len(values)), "text": ["some text " * 10] * len(values)})


RECORDS = [
    pytest.param([7 * row % ROWS for row in range(ROWS)], "v", True, id="even"),
    pytest.param([row if row % 9 else None for row in range(ROWS)], "v", False, id="with nulls"),
    pytest.param(
        [row if row % 3 else 5 for row in range(ROWS)], "v", False, id="spread value", marks=pytest.mark.long
    ),
    pytest.param(list(range(ROWS)), "v:desc", False, id="descending", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("values", "by", "told"), RECORDS)
def test_the_manifest_tells_ranges_where_readers_may_go_by_them(
    values: list[Any], by: str, told: bool, small: None, tmp_path: Path
) -> None:
    source = stored(tmp_path / "in", numbered(values), 2)
    assert run([f"--input={source}", f"--output={tmp_path}/out", f"--by={by}"]) == 0
    found = manifest.latest(str(tmp_path / "out"))
    assert found is not None
    partitioning = found.partitioned("documents")
    assert (partitioning is not None) == told
    if partitioning is None:
        return
    bounds = partitioning.by[0].bounds
    assert bounds
    assert partitioning.order == ("v",)
    for file in found.table("documents"):
        number = int(file.path.split("part-")[1].split("-")[0])
        rows = pq.read_table(tmp_path / "out" / file.path)["v"].to_pylist()
        assert {sum(bound <= value for bound in bounds) for value in rows} == {number}
        assert rows == sorted(rows)


@pytest.mark.long
def test_bounds_do_not_depend_on_sharding(small: None, tmp_path: Path) -> None:
    source = stored(tmp_path / "in", numbered([7 * row % ROWS for row in range(ROWS)]), 4)
    told = []
    for workers in (1, 3):
        output = tmp_path / f"out{workers}"
        flags = [f"--input={source}", f"--output={output}", "--by=v", f"--direct_num_workers={workers}"]
        assert run(flags) == 0
        told.append(
            json.loads((output / "_manifests/000001.json").read_text())["tables"]["documents"]["partitioning"]
        )
    assert told[0] == told[1]


def test_what_can_not_be_ordered_by_is_told_before_the_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = stored(tmp_path / "in", pa.table({"l": [[1]], "v": [1]}), 1)
    for by, message in (("w", "no column 'w' to order by; there are l, v"), ("l", "has no order")):
        assert run([f"--input={source}", f"--output={tmp_path}/out", f"--by={by}"]) == 2
        assert message in capsys.readouterr().err
