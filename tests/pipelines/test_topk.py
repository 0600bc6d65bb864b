import math
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.pipelines.topk import run
from tests.pipelines.test_sort import stored, written
from tests.tables import ask, odd_table, order_by

ROWS = 3000

CASES = [
    pytest.param("i:desc", "last", 40, 3, 2, id="ties"),
    pytest.param("s,f:desc", "first", 700, 2, 1, id="several", marks=pytest.mark.long),
    pytest.param("d", "last", 2 * ROWS, 1, 2, id="all and more", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("by", "nulls", "k", "files", "workers"), CASES)
def test_documents_are_those_of_duckdbs_limit(
    by: str, nulls: str, k: int, files: int, workers: int, tmp_path: Path
) -> None:
    table = odd_table(ROWS)
    source = stored(tmp_path / "in", table, files)
    flags = [f"--input={source}", f"--output={tmp_path}/out", f"--by={by}", f"--nulls={nulls}", f"--k={k}"]
    assert run([*flags, f"--direct_num_workers={workers}"]) == 0
    (rows,) = written(tmp_path / "out")
    expected = ask(f"SELECT k FROM t ORDER BY {order_by(by, nulls)}, k LIMIT {k}", t=table)
    places = [row["k"] for row in expected]
    assert repr(rows.to_pylist()) == repr(table.take(places).to_pylist())


def numbered(kind: str) -> pa.Table:
    """Rows in the order of `v` or nearly so, against it, or in none; nulls and NaN among them."""
    chosen = random.Random(7)
    values: list[Any] = [row + chosen.randrange(40) for row in range(ROWS)]
    if kind == "shuffled":
        chosen.shuffle(values)
    if kind == "falling":
        values.reverse()
    for row in chosen.sample(range(ROWS), 5):
        values[row] = None
    table = {"v": pa.array(values), "s": [f"text {row % 7}" for row in range(ROWS)], "k": range(ROWS)}
    if kind == "floats":
        table["v"] = pa.array(
            [math.nan if row % 1000 == 3 else v for row, v in enumerate(values)], pa.float64()
        )
    return pa.table(table)


SPARED = [
    pytest.param("falling", "v:desc", "last", {}, True, id="descending"),
    pytest.param("rising", "v", "last", {}, True, id="ascending", marks=pytest.mark.long),
    pytest.param("rising", "v", "first", {}, True, id="nulls first", marks=pytest.mark.long),
    pytest.param("falling", "v:desc", "last", {"write_statistics": False}, False, id="no statistics"),
    pytest.param("floats", "v:desc", "last", {}, False, id="NaN", marks=pytest.mark.long),
    pytest.param("floats", "v,s", "last", {}, False, id="with text", marks=pytest.mark.long),
    pytest.param("shuffled", "v:desc,k:desc", "first", {}, False, id="shuffled", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("kind", "by", "nulls", "options", "spared"), SPARED)
def test_parts_of_files_that_are_behind_are_spared(
    kind: str,
    by: str,
    nulls: str,
    options: dict[str, Any],
    spared: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a footer tells spares row groups; and the documents are the same whether it tells or not."""
    table = numbered(kind)
    (tmp_path / "in").mkdir()
    for part, begin in enumerate([0, 1000, 2000]):
        path = tmp_path / "in" / f"{part}.parquet"
        pq.write_table(table.slice(begin, 1000), path, row_group_size=100, **options)
    flags = [f"--input={tmp_path}/in", f"--output={tmp_path}/out", f"--by={by}", f"--nulls={nulls}", "--k=30"]
    assert run([*flags, "--direct_num_workers=1"]) == 0
    (rows,) = written(tmp_path / "out")
    expected = ask(f"SELECT k FROM t ORDER BY {order_by(by, nulls)}, k LIMIT 30", t=table)
    assert rows["k"].to_pylist() == [row["k"] for row in expected]
    assert repr(rows.to_pylist()) == repr(table.take(rows["k"].to_pylist()).to_pylist())
    assert ("skipped" in capsys.readouterr().out) == spared


def test_lines_are_found_as_well_and_only_those_of_a_condition(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("".join(f'{{"v": {row % 10}, "k": {row}}}\n' for row in range(100)))
    flags = [
        f"--input={tmp_path}/in.jsonl",
        f"--output={tmp_path}/out",
        "--by=v:desc",
        "--k=12",
        "--where=k >= 20",
    ]
    assert run(flags) == 0
    (rows,) = written(tmp_path / "out")
    assert rows["k"].to_pylist() == [*range(29, 100, 10), 28, 38, 48, 58]


def test_a_document_that_is_damaged_is_a_reject(tmp_path: Path) -> None:
    """Its keys can be read, and its text can't: nothing is missing without a record."""
    source = stored(tmp_path / "in", odd_table(400).select(["k", "text"]), 1)
    path = source / "00.parquet"
    group = pq.read_metadata(path).row_group(1).column(1)
    content = bytearray(path.read_bytes())
    begin = group.dictionary_page_offset or group.data_page_offset
    content[begin + 30 : begin + 60] = b"?" * 30
    path.write_bytes(bytes(content))
    flags = [f"--input={source}", f"--output={tmp_path}/out", "--by=k:desc", "--k=300"]
    assert run([*flags, "--max_reject_fraction=1"]) == 0
    found = sum(table.num_rows for table in written(tmp_path / "out"))
    rejects = pq.read_table(tmp_path / "out/rejects").to_pylist()
    assert found + sum(row["rows"] for row in rejects) >= 300 > found
    assert {row["stage"] for row in rejects} == {"fetch"}


def test_too_many_documents_for_one_worker_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = pa.table({"k": range(60), "text": pa.array(["x" * (1 << 20)] * 60, pa.large_string())})
    source = stored(tmp_path / "in", large, 1)
    assert run([f"--input={source}", f"--output={tmp_path}/out", "--by=k", "--k=50"]) == 2
    assert "Ask for fewer, or sort them" in capsys.readouterr().err
