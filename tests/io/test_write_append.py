"""WriteDataset that adds to a dataset, or keeps the version that it replaces."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import DatasetError, ReadDocuments, WriteDataset
from beam_etl.io import manifest, staging
from beam_etl.io.columns import Columns
from beam_etl.io.commit import FAILED, PUBLISHED
from beam_etl.io.file_source import FileSource
from beam_etl.pipelines import append, clean
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.flags import flag
from beam_etl.pipelines.job import Job
from tests.beam import run

HASHED = {"documents": {"by": [{"function": "hash", "columns": ["id"], "partitions": 4}], "split": False}}


def rows(*ids: str) -> pa.RecordBatch:
    return pa.record_batch({"id": list(ids), "text": [f"text of {name}" for name in ids]})


def write(output: Path, batch: pa.RecordBatch, verdict: str = PUBLISHED, **options: object) -> None:
    with run() as pipeline:
        documents = pipeline | beam.Create([batch])
        published = {"documents": documents} | WriteDataset(output=str(output), **options)  # type: ignore[arg-type]
        assert_that(published, equal_to([verdict]))


def ids(output: Path, number: int | None = None) -> list[str]:
    """Of a version, by DuckDB."""
    found = manifest.version(str(output), number) if number else manifest.latest(str(output))
    assert found is not None
    paths = [f"{output}/{file.path}" for file in found.files]
    return [name for (name,) in duckdb.sql(f"select id from read_parquet({paths}) order by id").fetchall()]


def test_an_append_writes_its_own_files_only_and_versions_are_read_by_their_manifests(tmp_path: Path) -> None:
    write(tmp_path, rows("a", "b"), append=True)
    before = {
        path: (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns)
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    write(tmp_path, rows("c"), append=True, about={"job": "second"})
    assert ids(tmp_path) == ["a", "b", "c"]
    assert ids(tmp_path, 1) == ["a", "b"]
    assert {
        path: (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) for path in before
    } == before
    for pattern, expected in (("", 2), ("_manifests/000002.json", 2), ("_manifests/000001.json", 1)):
        assert len(ReadDocuments(patterns=f"{tmp_path}/{pattern}").files) == expected
    with pytest.raises(DatasetError, match="has no version 3; there are: 1, 2"):
        manifest.version(str(tmp_path), 3)
    write(tmp_path, rows("d"), overwrite=True)
    assert len(list(tmp_path.rglob("*.*"))) == 2


def test_versions_that_are_asked_for_stay_when_others_replace_them(tmp_path: Path) -> None:
    for number, name in enumerate("abcd", start=1):
        write(tmp_path, rows(name), overwrite=True, keep_versions=2)
        assert manifest.numbers(str(tmp_path)) == [max(1, number - 1), number][-min(number, 2) :]
    assert (ids(tmp_path, 3), ids(tmp_path)) == (["c"], ["d"])
    write(tmp_path, rows("e"), append=True)
    write(tmp_path, rows("f"), overwrite=True, keep_versions=3)
    assert [ids(tmp_path, number) for number in (4, 5, 6)] == [["d"], ["d", "e"], ["f"]]
    assert len(list(tmp_path.glob("documents/*"))) == 3


OTHERS: dict[str, tuple[pa.RecordBatch, str]] = {
    "another type": (
        pa.record_batch({"id": [1], "text": ["x"]}),
        "documents can't be added to: id is string there, int64 in the run",
    ),
    "a column less": (pa.record_batch({"id": ["x"]}), "the run has no column text"),
    "a column more": (pa.record_batch({"id": ["x"], "text": ["x"], "n": [1]}), "it has no column n"),
}


@pytest.mark.parametrize(("batch", "reason"), OTHERS.values(), ids=OTHERS)
def test_other_columns_are_not_added(batch: pa.RecordBatch, reason: str, tmp_path: Path) -> None:
    write(tmp_path, rows("a"))
    name = staging.new_run()
    write(tmp_path, batch, FAILED, append=True, run=name)
    (told,) = staging.verdict(str(tmp_path), name)
    assert reason in told
    assert not staging.is_kept(str(tmp_path), name)
    assert len(list(tmp_path.glob("documents/*"))) == 1
    write(tmp_path, rows("b"), append=True)
    assert ids(tmp_path) == ["a", "b"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no partitioning": ({}, "partitioned by .*hash.*, the run's by nothing"),
    "another": (
        {"partitioning": {"documents": {"by": [{"function": "value", "columns": ["id"]}]}}},
        "partitioned by",
    ),
    "another format": (
        {"partitioning": HASHED, "format": "jsonl"},
        r"files are \.parquet, the run's are \.jsonl",
    ),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_added_is_refused_before_the_job(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write(tmp_path, rows("a"), partitioning=HASHED)
    with pytest.raises(DatasetError, match=message):
        write(tmp_path, rows("b"), append=True, **options)
    assert ids(tmp_path) == ["a"]


def test_a_partition_that_is_cut_makes_the_table_one_that_is_cut(tmp_path: Path) -> None:
    cut = {"documents": {**HASHED["documents"], "split": True}}
    for batch, partitioning in ((rows("a"), HASHED), (rows("b"), cut), (rows("c"), HASHED)):
        write(tmp_path, batch, append=True, partitioning=partitioning)
    told = [manifest.version(str(tmp_path), number).partitioning["documents"] for number in (1, 2, 3)]
    assert told == [HASHED["documents"], cut["documents"], cut["documents"]]


@dataclass(frozen=True, kw_only=True)
class Config(JobConfig):
    append: bool = flag("add to the dataset that is there", default=False)

    @property
    def columns(self) -> Columns:
        return Columns(needed=("id", "text"))


def replace_meanwhile(batch: pa.RecordBatch, output: str) -> pa.RecordBatch:
    """As another job does that runs at the same time."""
    found = manifest.latest(output)
    if found is not None and found.number == 1:
        write(Path(output), rows("z"), overwrite=True)
    return batch


def build(source: FileSource, config: Config) -> Mapping[str, Any]:
    documents = source.documents().documents
    if config.append:
        documents = documents | beam.Map(replace_meanwhile, config.output).with_output_types(pa.RecordBatch)
    return {"documents": documents}


@pytest.mark.slow
def test_a_job_whose_dataset_was_replaced_tells_how_its_files_are_added(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "a", "text": "some words"}))
    job, output = Job("copy", "Copies.", Config, build), tmp_path / "out"
    flags = [f"--input={tmp_path}/in.jsonl", f"--output={output}"]
    assert job.run(flags) == 0
    capsys.readouterr()
    assert job.run([*flags, "--append=true"]) == 1
    said = capsys.readouterr().err
    assert "was replaced by the run" in said
    run_name = said.partition("--run=")[2].partition("`")[0]
    assert ids(output) == ["z"]
    assert pq.read_table(output / "documents")["id"].to_pylist() == ["z"]
    assert append.run([str(output), f"--run={run_name}"]) == 1  # `z` came with other types
    new = next((output / "_staging").glob("*/conflict.json")).parent.name
    assert "text is string there, large_string in the run" in capsys.readouterr().err
    write(output, pq.read_table(output / "_staging" / new / "documents").to_batches()[0], overwrite=True)
    assert append.run([str(output), f"--run={new}"]) == 0
    assert ids(output) == ["a", "a"]
    assert clean.run([str(output), "--idle_hours=0"]) == 0
    assert not (output / "_staging").exists()


def test_a_job_adds_and_tells_what_it_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "a", "text": "some words"}))
    job = Job("copy", "Copies.", Config, lambda source, config: {"documents": source.documents().documents})
    for _ in range(3):
        assert job.run([f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out", "--append=true"]) == 0
        assert "documents 1" in capsys.readouterr().out
    assert ids(tmp_path / "out") == ["a", "a", "a"]


def test_a_run_adds_or_replaces() -> None:
    with pytest.raises(ValueError, match="not both"):
        WriteDataset(output="out", append=True, overwrite=True)
    with pytest.raises(ValueError, match="--append=true adds .* give one of them"):
        Config(input=("a",), output="out", append=True, overwrite=True)
