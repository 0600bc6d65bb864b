"""In a pipeline of one's own: the same documents stay whatever the batches; a table that is gone is told."""

from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import schema
from beam_etl.kernels.repeated_lines import LineRule
from beam_etl.transforms.line_tables import LineFile
from beam_etl.transforms.repeated_lines import FindRepeatedLines, RemoveLines, RemoveRepeatedLines
from tests.beam import run

TEXTS = ["Menu\none", "menu!\ntwo", "three\nMENU\nmenu", "menu", None, ""]
KEPT = [("d0", "Menu\none"), ("d1", "two"), ("d2", "three"), ("d4", None), ("d5", "")]


def batches(rows: int) -> list[pa.RecordBatch]:
    whole = pa.RecordBatch.from_pydict(
        {
            schema.ADDRESS: pa.array(range(len(TEXTS)), pa.uint64()),
            schema.ID: [f"d{row}" for row in range(len(TEXTS))],
            schema.TEXT: pa.array(TEXTS, pa.large_string()),
        }
    )
    return [whole.slice(at, rows) for at in range(0, len(TEXTS), rows)][::-1]


def pairs(batch: pa.RecordBatch) -> list[tuple[str, str | None]]:
    return [(row["id"], row["text"]) for row in batch.to_pylist()]


@pytest.mark.parametrize("rows", [1, 2, 6], ids="{} rows a batch".format)
def test_the_same_documents_stay_whatever_the_batches(rows: int, tmp_path: Path) -> None:
    with run() as pipeline:
        documents = pipeline | beam.Create(batches(rows))
        done = documents | RemoveRepeatedLines(rule=LineRule(), folder=str(tmp_path / "lines"))
        assert_that(done.documents | beam.FlatMap(pairs), equal_to(KEPT), "documents")
        edited = done.edits | beam.FlatMap(
            lambda batch: zip(batch["id"].to_pylist(), batch["pieces"].to_pylist(), strict=True)
        )
        assert_that(edited, equal_to([("d1", 1), ("d2", 2)]), "edits")
        removed = done.removals | "Ids" >> beam.FlatMap(lambda batch: batch["id"].to_pylist())
        assert_that(removed, equal_to(["d3"]), "removals")
        assert_that(done.failures, equal_to([]), "failures")


def test_a_table_that_is_gone_is_told(tmp_path: Path) -> None:
    with run() as pipeline:
        table = pipeline | "Table" >> beam.Create([LineFile(f"{tmp_path}/none.u64", 3)])
        documents = pipeline | beam.Create(batches(6))
        done = {"documents": documents, "repeated": table} | RemoveLines(rule=LineRule())
        told = done.failures | beam.Map(
            lambda failure: "none.u64 was written by this run, and is gone" in failure
        )
        assert_that(told, equal_to([True]))
        assert_that(done.documents | beam.FlatMap(pairs), equal_to([]), "documents")


def test_memory_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="memory must be at least 1, got 0"):
        FindRepeatedLines(rule=LineRule(), folder="/none", memory=0)
