"""A stream, from its source to what is published, beside the batch run of the same documents with the same windows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl import schema
from beam_etl.io import manifest
from beam_etl.pipelines import domain_score, inverted_index, token_count

DOCUMENTS = 150
WINDOWS = ("--window=sliding:1h:30m", "--allowed_lateness=2m", "--early_firing=3", "--max_disorder=10m")
REPLAY = ("--replay_disorder=10m", "--stream_splits=2", "--runner=BundleBasedDirectRunner")

JOBS: dict[str, tuple[Callable[[list[str]], int], tuple[str, ...], tuple[str, ...]]] = {
    "token_count": (token_count.run, ("counts", "totals"), ()),
    "domain_score": (domain_score.run, ("domains",), ()),
    "inverted_index": (inverted_index.run, ("segments",), ("documents_file",)),
}
"""The job, its tables, and columns that tell where a document lies, which a replay may not know."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(9)
    folder = tmp_path_factory.mktemp("documents")
    times = pa.array(random.integers(0, 3 * 3600, DOCUMENTS) * 10**6, pa.timestamp("us", "UTC"))
    words = ("the", "cat", "that", "sat", "on", "mat.")
    table = pa.table(
        {
            "id": [f"d{row}" for row in range(DOCUMENTS)],
            "time": times,
            "language": random.choice(["en", "de"], DOCUMENTS),
            "domain": random.choice(["a.example", "b.example"], DOCUMENTS),
            "text": [" ".join(random.choice(words, number)) for number in random.integers(1, 40, DOCUMENTS)],
        }
    )
    for part in range(2):
        pq.write_table(table.take(np.arange(part, DOCUMENTS, 2)), folder / f"{part}.parquet")
    return folder


@pytest.mark.parametrize(("run", "tables", "places"), JOBS.values(), ids=JOBS.keys())
def test_final_panes_are_the_rows_of_the_batch_run(
    run: Callable[[list[str]], int],
    tables: tuple[str, ...],
    places: tuple[str, ...],
    source: Path,
    tmp_path: Path,
) -> None:
    batch, stream = tmp_path / "batch", tmp_path / "stream"
    assert run([f"--input={source}", f"--output={batch}", *WINDOWS]) == 0
    assert run([f"--input=replay:{source}", f"--output={stream}", *WINDOWS, *REPLAY]) == 0
    for table in tables:
        expected = published(batch, table, places)
        assert published(stream, table, places) == expected
        assert len(expected) >= 7  # windows
    assert not published(stream, "rejects", ())


def published(dataset: Path, table: str, without: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of the files that the latest manifest lists."""
    current = manifest.latest(str(dataset))
    assert current is not None
    rows = [
        row for file in current.table(table) for row in pq.ParquetFile(dataset / file.path).read().to_pylist()
    ]
    kept = [{name: value for name, value in row.items() if name not in without} for row in rows]
    assert not any(schema.PARTITION in row or schema.PANE in row for row in kept)
    return sorted(kept, key=str)
