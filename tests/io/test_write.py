import glob
import hashlib
import json
from pathlib import Path

import apache_beam as beam
import duckdb
import fastavro
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from beam_etl import DatasetError, WriteDataset
from beam_etl.io import manifest, staging
from beam_etl.io.commit import CONFLICT, FAILED, PUBLISHED, give_up
from beam_etl.io.write import FAILURES
from tests.beam import run
from tests.datasets import publish

ROWS = 1000
BATCH = pa.record_batch(
    {
        "address": pa.array(range(ROWS), pa.uint64()),
        "id": [f"document {i}" for i in range(ROWS)],
        "text": pa.array(["Grüße, Welt\n" * (i % 7) for i in range(ROWS)], pa.large_string()),
    }
)
PIECES = [BATCH.slice(start, 100) for start in range(0, ROWS, 100)]
WRITTEN = [(row["id"], row["text"]) for row in BATCH.to_pylist()]


def write(
    output: Path, verdict: str = PUBLISHED, pieces: list[pa.RecordBatch] = PIECES, **options: object
) -> None:
    with run("--direct_num_workers=2") as pipeline:
        tables = {
            "documents": pipeline | "Documents" >> beam.Create(pieces),
            "rejects": pipeline | "Rejects" >> beam.Create([]).with_output_types(pa.RecordBatch),
        }
        published = tables | WriteDataset(output=str(output), **options)  # type: ignore[arg-type]
        assert_that(published, equal_to([verdict]))


READERS = {
    "duckdb": lambda path: duckdb.sql(f"select id, text from '{path}/*.parquet'").fetchall(),
    "polars": lambda path: pl.read_parquet(f"{path}/*.parquet").select("id", "text").rows(),
    "pyarrow": lambda path: [tuple(row.values()) for row in pq.read_table(path).to_pylist()],
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_any_reader_of_parquet_reads_a_table(tmp_path: Path, read: object) -> None:
    write(tmp_path / "out")
    assert sorted(read(str(tmp_path / "out/documents"))) == sorted(WRITTEN)  # type: ignore[operator]


def test_the_manifest_has_each_file_with_rows_bytes_and_checksum(tmp_path: Path) -> None:
    write(tmp_path / "out", about={"job": "test"})
    found = manifest.latest(str(tmp_path / "out"))
    assert found is not None
    assert found.about == {"job": "test"}
    on_disk = set(glob.glob(f"{tmp_path}/out/documents/*"))
    assert {f"{tmp_path}/out/{file.path}" for file in found.files} == on_disk
    for file in found.files:
        content = (tmp_path / "out" / file.path).read_bytes()
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert file.rows == pq.read_metadata(tmp_path / "out" / file.path).num_rows
    assert found.rows("documents") == ROWS
    assert found.schemas["documents"] == {"id": "string", "text": "large_string"}
    assert found.rows("rejects") == 0


def read_avro(path: str) -> list[tuple[str, str]]:
    with open(path, "rb") as file:
        return [(row["id"], row["text"]) for row in fastavro.reader(file)]


def read_jsonl(path: str) -> list[tuple[str, str]]:
    return [(row["id"], row["text"]) for row in map(json.loads, Path(path).read_text().splitlines())]


FORMATS = {"avro": read_avro, "jsonl": read_jsonl}


@pytest.mark.parametrize(("name", "read"), FORMATS.items(), ids=FORMATS.keys())
def test_other_formats_hold_the_same_rows(tmp_path: Path, name: str, read: object) -> None:
    write(tmp_path / "out", format=name)
    rows = [row for path in glob.glob(f"{tmp_path}/out/documents/*") for row in read(path)]  # type: ignore[operator]
    assert sorted(rows) == sorted(WRITTEN)


def test_files_are_closed_at_a_size(tmp_path: Path) -> None:
    write(tmp_path / "out", format="jsonl", file_bytes=5000)
    sizes = [Path(path).stat().st_size for path in glob.glob(f"{tmp_path}/out/documents/*")]
    assert len(sizes) > 5
    assert max(sizes) < 5000 + len(json.dumps(WRITTEN)) // 10 * 2


def test_a_dataset_is_replaced_only_when_asked_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    write(tmp_path / "out")
    with pytest.raises(DatasetError, match=r"manifest 1, \d files.*--overwrite=true"):
        write(tmp_path / "out")
    write(tmp_path / "out", pieces=PIECES[:3], overwrite=True)
    assert len(pq.read_table(tmp_path / "out/documents")) == 300
    assert manifest.numbers(str(tmp_path / "out")) == [2]
    assert not (tmp_path / "out/_staging").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DatasetError, match=r"no dataset \(thesis.tex\)"):
        write(tmp_path, overwrite=True)
    with pytest.raises(DatasetError, match="is a file"):
        write(tmp_path / "thesis.tex", overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_what_others_ask_the_filesystem_meanwhile_is_no_stranger(tmp_path: Path) -> None:
    write(tmp_path / "out")
    (tmp_path / "out" / f"{staging.PROBE}0123456789ab").touch()
    write(tmp_path / "out", append=True)
    found = manifest.latest(str(tmp_path / "out"))
    assert found is not None
    assert found.rows("documents") == 2 * ROWS


def test_another_writer_that_was_first_keeps_its_dataset(tmp_path: Path) -> None:
    output = str(tmp_path / "out")

    class Meanwhile(beam.DoFn):
        def process(self, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
            publish(output, manifest.Manifest(1, "other", (), {"documents": {}}))
            return [batch]

    with run() as pipeline:
        documents = pipeline | beam.Create(PIECES) | beam.ParDo(Meanwhile())
        verdict = {"documents": documents} | WriteDataset(output=output)
        assert_that(verdict, equal_to([CONFLICT]))
    found = manifest.latest(output)
    assert found is not None
    assert found.run == "other"


def test_a_place_that_cannot_commit_is_refused_before_the_job() -> None:
    documents = run() | beam.Create(PIECES)
    with pytest.raises(DatasetError, match=r"hdfs://host/out: .*local or mounted"):
        {"documents": documents} | WriteDataset(output="hdfs://host/out")


def test_what_a_killed_run_left_is_gone_after_the_next(tmp_path: Path) -> None:
    output = tmp_path / "out"
    run_name = staging.new_run()
    left = staging.file_name(0, run_name, staging.new_attempt(), ".parquet")
    for folder in (output / "documents", output / "_staging" / run_name / "documents"):
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"id": ["killed"], "text": ["between move and commit"]}), folder / left)
    write(output)
    assert len(pq.read_table(output / "documents")) == ROWS
    assert not (output / "_staging").exists()


def test_the_files_of_the_writer_that_lost_are_gone(tmp_path: Path) -> None:
    output = str(tmp_path / "out")

    def meanwhile(batch: pa.RecordBatch) -> pa.RecordBatch:
        publish(output, manifest.Manifest(1, "other", (), {"documents": {}}))
        return batch

    with run() as pipeline:
        documents = pipeline | beam.Create(PIECES) | beam.Map(meanwhile).with_output_types(pa.RecordBatch)
        assert_that({"documents": documents} | WriteDataset(output=output), equal_to([CONFLICT]))
    assert glob.glob(f"{output}/documents/*") == []
    assert not (tmp_path / "out/_staging").exists()


@pytest.mark.parametrize(
    "reasons", [[], ["a graph that isn't done", "a cluster too large"]], ids=["none", "two"]
)
def test_what_speaks_against_it_keeps_a_run_from_publishing(reasons: list[str], tmp_path: Path) -> None:
    output, name = str(tmp_path / "out"), staging.new_run()
    with run() as pipeline:
        tables = {
            "documents": pipeline | "Documents" >> beam.Create(PIECES),
            FAILURES: pipeline | "Failures" >> beam.Create(reasons).with_output_types(str),
        }
        verdict = tables | WriteDataset(output=output, run=name)  # type: ignore[arg-type]
        assert_that(verdict, equal_to([FAILED if reasons else PUBLISHED]))
    assert staging.verdict(output, name) == sorted(reasons)
    assert (manifest.latest(output) is None) == bool(reasons)
    assert bool(glob.glob(f"{output}/**/part-*", recursive=True)) != bool(reasons)
    if reasons:
        assert not give_up(output, name)
        assert not (tmp_path / "out").exists()


def test_rows_in_windows_are_one_dataset(tmp_path: Path) -> None:
    with run() as pipeline:
        windowed = (
            pipeline
            | beam.Create(list(enumerate(PIECES)))
            | beam.MapTuple(lambda second, piece: TimestampedValue(piece, second)).with_output_types(
                pa.RecordBatch
            )
            | beam.WindowInto(FixedWindows(3))
        )
        {"documents": windowed} | WriteDataset(output=str(tmp_path / "out"))
    assert len(pq.read_table(tmp_path / "out/documents")) == ROWS


def test_a_filesystem_without_links_is_refused_before_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*paths: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", no_links)
    with pytest.raises(DatasetError, match="hard links"):
        {"documents": run() | beam.Create(PIECES)} | WriteDataset(output=str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_column_of_addresses_that_the_user_has_is_kept(tmp_path: Path) -> None:
    batch = pa.record_batch({"address": ["1 Main Street"]})
    with run() as pipeline:
        {"documents": pipeline | beam.Create([batch])} | WriteDataset(output=str(tmp_path / "out"))
    assert pq.read_table(tmp_path / "out/documents").to_pylist() == [{"address": "1 Main Street"}]
