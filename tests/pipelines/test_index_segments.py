"""Segments by window, searched together, beside one index of everything."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import beam_etl.pipelines.compact_index as compact_index
from beam_etl import InvertedIndex, schema
from beam_etl.io import manifest, panes
from beam_etl.io.index.segment_rows import SEGMENTS, segment_of
from beam_etl.io.write_panes import WritePanes
from beam_etl.kernels.window_text import parse_window
from beam_etl.pipelines import check_index, index_segments, inverted_index
from beam_etl.pipelines.windowed import window_columns
from beam_etl.transforms import inverted_index as inverting
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.index_segments import BuildSegments
from beam_etl.transforms.windows import AddWindows, AssignWindows, beam_trigger
from tests.streams import MINUTE, cut, documents, final_rows, play, with_clocks

WORDS = ("apache", "license", "warranty", "the", "of", "software", "notice", "copy")
QUERIES = ("apache", "license warranty", "+apache -notice", '"the software"', "absent")


def texts(count: int, seed: int = 3) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, number)) for number in random.integers(0, 12, count).tolist()]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    times = pa.array(np.random.default_rng(1).integers(0, 180 * MINUTE, 200), pa.timestamp("us", "UTC"))
    table = pa.table({"id": [f"d{row}" for row in range(200)], "time": times, "text": texts(200)})
    for part in range(2):
        pq.write_table(table.slice(part * 100, 100), folder / f"{part}.parquet")
    return folder


def answers(index: InvertedIndex, query: str) -> Counter[Any]:
    hits = index.search(query, k=300).hits
    return Counter((index.document(hit.document).id, round(hit.score, 9)) for hit in hits)


def test_segments_answer_as_one_index_of_all_documents(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, windowed, segments = (tmp_path / name for name in ("whole", "windowed", "segments"))
    flags = [f"--input={source}", "--positions=true"]
    assert inverted_index.run([*flags, f"--output={whole}"]) == 0
    assert inverted_index.run([*flags, f"--output={windowed}", "--window=fixed:1h"]) == 0
    capsys.readouterr()
    assert index_segments.run([str(windowed), f"--output={segments}"]) == 0
    folders = capsys.readouterr().out.strip().split(",")
    one, several = InvertedIndex(str(whole)), InvertedIndex(folders)
    assert several.statistics == one.statistics
    assert len(folders) > 3
    for query in QUERIES:
        assert answers(several, query) == answers(one, query)
    for hit in several.search("apache", k=3).hits:
        found = several.document(hit.document)
        row = pq.read_table(str(found.file)).slice(found.position or 0, 1).to_pylist()[0]
        assert row["id"] == found.id
    assert check_index.run([folders[0]]) == 0
    compacted = tmp_path / "compacted"
    assert compact_index.run([f"--input={','.join(folders)}", f"--output={compacted}"]) == 0
    assert answers(InvertedIndex(str(compacted)), "license warranty") == answers(one, "license warranty")


def test_segments_that_are_replaced_are_gone_and_others_stay(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    windowed, segments = tmp_path / "windowed", tmp_path / "segments"
    flags = [f"--input={source}", f"--output={windowed}"]
    assert inverted_index.run([*flags, "--window=fixed:3h"]) == 0
    assert index_segments.run([str(windowed), f"--output={segments}"]) == 0
    before = {folder: folder.stat().st_mtime_ns for folder in segments.iterdir()}
    assert index_segments.run([str(windowed), f"--output={segments}"]) == 0
    assert {folder: folder.stat().st_mtime_ns for folder in segments.iterdir()} == before
    assert inverted_index.run([*flags, "--window=fixed:3h", "--window_offset=1h", "--overwrite=true"]) == 0
    capsys.readouterr()
    assert index_segments.run([str(windowed), f"--output={segments}"]) == 0
    told = set(capsys.readouterr().out.strip().split(","))
    assert told == {str(folder) for folder in segments.iterdir()}
    assert not told & {str(folder) for folder in before}


def test_what_has_no_segments_is_told(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert index_segments.run([str(source), f"--output={tmp_path / 'segments'}"]) == 2
    assert "no segments" in capsys.readouterr().err


LATE = parse_window("fixed:10m", allowed_lateness=60 * MINUTE)
MINUTES = (1, 2, 3, 15, 4, 16, 30, 5)
"""Of documents: two come late for the first window."""


def with_addresses(text: list[str]) -> pa.RecordBatch:
    """Documents at MINUTES."""
    batch = documents([minute * MINUTE for minute in MINUTES], text=text)
    field = pa.field(schema.ADDRESS, pa.uint64(), nullable=False)
    return batch.append_column(field, pa.array(range(batch.num_rows), pa.uint64()))


POISON = "poison"


def test_a_document_that_a_kernel_fails_on_is_rejected_once_however_often_its_window_fires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invert, stream = inverting.invert_batches, "5c5c5c5c5c5c"

    def failing(batches: Sequence[pa.RecordBatch], *rest: Any) -> Any:
        if any(POISON in batch["text"].to_pylist() for batch in batches):
            raise ValueError("it hurts")
        return invert(batches, *rest)

    monkeypatch.setattr(inverting, "invert_batches", failing)
    monkeypatch.setattr("beam_etl.io.index.segment_rows.invert_batches", failing)
    panes.register(str(tmp_path), stream, "test", {SEGMENTS: {}, "rejects": {}})

    def build(batches: Batches) -> dict[str, Any]:
        windowed = batches | AssignWindows(spec=LATE)
        built = windowed.documents | BuildSegments(write=segment_of, keep_partition=True, partitions=1)
        tables = window_columns({SEGMENTS: built.segments, "rejects": built.rejects}, streaming=True)
        return {"told": tables | WritePanes(output=str(tmp_path), stream=stream, trigger=beam_trigger(LATE))}

    batch = with_addresses(["fine", POISON, *["fine"] * 6])
    assert len(play(with_clocks(cut(batch, 2), max_disorder=0), build)["told"]) > 3
    version = manifest.latest(str(tmp_path))
    assert version is not None
    found = {
        table: [
            row
            for file in version.table(table)
            for row in pq.ParquetFile(tmp_path / file.path).read().to_pylist()
        ]
        for table in (SEGMENTS, "rejects")
    }
    assert [(row["position"], row["reason"]) for row in found["rejects"]] == [(1, "ValueError: it hurts")]
    assert sum(row["documents"] for row in found[SEGMENTS]) == 7


def test_a_partition_that_is_more_than_a_key_holds_is_a_failure_and_has_no_segment() -> None:
    def build(batches: Batches) -> dict[str, Any]:
        windowed = batches | AssignWindows(spec=LATE)
        built = windowed.documents | BuildSegments(write=segment_of, partitions=1, key_limit=1000)
        return {"rows": built.segments | AddWindows(), "failures": built.failures}

    batch = with_addresses([*["few"] * 7, "many " * 300])
    found = play(with_clocks([*cut(batch, 8)], max_disorder=30 * MINUTE), build)
    assert {row[schema.WINDOW_START].minute for row in found["rows"]} == {10, 30}
    [told] = found["failures"]
    assert "bytes of documents, above 1,000. Shorter windows" in told


def test_the_final_panes_of_a_stream_have_every_document_once() -> None:
    batch = with_addresses(texts(8, seed=5))

    def build(batches: Batches) -> dict[str, Any]:
        windowed = batches | AssignWindows(spec=LATE)
        built = windowed.documents | BuildSegments(write=segment_of, keep_partition=True, partitions=2)
        return {"rows": built.segments | AddWindows(firings=True), "rejects": built.rejects}

    found = play(with_clocks(cut(batch, 2), max_disorder=0), build)
    named = [
        (row[schema.WINDOW_START].minute, document["id"])
        for row in final_rows(found["rows"])
        for document in pq.read_table(pa.BufferReader(row["documents_file"])).to_pylist()
    ]
    assert sorted(named) == sorted((minute // 10 * 10, f"d{row}") for row, minute in enumerate(MINUTES))
    assert not found["rejects"]
    assert {row[schema.TIMING] for row in found["rows"]} == {"on time", "late"}
