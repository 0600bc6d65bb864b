"""Files as wholes: each kernel call sees all documents of a file, and nothing of another."""

import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import Columns, UnbatchRows
from beam_etl.io.file_source import FileSource
from beam_etl.io.map_files import MapFiles
from beam_etl.io.read import ReadDocuments
from beam_etl.transforms.metrics import ROWS_READ
from tests.beam import counters, run

FILES, ROWS = 3, 40


def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row: how many documents there are, and the first and last text."""
    texts = [text for batch in batches for text in batch.column("text").to_pylist()]
    yield pa.record_batch({"documents": [len(texts)], "first": [texts[0]], "last": [texts[-1]]})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of many splits, each with a record that is none in its midst."""
    monkeypatch.setattr("beam_etl.io.file_source.ReadDocuments", partial(ReadDocuments, split_bytes=100))
    for number in range(FILES):
        lines = [json.dumps({"text": f"{number}-{row}", "n": row}) for row in range(ROWS)]
        lines.insert(ROWS // 2, "{")
        (tmp_path / f"{number}.jsonl").write_text("\n".join(lines))
    return tmp_path


def test_a_kernel_sees_the_documents_of_one_file_in_order(folder: Path) -> None:
    with run() as pipeline:
        source = FileSource(pipeline, str(folder), Columns())
        done = pipeline | MapFiles(source=source, kernel=count)
        rows = [{"documents": ROWS, "first": f"{n}-0", "last": f"{n}-{ROWS - 1}"} for n in range(FILES)]
        assert_that(done.batches | UnbatchRows(), equal_to(rows), label="batches")
        places = done.rejects | "Rejects" >> UnbatchRows()
        assert_that(places, lambda found: _check_rejects(found, folder), label="rejects")


def _check_rejects(found: list[dict[str, object]], folder: Path) -> None:
    assert {row["file"] for row in found} == {str(folder / f"{n}.jsonl") for n in range(FILES)}
    assert len(found) == FILES


def names(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield pa.record_batch({"names": [" ".join(batch.schema.names)]})


def test_other_columns_can_be_read_and_documents_are_counted_once(folder: Path) -> None:
    pipeline = run()
    source = FileSource(pipeline, str(folder), Columns(carry=("n",)))
    done = pipeline | MapFiles(source=source, kernel=names, columns=Columns())
    again = source.documents(Columns(needed=("id", "text")), again=True)
    mapped = done.batches | "Mapped" >> UnbatchRows() | beam.Map(lambda row: row["names"])
    read = again.documents | "Names" >> beam.Map(lambda batch: " ".join(batch.schema.names))
    assert_that(mapped | "Mapped once" >> beam.Distinct(), equal_to(["address text"]), label="mapped")
    assert_that(read | "Read once" >> beam.Distinct(), equal_to(["address id text"]), label="again")
    assert counters(pipeline, "")[ROWS_READ] == FILES * ROWS
