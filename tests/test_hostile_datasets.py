"""Datasets whose manifests or files are those that have broken readers: told by every command, and left as they are."""

import hashlib
import os
import runpy
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from beam_etl.io import manifest
from beam_etl.io.index.files import DOCUMENTS, POSTINGS
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.pipelines import (
    append,
    check_index,
    clean,
    compact,
    compact_index,
    describe,
    index_segments,
    inverted_index,
    score_windows,
    search,
    show,
    verify,
)
from tests import small_indexes
from tests.datasets import publish

TOOL = runpy.run_path(str(Path(__file__).parents[1] / "tools/make_hostile_page.py"))

Command = Callable[[Sequence[str]], int]

ABOUT_DATASETS: dict[str, tuple[Command, tuple[str, ...]]] = {
    "append": (append.run, ("--run=aaaaaaaaaaaa",)),
    "clean": (clean.run, ("--idle_hours=0",)),
    "compact": (compact.run, ()),
    "describe": (describe.run, ()),
    "index_segments": (index_segments.run, ("--output={folder}-out",)),
    "score_windows": (score_windows.run, ("--output={folder}-out",)),
    "show": (show.run, ()),
    "verify": (verify.run, ()),
}


def collection(shared: Path, known_as: str) -> list[Path]:
    found: list[Path] = TOOL["files"](shared / "data/hostile")[known_as]
    return found


@pytest.mark.parametrize(("command", "flags"), ABOUT_DATASETS.values(), ids=ABOUT_DATASETS)
def test_a_manifest_that_is_none_is_told_and_nothing_is_removed(
    command: Command,
    flags: tuple[str, ...],
    shared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = Path(manifest.manifest_path(str(tmp_path), 1))
    data = tmp_path / "documents/part-00000-aaaaaaaaaaaa-b.parquet"
    for folder in (path.parent, data.parent):
        folder.mkdir()
    data.write_bytes(b"rows")
    for hostile in collection(shared, "jsonl"):
        shutil.copyfile(hostile, path)
        assert command([str(tmp_path), *(flag.format(folder=tmp_path) for flag in flags)]) in (1, 2), (
            hostile.name
        )
        said = "".join(capsys.readouterr())
        assert str(tmp_path) in said, f"{hostile.name}: {said}"
        assert data.read_bytes() == b"rows", hostile.name
        assert path.read_bytes() == hostile.read_bytes(), hostile.name


def publish_changed(dataset: Path, path: str, content: bytes) -> None:
    """The next version has other bytes in one of its files, and says so: its checksum is right."""
    current = manifest.latest(str(dataset))
    assert current is not None
    (dataset / path).write_bytes(content)
    told = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    files = tuple(replace(file, **told) if file.path == path else file for file in current.files)
    assert publish(dataset, replace(current, number=current.number + 1, files=files))
    os.unlink(manifest.manifest_path(str(dataset), current.number))


def test_each_damaged_file_of_a_dataset_is_named_though_its_checksum_is_right(
    shared: Path, tmp_path: Path
) -> None:
    files, damaged = [], []
    for number, hostile in enumerate(collection(shared, "parquet")):
        path = f"documents/part-{number:05d}-aaaaaaaaaaaa-b.parquet"
        content = hostile.read_bytes()
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
        documents, rejects = TOOL["read"](hostile, "parquet")
        digest = hashlib.sha256(content).hexdigest()
        files.append(DataFile("documents", path, documents, len(content), digest))
        if rejects:
            damaged.append(path)
    assert publish(tmp_path, Manifest(1, "aaaaaaaaaaaa", tuple(files), {"documents": {}}))
    report = verify.verify(str(tmp_path))
    assert report.kinds == {"damaged file": len(damaged)}
    assert len(damaged) > 50


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    small_indexes.write(folder / "in")
    with small_indexes.small():
        assert inverted_index.run([f"--input={folder}/in", f"--output={folder}/index"]) == 0
    return folder / "index"


INDEX_COMMANDS: dict[str, tuple[Command, Callable[[Path], list[str]], int]] = {
    "check_index": (check_index.run, lambda folder: [str(folder)], 12),
    "search": (search.run, lambda folder: [str(folder), "the even"], 12),
    "compact_index": (
        compact_index.run,
        lambda folder: [f"--input={folder}", f"--output={folder}-compact", "--overwrite=true"],
        2,
    ),
}
"""Each command, its flags, and with how many files it is tried shortly."""


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.long)], ids=["some", "all"])
@pytest.mark.parametrize("table", [POSTINGS, DOCUMENTS])
@pytest.mark.parametrize("job", INDEX_COMMANDS)
def test_an_index_with_a_file_of_something_else_is_told(
    job: str,
    table: str,
    whole: bool,
    index: Path,
    shared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command, flags, few = INDEX_COMMANDS[job]
    found = collection(shared, "parquet")
    for number, hostile in enumerate(found if whole else found[:: len(found) // few]):
        copy = shutil.copytree(index, tmp_path / str(number))
        current = manifest.latest(str(copy))
        assert current is not None
        largest = max(current.table(table), key=lambda file: file.rows)
        if job == "compact_index":  # which goes by checksums
            shutil.copyfile(hostile, copy / largest.path)
        else:
            publish_changed(copy, largest.path, hostile.read_bytes())
        assert command(flags(copy)) in (1, 2), hostile.name
        said = "".join(capsys.readouterr())
        assert str(copy) in said, f"{hostile.name}: {said}"
        shutil.rmtree(copy)
