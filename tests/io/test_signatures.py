import multiprocessing
import os
import pickle
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import DatasetError
from beam_etl.io import manifest, publishing, signatures
from beam_etl.io.commit import CONFLICT, FAILED, PUBLISHED
from beam_etl.io.errors import InputError
from beam_etl.io.signatures import (
    BUCKETS,
    KEYS,
    SIGNATURES,
    EarlierSignatures,
    SignatureParameters,
    WriteSignatures,
    open_signatures,
    signature_partitions,
)
from beam_etl.kernels.partition import hash_partition
from beam_etl.kernels.unicode_table import UNICODE_VERSION
from beam_etl.observe.plan import plan
from tests.beam import run
from tests.datasets import publish

DOCUMENTS, BANDS = 3000, 4
PARAMETERS = SignatureParameters(ngram=5, bands=BANDS, rows=8, num_perm=32, seed=1, low_bits=8)


def tables() -> dict[str, pa.Table]:
    """What a run would keep of its documents; every tenth has no low bytes."""
    random = np.random.default_rng(1)
    document = (np.uint64(1) << np.uint64(63)) + np.arange(DOCUMENTS, dtype=np.uint64)
    low = [None if i % 10 == 0 else random.bytes(32) for i in range(DOCUMENTS)]
    signed = {
        "document": document,
        "id": [f"id {i}" for i in range(DOCUMENTS)],
        "file": [f"folder/{i // 100}.parquet" for i in range(DOCUMENTS)],
        "position": range(DOCUMENTS),
        "low": low,
    }
    bucket = random.integers(0, 1 << 64, DOCUMENTS * BANDS, np.uint64)
    bucket[: DOCUMENTS // 2] = bucket[0]
    return {
        BUCKETS: pa.table({"bucket": bucket, "document": np.repeat(document, BANDS)}),
        SIGNATURES: pa.table(signed, PARAMETERS.schema_of(SIGNATURES)),
    }


TABLES = tables()


def write(
    folder: Path, partitions: int, main: str = PUBLISHED, verdict: str = PUBLISHED, **options: object
) -> None:
    with run() as pipeline:
        inputs = {
            name: pipeline | name >> beam.Create(table.to_batches(500)).with_output_types(pa.RecordBatch)
            for name, table in TABLES.items()
        }
        after = pipeline | "Main" >> beam.Create([main])
        writing = WriteSignatures(
            output=str(folder), parameters=PARAMETERS, after=after, partitions=partitions, **options
        )
        assert_that(inputs | writing, equal_to([verdict]))


def rows(batches: object) -> list[dict[str, object]]:
    return [row for batch in batches for row in batch.to_pylist()]  # type: ignore[attr-defined]


def in_order(found: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return sorted(((*row.values(),) for row in found), key=lambda row: (row[0], row[1]))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> EarlierSignatures:
    folder = tmp_path_factory.mktemp("signatures") / "earlier"
    write(folder, partitions=8)
    (found,) = open_signatures([str(folder)], PARAMETERS)
    return found


@pytest.mark.parametrize("table", KEYS)
@pytest.mark.parametrize("partitions", [1, 2, 8, 32])
def test_any_number_of_partitions_reads_each_row_once_and_where_it_belongs(
    written: EarlierSignatures, table: str, partitions: int
) -> None:
    travelled = pickle.loads(pickle.dumps(written))  # noqa: S301 - our own bytes
    everything = []
    for partition in range(partitions):
        for batch in travelled.read(table, partition, partitions):
            assert (hash_partition(batch, (KEYS[table],), partitions) == partition).all()
            everything += batch.to_pylist()
    assert in_order(everything) == in_order(TABLES[table].to_pylist())


def test_only_the_columns_asked_for_are_given(written: EarlierSignatures) -> None:
    for partitions in (8, 16):
        found = [rows(written.read(SIGNATURES, part, partitions, ["id"])) for part in range(partitions)]
        assert sorted(row["id"] for part in found for row in part) == sorted(
            TABLES[SIGNATURES]["id"].to_pylist()
        )
        assert {tuple(row) for part in found for row in part} == {("id",)}


def test_each_partition_is_one_sorted_parquet_file_that_the_manifest_tells(
    written: EarlierSignatures,
) -> None:
    found = manifest.latest(written.folder)
    assert found is not None
    assert {table: (part["by"], part["order"]) for table, part in found.partitioning.items()} == {
        table: (
            [{"function": "hash", "version": 1, "columns": [key], "partitions": 8, "name": f"{key}_bucket"}],
            sorted({key, "document"}),
        )
        for table, key in KEYS.items()
    }
    assert found.about["signatures"]["ngram"] == 5
    for table, key in KEYS.items():
        assert len(found.table(table)) == 8
        for file in found.table(table):
            stored = pq.read_table(f"{written.folder}/{file.path}")
            assert stored.equals(stored.sort_by([(key, "ascending"), ("document", "ascending")]))
            number = int(Path(file.path).name.split("-")[1])
            assert {*hash_partition(stored.combine_chunks().to_batches()[0], (key,), 8).tolist()} == {number}
    assert written.rows == {name: table.num_rows for name, table in TABLES.items()}


MISMATCHES = {
    "shingles": ({"ngram": 3}, "ngram is 5 there, 3 here. Use --ngram=5"),
    "bands": (
        {"bands": 2, "rows": 16},
        "bands is 4 there, 2 here.*--bands=4.*rows is 8 there.*--band_rows=8",
    ),
    "permutations": ({"num_perm": 128}, "num_perm is 32 there, 128 here.*--bands and --band_rows"),
    "seed": ({"seed": 2}, "--seed=1"),
    "within": ({"within": "domain"}, "within is None there, domain here. Leave out --within"),
    "Unicode": ({"unicode": "1.0"}, f"unicode is {UNICODE_VERSION} there, 1.0 here. Write them anew"),
    "more low bits": (
        {"low_bits": 16},
        "have 8 bits to verify candidates by, this run needs 16.*--threshold",
    ),
}


@pytest.mark.parametrize(("other", "message"), MISMATCHES.values(), ids=MISMATCHES)
def test_other_parameters_are_refused_with_what_to_set(
    written: EarlierSignatures, other: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=f"{written.folder}: .*{message}"):
        open_signatures([written.folder], replace(PARAMETERS, **other))  # type: ignore[arg-type]


def test_a_run_that_verifies_nothing_reads_signatures_with_low_bytes(written: EarlierSignatures) -> None:
    (found,) = open_signatures([written.folder], replace(PARAMETERS, low_bits=0))
    assert found.low_bits == 8


def test_what_is_no_dataset_of_signatures_is_refused(tmp_path: Path) -> None:
    publish(tmp_path / "other", manifest.Manifest(1, "run", (), {"documents": {}}))
    for folder, message in {"other": "a dataset of documents, without", "absent": "no dataset"}.items():
        with pytest.raises(InputError, match=f"{folder}: {message}.*--write_signatures"):
            open_signatures([str(tmp_path / folder)], PARAMETERS)


def test_nothing_is_published_when_the_documents_are_not(tmp_path: Path) -> None:
    write(tmp_path / "new", partitions=2, main=CONFLICT, verdict=FAILED)
    with pytest.raises(InputError, match="no dataset"):
        open_signatures([str(tmp_path / "new")], PARAMETERS)
    assert list((tmp_path / "new").glob("*/part-*")) == []


def test_the_dataset_that_was_there_stays_when_the_documents_are_not_published(tmp_path: Path) -> None:
    write(tmp_path / "out", partitions=1)
    before = manifest.latest(str(tmp_path / "out"))
    write(tmp_path / "out", partitions=2, main=CONFLICT, verdict=FAILED, overwrite=True)
    assert manifest.latest(str(tmp_path / "out")) == before
    (found,) = open_signatures([str(tmp_path / "out")], PARAMETERS)
    assert len(rows(found.read(SIGNATURES, 0, 1))) == DOCUMENTS


def killed_at_the_commit(folder: str) -> None:
    publishing.publish = lambda *_: os._exit(9)
    write(Path(folder), partitions=2)


def test_a_killed_run_leaves_no_dataset_and_the_next_one_clears_up(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=killed_at_the_commit, args=(str(tmp_path / "out"),)
    )
    process.start()
    process.join()
    assert process.exitcode == 9
    left = set((tmp_path / "out").rglob("part-*"))
    assert len(left) == 4
    with pytest.raises(InputError, match="no dataset"):
        open_signatures([str(tmp_path / "out")], PARAMETERS)
    write(tmp_path / "out", partitions=2)
    found = manifest.latest(str(tmp_path / "out"))
    assert found is not None
    on_disk = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("part-*")}
    assert on_disk == {file.path for file in found.files}


def test_a_dataset_that_was_replaced_meanwhile_is_not_mixed_with_the_new_one(tmp_path: Path) -> None:
    write(tmp_path / "out", partitions=1)
    (found,) = open_signatures([str(tmp_path / "out")], PARAMETERS)
    write(tmp_path / "out", partitions=2, overwrite=True)
    with pytest.raises(DatasetError, match="was replaced"):
        rows(found.read(BUCKETS, 0, 1))


def test_writing_takes_two_shuffles_of_the_expected_bytes(tmp_path: Path) -> None:
    expected = {BUCKETS: 10**9, SIGNATURES: 2 * 10**9}
    pipeline = run()
    empty = pipeline | beam.Create([]).with_output_types(pa.RecordBatch)
    writing = WriteSignatures(
        output=str(tmp_path / "out"),
        parameters=PARAMETERS,
        after=pipeline | "Main" >> beam.Create([PUBLISHED]),
        expected_bytes=expected,
    )
    {BUCKETS: empty, SIGNATURES: empty} | writing
    found = plan(pipeline).shuffles
    assert {(step.by, step.expected_bytes) for step in found} == {
        ((KEYS[name],), expected[name]) for name in KEYS
    }
    assert {step.partitions for step in found} == {256}


SIZES = {None: 64, 0: 1, 8 << 20: 1, 9 << 20: 2, 10**9: 128, 10**15: signatures.MAX_PARTITIONS}


@pytest.mark.parametrize(("size", "partitions"), SIZES.items())
def test_partitions_are_a_power_of_two(size: int | None, partitions: int) -> None:
    assert signature_partitions(size) == partitions


def test_other_numbers_of_partitions_are_refused(written: EarlierSignatures, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="power of two.*got 3"):
        WriteSignatures(output=str(tmp_path), parameters=PARAMETERS, after=None, partitions=3)  # type: ignore[arg-type]
    for partition, partitions, message in ((0, 3, "power of two"), (8, 8, "no partition 8 of 8")):
        with pytest.raises(ValueError, match=message):
            rows(written.read(BUCKETS, partition, partitions))
