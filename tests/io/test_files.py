"""Patterns to numbered files."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from beam_etl import schema
from beam_etl.io.errors import InputError
from beam_etl.io.files import input_format, match_files
from beam_etl.io.formats import FileEntry, format_of
from beam_etl.io.stores import store_of

TREE = (
    "a.parquet",
    "b.PARQUET",
    "notes.md",
    "day=1/c.parquet",
    "day=1/d.jsonl",
    "day=1/deep/e.jsonl.gz",
    "day=2/f.parquet",
    "odd[1]/g.parquet",
    ".hidden/h.parquet",
    "_staging/i.parquet",
    "_k.parquet",
    "z,z.parquet",
)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for size, name in enumerate(TREE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "empty").mkdir()
    (tmp_path / "files.txt").write_text("day=2/f.parquet\n\nday=1/*.jsonl\n")
    (tmp_path / "only").mkdir()
    (tmp_path / "only/x.csv").write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(files: Iterable[FileEntry]) -> list[str]:
    """Paths as seen from the tree."""
    assert all(os.path.isabs(file.path) for file in files)
    return [os.path.relpath(file.path) for file in files]


PATTERNS = {
    "a file": ("a.parquet", ["a.parquet"]),
    "a file, written another way": ("./day=1/../a.parquet", ["a.parquet"]),
    "a glob": ("*.parquet", ["a.parquet", "z,z.parquet"]),
    "a glob of folders": ("day=*/*.parquet", ["day=1/c.parquet", "day=2/f.parquet"]),
    "a glob of characters": ("day=[2-9]/?.parquet", ["day=2/f.parquet"]),
    "any depth": ("day=1/**", ["day=1/c.parquet", "day=1/d.jsonl", "day=1/deep/e.jsonl.gz"]),
    "any depth, by suffix": ("**.jsonl*", ["day=1/d.jsonl", "day=1/deep/e.jsonl.gz"]),
    "a folder": ("day=1", ["day=1/c.parquet", "day=1/d.jsonl", "day=1/deep/e.jsonl.gz"]),
    "a folder, with a slash": ("day=2/", ["day=2/f.parquet"]),
    "a folder that looks like a glob": ("odd[1]", ["odd[1]/g.parquet"]),
    "a file that looks like a glob": ("odd[1]/g.parquet", ["odd[1]/g.parquet"]),
    "several": ("day=2,a.parquet , day=2/*", ["a.parquet", "day=2/f.parquet"]),
    "a list of files": ("@files.txt", ["day=1/d.jsonl", "day=2/f.parquet"]),
    "hidden, by name": ("_k.parquet", ["_k.parquet"]),
    "hidden, by a glob of its own": ("_*/*.parquet", ["_staging/i.parquet"]),
}


@pytest.mark.parametrize(("pattern", "expected"), PATTERNS.values(), ids=PATTERNS)
def test_patterns_match(pattern: str, expected: list[str], tree: Path) -> None:
    files = match_files(pattern)
    assert named(files) == expected
    assert [file.number for file in files] == list(range(len(expected)))
    assert [file.bytes for file in files] == [TREE.index(path) for path in expected]


def test_links_to_folders_are_followed_where_a_glob_names_them(tree: Path) -> None:
    (tree / "day=3").symlink_to("day=1")
    (tree / "day=1/up").symlink_to(tree)
    assert named(match_files("day=3/*.parquet")) == ["day=3/c.parquet"]
    assert named(match_files("day=*/c.parquet")) == ["day=1/c.parquet", "day=3/c.parquet"]
    found = named(match_files("day=*/**.gz"))
    assert found == ["day=1/deep/e.jsonl.gz", "day=3/deep/e.jsonl.gz"]


def test_a_folder_of_everything_has_the_data_files_only(tree: Path) -> None:
    expected = [name for name in TREE if name[0] not in "._" and name != "notes.md"]
    assert named(match_files(".")) == sorted([*expected, "files.txt"])
    assert {file.path for file in match_files(str(tree), format="text")} == {
        str(tree / name) for name in [*expected, "notes.md", "files.txt", "only/x.csv"]
    }


def test_a_sequence_may_hold_commas_and_one_file_is_read_once(tree: Path) -> None:
    files = match_files(["z,z.parquet", str(tree / "z,z.parquet"), "./z*"])
    assert [file.path for file in files] == [str(tree / "z,z.parquet")]


def test_a_dataset_tells_its_files_itself(tree: Path) -> None:
    files = match_files(
        "day=1,day=2", dataset_files=lambda folder: [(f"{folder}/x", 7)] if folder == "day=1" else None
    )
    assert named(files) == ["day=1/x", "day=2/f.parquet"]
    assert [file.bytes for file in files] == [7, 6]


MISSING = {
    "no such file": (
        "day=1/x.parquet",
        "no file in 'day=1/x.parquet'; the nearest folder that exists is 'day=1'",
    ),
    "nothing below": (
        "day=9/*/x.parquet",
        "no file matches 'day=9/*/x.parquet'; the nearest folder that exists is '{cwd}'",
    ),
    "nothing that matches": (
        "day=1/*.csv",
        "no file matches 'day=1/*.csv'; the nearest folder that exists is 'day=1'",
    ),
    "an empty folder": ("empty", "no file in 'empty'; the nearest folder that exists is '{cwd}'"),
    "no data in the folder": ("only", "only: no file with a known suffix"),
    "no list": ("@lists/no.txt", "lists/no.txt: no such list of files"),
    "nothing": (" , ", "no input pattern in ' , '"),
    "unknown filesystem": ("nope://bucket/*", "nope://bucket/*: Unable to get filesystem"),
}


@pytest.mark.parametrize(("pattern", "message"), MISSING.values(), ids=MISSING)
def test_what_matches_nothing_is_an_error(pattern: str, message: str, tree: Path) -> None:
    with pytest.raises(InputError) as caught:
        match_files(pattern)
    assert str(caught.value).startswith(message.replace("{cwd}", os.getcwd()))


def test_more_files_than_addresses_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MAX_FILES", 2)
    with pytest.raises(InputError, match="3 files match; a run reads at most 2. Compact them"):
        match_files("day=1")


class Listed(list[os.DirEntry[str]]):
    """A listing, open as those of os.scandir are."""

    def __enter__(self) -> "Listed":
        return self

    def __exit__(self, *raised: object) -> None:
        """Nothing is open."""


def test_a_file_that_goes_while_its_folder_is_listed_is_left_out(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def then_gone(folder: str) -> Listed:
        listed = Listed(scandir(folder))
        (tree / "day=1/d.jsonl").unlink(missing_ok=True)
        return listed

    monkeypatch.setattr(os, "scandir", then_gone)
    assert named(match_files("day=1")) == ["day=1/c.parquet", "day=1/deep/e.jsonl.gz"]


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="names of files are text there")
def test_a_name_that_is_no_text_is_an_error(tree: Path) -> None:
    (tree / "bad").mkdir()
    (tree / os.fsdecode(b"bad/\xff.jsonl")).touch()
    with pytest.raises(InputError, match=r"bad/.udcff.jsonl: the file's name is not UTF-8"):
        match_files("bad")


def test_one_format_for_all_files(tree: Path) -> None:
    assert input_format(match_files("**.parquet")).name == "parquet"
    assert input_format(match_files("."), "jsonl").name == "jsonl"
    with pytest.raises(
        InputError, match=r"several formats: parquet \(\S+/day=1/c.parquet\), jsonl \(\S+/day=1/d.jsonl\)"
    ):
        input_format(match_files("day=1"))
    with pytest.raises(InputError, match=r"notes.md: no known suffix .* Use --format=NAME"):
        input_format(match_files("*.md"))
    with pytest.raises(InputError, match="no format 'csv'; there are parquet, avro, jsonl, text, textfile"):
        match_files("only", "csv")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b.parquet", "parquet"),
        ("b.PQ", "parquet"),
        ("b.avro", "avro"),
        ("b.json", "jsonl"),
        ("b.ndjson.gz", "jsonl"),
        ("b.JSONL.ZST", "jsonl"),
        ("b.txt.gz", "text"),
        ("b.parquet.gz", None),
        ("b.gz", None),
        ("parquet", None),
        ("a.parquet/b", None),
    ],
)
def test_the_suffix_tells_the_format(path: str, name: str | None) -> None:
    known = format_of(path)
    assert (known.name if known else None) == name


MARKED = ("in/a.jsonl", "in/sub", "in/sub-b.jsonl", "in/sub/c.jsonl", "in/sub/deep", "in/sub/deep/d.jsonl")


@pytest.mark.parametrize("pattern", ["in", "in/**"])
def test_objects_that_stand_for_folders_are_no_files(pattern: str, memory_bucket: str) -> None:
    """Of `in/sub/`, without content, the library tells the name `in/sub`."""
    for name in MARKED:
        store_of(memory_bucket).create(f"{memory_bucket}/{name}", b"{}" if name.endswith("jsonl") else b"")
    store_of(memory_bucket).create(f"{memory_bucket}/in/empty.jsonl", b"")
    found = match_files(f"{memory_bucket}/{pattern}", format="jsonl")
    wanted = sorted([*(name for name in MARKED if name.endswith("jsonl")), "in/empty.jsonl"])
    assert [file.path for file in found] == [f"{memory_bucket}/{name}" for name in wanted]
