"""In a pipeline of one's own: the same documents stay whatever the batches; a table that is gone is told."""

import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import schema
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.repeated_lines import LineRule, Repeated
from beam_etl.transforms import line_tables
from beam_etl.transforms.line_tables import LineFile, PutTogether, read_lines, write_lines
from beam_etl.transforms.link_files import BeamFiles
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
        done = documents | RemoveRepeatedLines(
            find=FindRepeatedLines(rule=LineRule(), folder=str(tmp_path / "lines"))
        )
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


class CountedFiles(BeamFiles):
    """As in an object store: no file can be mapped. Counts how often each is opened."""

    opened: ClassVar[Counter[str]] = Counter()

    def create(self, path: str) -> Any:
        return super().create(path.removeprefix("store:"))

    def open(self, path: str) -> Any:
        self.opened[path] += 1
        return super().open(path.removeprefix("store:"))


def test_steps_that_have_a_table_each_read_it_once(tmp_path: Path) -> None:
    files = CountedFiles()
    found = Repeated(hash_values(pa.array(["menu"])), np.zeros(1, np.uint64))
    tables = [write_lines(found, f"store:{tmp_path}/{name}", files) for name in ("one", "two")]
    with run() as pipeline:
        documents = pipeline | beam.Create(batches(1))
        for number, table in enumerate(tables):
            repeated = pipeline | f"Table {number}" >> beam.Create([table])
            done = {"documents": documents, "repeated": repeated} | f"Remove {number}" >> RemoveLines(
                rule=LineRule(), files=files
            )
            documents = done.documents
    assert files.opened == {table.path: 1 for table in tables}


@pytest.mark.parametrize("keep", ["first", "none"])
def test_lines_are_put_together_in_the_memory_that_a_process_holds_of_them(
    keep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_tables, "WRITTEN_LINES", 1000)
    rule, files, parts = LineRule(keep=keep), BeamFiles(), 20
    hashes = np.random.default_rng(7).permutation(200_000).astype(np.uint64)
    found = [Repeated(np.sort(part), np.sort(part) + np.uint64(5)) for part in np.split(hashes, parts)]
    written = [
        write_lines(one if keep == "first" else one._replace(firsts=None), str(tmp_path), files)
        for one in found
    ]
    put = PutTogether(rule, str(tmp_path), files, 1 << 30)
    tracemalloc.start()
    [whole] = put.process(written)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.3 * hashes.size * rule.held_bytes
    lines = read_lines(whole, rule, files)
    assert (lines.hashes == np.arange(hashes.size)).all()
    assert keep == "none" or (lines.firsts == lines.hashes + np.uint64(5)).all()


def test_memory_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="memory must be at least 1, got 0"):
        FindRepeatedLines(rule=LineRule(), folder="/none", memory=0)
