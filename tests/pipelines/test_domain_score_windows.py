from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.kernels.quality import failures, rules_of, signals
from beam_etl.pipelines import domain_score, score_windows
from beam_etl.transforms.quality import DEFAULT_RULES

STORY = "The cat that sat on the mat was of the kind that people like to have with them. "
FLAGS = ("--window=sliding:1h:20m", "--time_column=at", "--time_unit=s")
COLUMNS = "documents, bytes, words_sum, gopher_quality_failed, fineweb_failed, first_date, last_date"


def documents(count: int) -> pa.Table:
    """Of four domains and none over three hours, in no order; most of them fail something."""
    random = np.random.default_rng(4)
    domains = random.choice(["a.example", "b.example", "c.example", "d.example", ""], count).tolist()
    texts = [STORY * int(n) if n % 2 else "buy " * int(n) for n in random.integers(1, 9, count)]
    seconds = 1_770_000_000 + random.integers(0, 3 * 3600, count)
    return pa.table(
        {
            "id": [f"d{row}" for row in range(count)],
            "domain": pa.array([domain or None for domain in domains], pa.string()),
            "text": texts,
            "at": seconds,
            "date": pa.array(seconds * 10**6, pa.timestamp("us")).cast(pa.date32(), safe=False),
        }
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[pa.Table, Path]:
    rows, folder = documents(300), tmp_path_factory.mktemp("input")
    for part in range(3):
        pq.write_table(rows.take(np.arange(part, rows.num_rows, 3)), folder / f"{part}.parquet")
    return rows, folder


def test_the_domains_of_each_window_are_those_of_its_documents(
    table: tuple[pa.Table, Path], tmp_path: Path
) -> None:
    rows, folder = table
    output = tmp_path / "domains"
    assert domain_score.run([f"--input={folder}", f"--output={output}", *FLAGS]) == 0
    bounds = "epoch_us(window_start), epoch_us(window_end)"
    files = f"read_parquet('{output}/domains/*.parquet')"
    found = duckdb.sql(f"SELECT {bounds}, domain, {COLUMNS} FROM {files}").fetchall()
    assert sorted(found, key=str) == sorted(_by_window(rows), key=str)
    assert not (output / "score_parts").exists()


def _by_window(rows: pa.Table) -> list[Any]:
    texts = rows.column("text").combine_chunks().cast(pa.large_string())
    measured = signals(texts)
    failed = failures(measured, rules_of(DEFAULT_RULES)).column("failed")
    judged = pa.table({name: rows.column(name) for name in ("domain", "text", "date")})
    judged = judged.append_column("seconds", rows.column("at"))
    judged = judged.append_column("words", measured.column("words")).append_column("failed", failed)
    sets = ", ".join(
        f"count(*) FILTER (len(list_filter(failed, lambda rule: starts_with(rule, '{name}.'))) > 0)"
        for name in ("gopher_quality", "fineweb")
    )
    query = f"""
        WITH windows AS (SELECT n * 1200 AS start FROM range(1475000 - 10, 1475000 + 10) numbers(n))
        SELECT start * 1000000, (start + 3600) * 1000000, domain, count(*), sum(strlen(text))::BIGINT,
            sum(words)::BIGINT, {sets}, min(date), max(date)
        FROM judged JOIN windows ON start <= seconds AND seconds < start + 3600 GROUP BY start, domain
    """
    return duckdb.sql(query).fetchall()


REFUSED = (
    "--documents=true",
    "--filter=true",
    "--min_domain_score=0.5",
    "--partitioned=true",
    "--removals=elsewhere",
)


@pytest.mark.parametrize("flag", REFUSED)
def test_what_needs_the_scores_is_refused_with_windows(
    flag: str, table: tuple[pa.Table, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert domain_score.run([f"--input={table[1]}", f"--output={tmp_path / 'out'}", *FLAGS, flag]) == 2
    assert "Scores are made of that when it is read" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--allowed_lateness=1h", "--max_disorder=1m30s", "--early_firing=5"])
def test_flags_of_windows_need_windows(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert domain_score.run([f"--input={tmp_path}", f"--output={tmp_path / 'out'}", flag]) == 2
    assert f"{flag.partition('=')[0]} needs --window" in capsys.readouterr().err


def test_scores_as_of_a_window_are_those_of_the_corpus_so_far(
    table: tuple[pa.Table, Path], tmp_path: Path
) -> None:
    """With one window, or where nothing is kept, a window's scores are those of a run over its documents alone."""
    rows, _ = table
    folder, counted, scored = tmp_path / "input", tmp_path / "counted", tmp_path / "scored"
    folder.mkdir()
    pq.write_table(rows, folder / "0.parquet")
    flags = [f"--input={folder}", "--time_column=at", "--time_unit=s", "--window=fixed:1d"]
    assert domain_score.run([*flags, f"--output={counted}"]) == 0
    assert score_windows.run([str(counted), f"--output={scored}", "--decay=0.5", "--weights=fineweb:3"]) == 0
    whole = tmp_path / "whole"
    assert domain_score.run([f"--input={folder}", f"--output={whole}", "--weights=fineweb:3"]) == 0
    expected = duckdb.sql(f"SELECT domain, score, documents FROM '{whole}/domains/*.parquet'").fetchall()
    found = duckdb.sql(
        f"SELECT domain, score, kept_documents FROM '{scored}/window_scores/*.parquet'"
    ).fetchall()
    assert sorted(found, key=str) == sorted(((d, s, float(n)) for d, s, n in expected), key=str)
    assert score_windows.run([str(counted), f"--output={scored}"]) == 2


def test_what_has_no_windows_has_no_scores_by_window(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score_windows.run([str(tmp_path / "absent"), f"--output={tmp_path / 'scored'}"]) == 2
    assert "no domains by window" in capsys.readouterr().err
