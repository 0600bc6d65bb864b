"""A sound index passes; whatever is wrong with one is found, though its checksums are right, and told."""

import hashlib
import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_etl.io.index.manifest import open_index
from beam_etl.io.report import Report
from beam_etl.pipelines import check_index, inverted_index
from tests.index_lies import load, save
from tests.small_indexes import DOCUMENTS, checked, document, write


def test_the_index_of_these_tests_has_what_they_need(sound_index: Path) -> None:
    index = load(sound_index)
    assert len(index.postings) == len(index.documents) == 4
    assert [row["term"] for row in index.split_terms] == ["the"]
    assert sum(any(row["term"] == "the" for row in rows) for rows in index.postings.values()) == 2
    assert len(index.blocks("even")) > 2
    terms = [row for path in (sound_index / "terms").iterdir() for row in pq.read_table(path).to_pylist()]
    assert max(row["row_groups"] for row in terms) > 1


@pytest.mark.parametrize("threads", [1, 3])
def test_a_sound_index_passes(sound_index: Path, indexed: Path, threads: int) -> None:
    report = checked(sound_index, indexed, threads)
    assert list(report.lines()) == []
    assert report.documents == DOCUMENTS
    assert report.bytes == sum(path.stat().st_size for path in files_of(sound_index))


@pytest.mark.parametrize("flags", [(), ("--positions=true",), ("--words=python",)], ids=str)
def test_a_sound_index_of_real_documents_passes(
    webtext: list[dict[str, Any]], flags: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps(row) for row in webtext[:400]))
    build = [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out"]
    assert inverted_index.run([*build, *flags]) == 0
    report = check_index.check(f"{tmp_path}/out", [f"{tmp_path}/in.jsonl"])
    assert list(report.lines()) == []


def test_an_index_without_words_is_sound(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": ""}\n{"id": null, "text": "?"}')
    assert inverted_index.run([f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out"]) == 0
    assert list(check_index.check(f"{tmp_path}/out", [f"{tmp_path}/in.jsonl"]).lines()) == []


def test_rejected_documents_are_passed_over(tmp_path: Path) -> None:
    lines = [json.dumps(document(number)) for number in range(40)]
    lines[7:7] = ["{damaged", "[]"]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    assert inverted_index.run([f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out"]) == 0
    assert list(check_index.check(f"{tmp_path}/out", [f"{tmp_path}/in.jsonl"]).lines()) == []


def test_an_index_of_other_documents_is_told(sound_index: Path, tmp_path: Path) -> None:
    report = checked(sound_index, write(tmp_path / "in", range(1, DOCUMENTS)))
    lines = list(report.lines())
    assert lines[0] == "documents: 201"
    assert "  input: 199 are in the input, 200 in the index" in lines
    told = re.compile(r"document 3: a\.jsonl, position \d+: id is 'id4', 'id3' in the index; .*terms more")
    assert any(map(told.search, lines))
    assert len(lines) < 15


def copied(sound_index: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound_index, tmp_path / "index"))


def test_a_file_that_is_absent_is_told_and_what_it_leaves_unchecked(
    sound_index: Path, tmp_path: Path
) -> None:
    folder = copied(sound_index, tmp_path)
    next((folder / "documents").iterdir()).unlink()
    report = checked(folder)
    assert report.kinds == {"absent file": 1}
    assert {"impacts", "lengths of documents", "statistics"} <= set(report.unchecked)


def test_files_that_no_manifest_lists_are_leftovers(sound_index: Path, tmp_path: Path) -> None:
    folder = copied(sound_index, tmp_path)
    (folder / "terms" / "part-00001-abc.parquet").write_bytes(b"")
    (folder / "other").mkdir()
    (folder / "other" / "part").write_bytes(b"")
    report = checked(folder)
    assert report.sound
    assert [note.split(" is ")[0] for note in report.notes] == ["other/part", "terms/part-00001-abc.parquet"]


FILES: dict[str, tuple[Callable[[list[Any]], object], set[str]]] = {
    "rows": (lambda files: change(files, "postings", rows=7), {"rows of a file"}),
    "bytes": (lambda files: change(files, "postings", bytes=7), {"size of a file"}),
    "checksum": (lambda files: change(files, "documents", sha256="0" * 64), {"checksum of a file"}),
    "name": (
        lambda files: change(files, "terms", path="terms/part-00009-a.parquet"),
        {"name of a file", "absent file"},
    ),
    "not listed": (
        lambda files: files.remove(next(file for file in files if file.table == "terms")),
        {"absent file"},
    ),
    "listed twice": (
        lambda files: files.append(next(file for file in files if file.table == "terms")),
        {"name of a file"},
    ),
    "another table's": (
        lambda files: change(files, "terms", path=next(f.path for f in files if f.table == "postings")),
        {"size of a file"},
    ),
}


def change(files: list[Any], table: str, **values: Any) -> None:
    at = next(at for at, file in enumerate(files) if file.table == table)
    files[at] = replace(files[at], **values)


@pytest.mark.parametrize(("lie", "kinds"), FILES.values(), ids=FILES)
def test_a_manifest_that_is_wrong_about_files_is_found(
    lie: Callable[[list[Any]], object], kinds: set[str], sound_index: Path, tmp_path: Path
) -> None:
    index = load(sound_index)
    index.in_files = lambda files: (lie(files), None)[1]
    save(index, tmp_path / "index")
    assert kinds & set(checked(tmp_path / "index").kinds)


def test_a_file_of_garbage_with_a_right_checksum_is_told(sound_index: Path, tmp_path: Path) -> None:
    index = load(sound_index)

    def lie(files: list[Any]) -> None:
        for table in ("postings", "terms", "documents", "split_terms"):
            at = next(at for at, file in enumerate(files) if file.table == table)
            path = tmp_path / "index" / files[at].path
            content = path.read_bytes()[:-100]
            path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            files[at] = replace(files[at], bytes=len(content), sha256=digest)

    index.in_files = lie
    save(index, tmp_path / "index")
    assert checked(tmp_path / "index").kinds == {"damaged file": 4}


def test_pages_that_are_damaged_are_told_though_the_checksum_is_right(
    sound_index: Path, tmp_path: Path
) -> None:
    """Nor is there ever a traceback, whatever Arrow makes of it."""
    draw = random.Random(5)
    index, folder = load(sound_index), tmp_path / "index"
    save(index, folder)
    listed = [file for file in load(folder).manifest.files if file.table in ("postings", "terms")]
    for number in range(25):
        file = draw.choice(listed)
        content = bytearray((folder / file.path).read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        target = tmp_path / str(number)

        def lie(
            files: list[Any], path: str = file.path, content: bytes = bytes(content), target: Path = target
        ) -> None:
            at = next(at for at, each in enumerate(files) if each.path == path)
            (target / path).write_bytes(content)
            files[at] = replace(files[at], sha256=hashlib.sha256(content).hexdigest())

        index = load(sound_index)
        index.in_files = lie
        save(index, target)
        checked(target)


def files_of(index: Path) -> list[Path]:
    """All files of an index, but for the report of its run, which is about it and no part of it."""
    inside = (path for path in index.rglob("*") if path.is_file())
    return sorted(path for path in inside if not path.name.endswith(".report.json"))


def flip(path: Path, at: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


@pytest.mark.parametrize(
    "flips", [50, pytest.param(300, marks=pytest.mark.long)], ids=lambda flips: f"{flips} flips"
)
def test_every_bit_flip_is_found(flips: int, sound_index: Path, tmp_path: Path) -> None:
    folder, draw = copied(sound_index, tmp_path), random.Random(flips)
    files = files_of(folder)
    missed = []
    for _ in range(flips):
        path = draw.choices(files, weights=[file.stat().st_size for file in files])[0]
        at, bit = draw.randrange(path.stat().st_size), draw.randrange(8)
        flip(path, at, bit)
        if checked(folder).sound:
            missed.append((path, at, bit))
        flip(path, at, bit)
    assert missed == []
    assert checked(folder).sound


CASE = 5
"""The bit that makes a letter a capital, which JSON and hexadecimal numbers may overlook."""


@pytest.mark.slow
def test_every_byte_of_a_manifest_counts(sound_index: Path, tmp_path: Path) -> None:
    folder, missed = copied(sound_index, tmp_path), []
    path = folder / "_manifests" / "000001.json"
    for at in range(path.stat().st_size):
        for bit in (at % 5, CASE, 6, 7):
            flip(path, at, bit)
            report = Report()
            if open_index(str(folder), report) is not None and report.sound:
                missed.append((at, bit))
            flip(path, at, bit)
    assert missed == []
