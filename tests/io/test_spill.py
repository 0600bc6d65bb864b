"""Tables that are put down come back as they were, and what a later run may take over is told from their folder."""

from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.io.spill import RECORD, ReadSpilled, SpillTables, find_spilled, read_spilled
from tests.beam import run

BATCH_ROWS = 500


def documents(file: int, first: int, rows: int = BATCH_ROWS) -> pa.RecordBatch:
    """Documents of a file, from a position on."""
    positions = [(file << schema.POSITION_BITS) + first + row for row in range(rows)]
    told = {schema.ADDRESS: pa.array(positions, pa.uint64()), schema.TEXT: [f"text {n}" for n in positions]}
    return pa.record_batch(told).replace_schema_metadata({schema.FILE_METADATA: f"{file}.jsonl"})


BATCHES = [documents(file, first) for file in (0, 3) for first in range(0, 4 * BATCH_ROWS, BATCH_ROWS)]


def put_down(folder: Path, spill_bytes: int = 1 << 20) -> None:
    with run() as pipeline:
        told = pipeline | "Batches" >> beam.Create(BATCHES, reshuffle=False).with_output_types(pa.RecordBatch)
        none = pipeline | "None" >> beam.Create([], reshuffle=False).with_output_types(pa.RecordBatch)
        spilled = {"documents": told, "rejects": none} | SpillTables(
            folder=str(folder), spill_bytes=spill_bytes
        )
        _ = spilled | ReadSpilled(table="documents")


@pytest.mark.parametrize("spill_bytes", [1, 1 << 20], ids=["a file a batch", "a file an input file"])
def test_files_hold_neighbouring_documents_of_one_file(spill_bytes: int, tmp_path: Path) -> None:
    put_down(tmp_path / "put", spill_bytes)
    files = sorted(find_spilled(str(tmp_path / "put")).files, key=lambda file: file.first)
    assert len(files) == (len(BATCHES) if spill_bytes == 1 else 2)
    found = [batch for file in files for batch in read_spilled(file)]
    assert found == BATCHES
    assert [batch.schema.metadata for batch in found] == [batch.schema.metadata for batch in BATCHES]
    assert sum(file.rows for file in files) == sum(batch.num_rows for batch in BATCHES)
    assert [file.first for file in files] == [
        next(read_spilled(file))[schema.ADDRESS][0].as_py() for file in files
    ]


def test_only_a_whole_and_sound_first_part_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "put"
    assert not find_spilled(str(folder)).files
    put_down(folder)
    [first, second] = find_spilled(str(folder)).files
    record = (folder / RECORD).read_bytes()
    (folder / RECORD).unlink()
    found = find_spilled(str(folder))
    assert not found.files
    assert "finished its first part" in found.why
    (folder / RECORD).write_bytes(record)
    content = Path(first.path).read_bytes()
    Path(first.path).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    found = find_spilled(str(folder))
    assert not found.files
    assert found.why == f"{first.path} isn't as it was written (SHA-256)"
    Path(first.path).write_bytes(content)
    Path(second.path).unlink()
    found = find_spilled(str(folder))
    assert not found.files
    assert found.why == f"{second.path} is gone"
