import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.kernels.coded_groups import MANY_ROWS
from beam_etl.pipelines import aggregate, quantiles
from tests.pipelines.test_sort import stored
from tests.tables import ask, odd_table

ROWS = 3000


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return odd_table(ROWS)


def rows_of(output: Path, table: str) -> list[dict[str, Any]]:
    return pq.read_table(output / table).to_pylist()


@pytest.mark.parametrize(("files", "workers"), [pytest.param(1, 1, marks=pytest.mark.long), (7, 3)])
def test_aggregates_are_duckdbs(files: int, workers: int, table: pa.Table, tmp_path: Path) -> None:
    source = stored(tmp_path / "in", table, files)
    asked = "count,sum:large,mean:i,p50:i,distinct:d,max:text,min:f"
    flags = [f"--input={source}", f"--output={tmp_path}/out", "--by=s,b", f"--agg={asked}"]
    assert aggregate.run([*flags, f"--direct_num_workers={workers}"]) == 0
    expected = ask(
        "SELECT s, b, count(*) AS count, sum(large) AS large_sum, avg(i) AS i_mean, quantile_disc(i, 0.5) AS i_p50, "
        "count(DISTINCT d) AS d_distinct, max(text) AS text_max, min(f) AS f_min FROM t GROUP BY s, b",
        t=table,
    )
    found = rows_of(tmp_path / "out", "aggregates")
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def dictionaries(folder: Path) -> pa.Table:
    """Files that store a group column in different ways; the rows of all of them."""
    folder.mkdir()
    names = pa.array(["a", "b", None, "é", "a", None, "c"] * 30)
    ways: dict[str, tuple[pa.Array, dict[str, Any]]] = {
        "codes": (names, {}),
        "plain": (names, {"use_dictionary": False}),
        "large": (names.cast(pa.large_string()), {"row_group_size": 50}),
        "some codes": (
            pa.array([f"name {row * row}" for row in range(210)]),
            {"dictionary_pagesize_limit": 200, "data_page_size": 100, "write_batch_size": 10},
        ),
        "no value": (pa.nulls(210, pa.string()), {}),
    }
    tables = []
    for name, (texts, options) in ways.items():
        table = pa.table({"g": texts, "v": pa.array(range(210)), "w": [1.5, None, -2.5] * 70})
        pq.write_table(table, folder / f"{name}.parquet", **options)
        tables.append(table.set_column(0, "g", texts.cast(pa.string())))
    return pa.concat_tables(tables)


@pytest.mark.parametrize(
    "asked", ["count,sum:v,max:v,count:w", pytest.param("count,sum:w,p50:v", marks=pytest.mark.long)]
)
def test_groups_are_the_same_however_files_store_them(asked: str, tmp_path: Path) -> None:
    table = dictionaries(tmp_path / "in")
    flags = [f"--input={tmp_path}/in", f"--output={tmp_path}/out", "--by=g", f"--agg={asked}"]
    assert aggregate.run(flags) == 0
    functions = {
        "sum:w": "sum(w) AS w_sum",
        "p50:v": "quantile_disc(v, 0.5) AS v_p50",
        "count": "count(*) AS count",
    }
    told = [
        functions.get(one, "{0}({1})::BIGINT AS {1}_{0}".format(*one.split(":")) if ":" in one else one)
        for one in asked.split(",")
    ]
    expected = ask(f"SELECT g, {', '.join(told)} FROM t GROUP BY g", t=table)
    found = rows_of(tmp_path / "out", "aggregates")
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_a_group_that_is_no_text_is_a_reject(tmp_path: Path) -> None:
    names = pa.array([b"a", b"\xff", b"b", b"\xff", b"a"]).view(pa.string())
    source = stored(tmp_path / "in", pa.table({"g": names, "v": range(5)}), 1)
    flags = [f"--input={source}", f"--output={tmp_path}/out", "--by=g", "--agg=sum:v"]
    assert aggregate.run([*flags, "--max_reject_fraction=1"]) == 0
    assert rows_of(tmp_path / "out", "aggregates") == [{"g": "a", "v_sum": 4}, {"g": "b", "v_sum": 2}]
    assert {row["position"] for row in rows_of(tmp_path / "out", "rejects")} == {1, 3}


def test_a_condition_on_a_group_is_compared_by_its_text(tmp_path: Path) -> None:
    table = dictionaries(tmp_path / "in")
    flags = [f"--input={tmp_path}/in", f"--output={tmp_path}/out", "--by=g", "--where=g < 'c' or v = 7"]
    assert aggregate.run(flags) == 0
    expected = ask("SELECT g, count(*) AS count FROM t WHERE g < 'c' OR v = 7 GROUP BY g", t=table)
    assert sorted(map(repr, rows_of(tmp_path / "out", "aggregates"))) == sorted(map(repr, expected))


def test_many_rows_are_grouped_by_a_text_and_another_column(tmp_path: Path) -> None:
    """So many that a text alone would be grouped by its codes."""
    rows = MANY_ROWS + 5000
    numbers = np.arange(rows)
    languages = pa.array(["de", "en", None, "pl"]).take(pa.array(numbers % 4))
    table = pa.table({"language": languages, "year": pa.array(2000 + numbers % 7), "n": numbers})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in/a.parquet")
    flags = [f"--input={tmp_path}/in", f"--output={tmp_path}/out", "--by=language,year", "--agg=count,max:n"]
    assert aggregate.run(flags) == 0
    expected = ask(
        "SELECT language, year, count(*) AS count, max(n) AS n_max FROM t GROUP BY language, year", t=table
    )
    found = rows_of(tmp_path / "out", "aggregates")
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_everything_is_one_group_where_nothing_is_grouped_by(table: pa.Table, tmp_path: Path) -> None:
    source = stored(tmp_path / "in", table, 2)
    assert aggregate.run([f"--input={source}", f"--output={tmp_path}/out", "--agg=count,sum:k"]) == 0
    expected = [{"count": ROWS, "k_sum": ROWS * (ROWS - 1) // 2}]
    assert rows_of(tmp_path / "out", "aggregates") == expected


EMPTY = {"one group": ([], [{"count": 0, "k_sum": None}]), "groups": (["--by=s"], [])}


@pytest.mark.parametrize(("by", "expected"), EMPTY.values(), ids=EMPTY)
def test_no_rows_have_an_answer(by: list[str], expected: list[Any], tmp_path: Path) -> None:
    source = stored(tmp_path / "in", odd_table(0), 1)
    assert aggregate.run([f"--input={source}", f"--output={tmp_path}/out", "--agg=count,sum:k", *by]) == 0
    found = rows_of(tmp_path / "out", "aggregates") if os.path.isdir(tmp_path / "out/aggregates") else []
    assert found == expected


def test_a_sum_that_leaves_int64_widens_the_column_of_all_files(tmp_path: Path) -> None:
    values = pa.table(
        {
            "g": [row % 50 for row in range(200)],
            "v": [(1 << 62) if row % 50 == 7 else 1 for row in range(200)],
        }
    )
    source = stored(tmp_path / "in", values, 1)
    assert aggregate.run([f"--input={source}", f"--output={tmp_path}/out", "--by=g", "--agg=sum:v"]) == 0
    files = [
        pq.read_schema(tmp_path / "out/aggregates" / name) for name in os.listdir(tmp_path / "out/aggregates")
    ]
    assert {str(found.field("v_sum").type) for found in files} == {"decimal128(38, 0)"}
    found = {row["g"]: int(row["v_sum"]) for row in rows_of(tmp_path / "out", "aggregates")}
    assert found == {group: 4 << 62 if group == 7 else 4 for group in range(50)}


def test_a_domain_is_derived_and_a_language_has_another_name(tmp_path: Path) -> None:
    pages = pa.table(
        {"url": ["http://a.b.org/x", "https://b.org", "http://c.net"], "lang": ["en", "en", None]}
    )
    source = stored(tmp_path / "in", pages, 1)
    assert aggregate.run([f"--input={source}", f"--output={tmp_path}/out", "--by=domain,language"]) == 0
    found = {tuple(row.values()) for row in rows_of(tmp_path / "out", "aggregates")}
    assert found == {("b.org", "en", 2), ("c.net", None, 1)}


@pytest.mark.parametrize("exact", [pytest.param(True, marks=pytest.mark.long), False])
def test_quantiles_of_groups(exact: bool, table: pa.Table, tmp_path: Path) -> None:
    source = stored(tmp_path / "in", table, 2)
    flags = [f"--input={source}", f"--output={tmp_path}/out", "--columns=k,x", "--q=0,0.5,0.999", "--by=b"]
    assert quantiles.run([*flags, f"--exact={str(exact).lower()}"]) == 0
    names = {"p0": 0, "p50": 0.5, "p99.9": 0.999}
    told = ", ".join(f'quantile_disc({c}, {q}) AS "{c}_{p}"' for c in ("k", "x") for p, q in names.items())
    expected = {row["b"]: row for row in ask(f"SELECT b, {told} FROM t GROUP BY b", t=table)}
    found = rows_of(tmp_path / "out", "quantiles")
    assert {row["b"] for row in found} == set(expected)
    for row in found:
        for name, value in expected[row["b"]].items():
            assert row[name] == value if exact or name == "b" else abs(row[name] - value) <= abs(value) / 256


WRONG = {
    "unknown": (aggregate.run, ["--agg=median:k"], "--agg: 'median:k' is none of count"),
    "not a number": (aggregate.run, ["--agg=sum:s"], "column 's' is string: s_sum needs numbers"),
    "no such column": (aggregate.run, ["--agg=sum:z"], "no column 'z'"),
    "no quantile": (quantiles.run, ["--columns=k", "--q=2"], "--q=2: '2' is no quantile"),
    "quantiles of text": (quantiles.run, ["--columns=s"], "column 's' is string: s_p50 needs numbers"),
}


@pytest.mark.parametrize(("run", "flags", "message"), WRONG.values(), ids=WRONG)
def test_what_has_no_answer_is_told_before_the_job(
    run: Any,
    flags: list[str],
    message: str,
    table: pa.Table,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = stored(tmp_path / "in", table.slice(0, 10), 1)
    assert run([f"--input={source}", f"--output={tmp_path}/out", *flags]) == 2
    assert message in capsys.readouterr().err
