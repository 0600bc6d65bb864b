"""What is read is what was stored, at the same addresses, whatever the splits; by files that others wrote."""

import datetime
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl import schema
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.formats import FileEntry, Rows, line_format, lines, parquet
from beam_etl.io.formats import avro as avro_format
from tests.stored import STORED, Document, Stored, avro, documents, read, row_numbers, write

ROWS = documents(300)

by_format = pytest.mark.parametrize("stored", STORED, ids=lambda stored: stored.name)


def expected(row: Document, number: int, position: int, path: Path) -> dict[str, Any]:
    return {
        "address": number << 44 | position,
        "id": row["id"],
        "url": row["url"],
        "language": row["lang"],
        "date": datetime.date.fromisoformat(row["date"][:10]),
        "text": row["text"],
    }


@by_format
@pytest.mark.parametrize("split_bytes", [500, 20_000, 1 << 30])
def test_every_document_is_read_once_at_its_address(stored: Stored, split_bytes: int, tmp_path: Path) -> None:
    path = write(tmp_path, stored.name, stored.encode(ROWS))
    wanted = Columns(needed=("id", "url", "language", "date", "text"))
    found = read(path, wanted, split_bytes=split_bytes, number=5)
    positions = stored.positions(ROWS)
    assert found.rejects == []
    assert found.rows == [expected(row, 5, at, path) for row, at in zip(ROWS, positions, strict=True)]
    assert all(batch.schema.metadata == {schema.FILE_METADATA: str(path).encode()} for batch in found.batches)


@by_format
@pytest.mark.parametrize("size", [64, 5000])
def test_the_size_of_batches_and_reads_changes_nothing(
    stored: Stored, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, stored.name, stored.encode(ROWS))
    whole = read(path, Columns(carry=ALL))
    for module, name in ((line_format, "BLOCK_BYTES"), (avro_format, "BATCH_BYTES"), (parquet, "MAX_BYTES")):
        monkeypatch.setattr(module, name, size)
    monkeypatch.setattr(lines, "TAIL_BYTES", 16)
    assert read(path, Columns(carry=ALL), split_bytes=3000).rows == whole.rows


@by_format
def test_other_columns_are_carried_as_they_are_stored(stored: Stored, tmp_path: Path) -> None:
    path = write(tmp_path, stored.name, stored.encode(ROWS))
    found = read(path, Columns(needed=(), carry=ALL))
    stored_columns = {"id", "url", "lang", "date", "score", "text"}
    assert [{name: row[name] for name in stored_columns} for row in found.rows] == ROWS
    assert found.batches[0].schema.field("date").type == pa.string()


@by_format
def test_a_job_that_needs_no_column_gets_every_address(stored: Stored, tmp_path: Path) -> None:
    path = write(tmp_path, stored.name, stored.encode(ROWS))
    assert read(path, Columns(needed=()), split_bytes=9000).column("address") == stored.positions(ROWS)


@by_format
def test_an_empty_file_has_no_documents(stored: Stored, tmp_path: Path) -> None:
    path = write(tmp_path, stored.name, stored.encode([]))
    found = read(path)
    assert (found.rows, found.rejects) == ([], [])


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_avro_of_each_codec(codec: str, tmp_path: Path) -> None:
    path = write(tmp_path, "a.avro", avro(ROWS, codec))
    found = read(path, Columns(carry=("score",)), split_bytes=5000)
    assert found.column("address") == row_numbers(ROWS)
    assert [(row["text"], row["score"]) for row in found.rows] == [
        (row["text"], row["score"]) for row in ROWS
    ]


@pytest.mark.parametrize("codec", ["snappy", "xz", "zstandard"])
def test_avro_that_others_compressed(codec: str, shared: Path) -> None:
    folder = shared / "data/hostile/avro-valid-arrow-testing"
    with (folder / "alltypes_plain.bzip2.avro").open("rb") as file:
        expected = list(fastavro.reader(file))
    found = read(folder / f"alltypes_plain.{codec}.avro", Columns(needed=(), carry=ALL))
    names = [name for name in expected[0] if name != "id"]
    assert [[row[name] for name in names] for row in found.rows] == [
        [row[name] for name in names] for row in expected
    ]


def test_real_documents_are_all_read(shared: Path, webtext: list[Document]) -> None:
    path = shared / "data/webtext/debdocs_sample_1pct.jsonl.gz"
    found = read(path, Columns(needed=("id", "language", "text")))
    assert found.rejects == []
    read_as = [(row["id"], row["language"], row["text"]) for row in found.rows]
    assert read_as == [(row["id"], row["lang"], row["text"]) for row in webtext]


def test_text_has_a_document_a_line(tmp_path: Path) -> None:
    content = "\ufefffirst\r\n\nząb\n\rlast".encode()
    path = write(tmp_path, "a.txt", content)
    found = [(row["address"], row["text"]) for row in read(path, split_bytes=3).rows]
    assert found == [(0, "first"), (10, ""), (11, "ząb"), (16, "\rlast")]


def test_textfile_has_a_document_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a.md", "\ufefffirst\r\n\nząb\n".encode())
    found = read(path, format="textfile")
    assert found.rows == [{"address": 0, "text": "first\r\n\nząb\n"}]


def test_one_long_text_for_many_rows_is_read_in_bounded_batches(tmp_path: Path) -> None:
    """Its dictionary page is small: by the footer, all rows would be one batch of 100 MB."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * 100_000] * 1000, "n": range(1000), "none": pa.nulls(1000)}), path)
    [split] = parquet.Parquet().splits(FileEntry(0, str(path), path.stat().st_size), 1 << 30)
    reader = parquet.Parquet().open(split, None)
    before, first = pa.total_allocated_bytes(), 0
    for rows in reader.rows(["text", "n", "none"], complete=False):
        assert isinstance(rows, Rows)
        assert rows.batch.nbytes <= parquet.MAX_EXPANSION * parquet.MAX_BYTES
        assert pa.total_allocated_bytes() - before < 80e6
        assert rows.batch.column("n").to_pylist() == list(range(first, first + rows.batch.num_rows))
        first += rows.batch.num_rows
    assert first == 1000
