"""A dataset as it was written passes; whatever byte of it differs is found, and the file named."""

import hashlib
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl import WriteDataset
from beam_etl.io import manifest
from beam_etl.pipelines import verify
from tests.beam import run
from tests.datasets import publish
from tests.faults import LOCAL, FaultReport

ROWS = 300
BATCH = pa.record_batch(
    {"id": [f"document {n}" for n in range(ROWS)], "text": ["Grüße, Welt " * (n % 5) for n in range(ROWS)]}
)


def write(output: Path, **options: object) -> None:
    with run() as pipeline:
        documents = pipeline | beam.Create([BATCH])
        {"documents": documents} | WriteDataset(output=str(output), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two versions, the second with a list of files beside its manifest."""
    output = tmp_path_factory.mktemp("sound") / "dataset"
    write(output)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "LISTED_FILES", 0)
        write(output, append=True)
    assert sum(path.is_file() for path in output.rglob("*")) == 5
    return output


@pytest.mark.parametrize("format_", ["parquet", "avro", "jsonl"])
def test_a_dataset_as_it_was_written_passes_and_all_of_it_is_read(format_: str, tmp_path: Path) -> None:
    write(tmp_path / "out", format=format_)
    write(tmp_path / "out", format=format_, append=True)
    report = verify.verify(str(tmp_path / "out"))
    assert list(report.lines()) == []
    assert report.rows == 2 * ROWS
    assert report.bytes == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("flips", [120, pytest.param(2000, marks=pytest.mark.long)])
def test_every_bit_flip_is_found_and_its_file_named(
    flips: int, versions: Path, tmp_path: Path, faults: FaultReport
) -> None:
    copy, choice = tmp_path / "copy", random.Random(flips)
    shutil.copytree(versions, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    for number in range(flips):
        path = files[number % len(files)]
        content = path.read_bytes()
        at = choice.randrange(len(content))
        damaged = bytearray(content)
        damaged[at] ^= 1 << choice.randrange(8)
        path.write_bytes(damaged)
        report = verify.verify(str(copy), threads=1)
        told = "\n".join(report.lines())
        assert not report.sound, f"{path}, byte {at}"
        assert path.name in told, f"{path}, byte {at}: {told}"
        path.write_bytes(content)
    assert verify.verify(str(copy)).sound
    faults.fault(
        LOCAL, "a bit of a file of the dataset is another one", flips, "`verify` names the file each time"
    )


def truncate(path: Path) -> None:
    os.truncate(path, 100)


def put_other_rows(path: Path) -> None:
    pq.write_table(pa.table({"id": ["another"]}), path)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "gone": (Path.unlink, "absent file"),
    "cut off": (truncate, "size of a file"),
    "another file": (put_other_rows, "size of a file"),
}


@pytest.mark.parametrize(("damage", "kind"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_once_and_the_others_are_read(
    damage: Callable[[Path], None],
    kind: str,
    versions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = shutil.copytree(versions, tmp_path / "copy")
    path = min(copy.glob("documents/*"))
    damage(path)
    assert verify.run([str(copy)]) == 1
    said = capsys.readouterr().out
    assert said.count(path.name) == 1
    assert f"{kind}: 1\n" in said
    assert f"damaged: {kind}." in said
    assert f"{ROWS} rows" in said


def test_what_a_manifest_says_wrongly_of_a_file_is_found(tmp_path: Path) -> None:
    write(tmp_path)
    first = manifest.version(str(tmp_path), 1)
    (file,) = first.files
    assert publish(tmp_path, replace(first, number=2, files=(replace(file, rows=ROWS + 1),)))
    assert verify.verify(str(tmp_path)).kinds == {"versions of a file": 1}
    os.unlink(manifest.manifest_path(str(tmp_path), 1))
    assert verify.verify(str(tmp_path)).kinds == {"rows of a file": 1}


def test_a_page_that_was_damaged_before_it_was_hashed_is_found(tmp_path: Path) -> None:
    """Its checksum is right, and that of its page isn't."""
    write(tmp_path)
    first = manifest.version(str(tmp_path), 1)
    (file,) = first.files
    content = bytearray((tmp_path / file.path).read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / file.path).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    assert publish(tmp_path, replace(first, number=2, files=(replace(file, sha256=digest),)))
    os.unlink(manifest.manifest_path(str(tmp_path), 1))
    assert verify.verify(str(tmp_path)).kinds == {"damaged file": 1}


def test_a_folder_that_is_no_dataset_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify.run([str(tmp_path)]) == 2
    assert "no dataset" in capsys.readouterr().err
