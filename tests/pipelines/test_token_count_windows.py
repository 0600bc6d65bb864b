from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.pipelines import token_count

ROWS = 2_000
START = np.datetime64("2026-01-01T00:00:00", "us")


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of 2,000 documents over three hours, in no order, a few of them without a time."""
    folder = tmp_path_factory.mktemp("documents")
    random = np.random.default_rng(1)
    times = pa.array(START + random.integers(0, 3 * 3600 * 10**6, ROWS), mask=random.random(ROWS) < 0.003)
    texts = [" ".join(["word"] * n) for n in random.integers(0, 30, ROWS).tolist()]
    languages = random.choice(["en", "de", "fr"], ROWS)
    table = pa.table({"language": languages, "time": times, "text": texts, "id": np.arange(ROWS).astype(str)})
    for part in range(3):
        pq.write_table(table.take(np.arange(part, ROWS, 3)), folder / f"{part}.parquet")
    return folder


WINDOWS = {
    "fixed:10m": (600, 600, 0),
    "fixed:1h --window_offset=7m30s": (3600, 3600, 450),
    "sliding:1h:20m": (3600, 1200, 0),
    "sliding:50m:20m": (3000, 1200, 0),
}
"""Flags, and size, period and offset in seconds."""


LONG = ("fixed:10m", "sliding:1h:20m")


@pytest.mark.parametrize(
    "flags", [pytest.param(flags, marks=[pytest.mark.long] * (flags in LONG)) for flags in WINDOWS], ids=str
)
def test_counts_of_each_window_equal_a_group_by(flags: str, documents: Path, tmp_path: Path) -> None:
    output = tmp_path / "counts"
    code = token_count.run([f"--input={documents}", f"--output={output}", *f"--window={flags}".split()])
    assert code == 0
    for table, group in (("counts", "language"), ("totals", "NULL")):
        columns = f"epoch_us(window_start), epoch_us(window_end), {group}, documents, bytes, tokens"
        found = duckdb.sql(f"SELECT {columns} FROM read_parquet('{output}/{table}/*.parquet')").fetchall()
        assert sorted(found, key=str) == sorted(_grouped(documents, *WINDOWS[flags], group), key=str)
    rejected = duckdb.sql(f"SELECT reason FROM read_parquet('{output}/rejects/*.parquet')").fetchall()
    assert {reason for (reason,) in rejected} == {"null time: no window has it"}
    assert len(rejected) == _null_times(documents)


def _grouped(documents: Path, size: int, period: int, offset: int, group: str) -> list[Any]:
    """By comparing each document with each window."""
    zero = int(START.astype(np.int64))
    query = f"""
        WITH windows AS (
            SELECT n * {period * 10**6} + {offset * 10**6} AS start
            FROM range({zero // (period * 10**6) - 10}, {zero // (period * 10**6) + 100}) numbers(n)
        )
        SELECT start, start + {size * 10**6}, {group}, count(*), sum(strlen(text)),
            sum(len(list_filter(string_split(text, ' '), lambda word: word <> '')))
        FROM read_parquet('{documents}/*.parquet') JOIN windows
        ON start <= epoch_us(time) AND epoch_us(time) < start + {size * 10**6}
        GROUP BY ALL
    """
    return duckdb.sql(query).fetchall()


def _null_times(documents: Path) -> int:
    query = f"SELECT count(*) FROM read_parquet('{documents}/*.parquet') WHERE time IS NULL"
    ((count,),) = duckdb.sql(query).fetchall()
    return int(count)
