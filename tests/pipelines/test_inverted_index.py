"""An index against postings that plain Python makes of the same words, and against SQLite's of two test collections."""

import gzip
import json
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest
from beam_etl.io.read import ReadDocuments
from beam_etl.kernels import split_terms
from beam_etl.kernels.text import words
from beam_etl.pipelines.inverted_index import run
from tests.runs import crossed_bytes, kill_at_its_first_file

Document = dict[str, Any]
Entry = tuple[int, int, tuple[int, ...]]
"""A posting: number of the document, frequency, positions."""


@dataclass(frozen=True)
class Read:
    """An index as any reader of Parquet sees it."""

    postings: dict[str, list[Entry]]
    documents: list[dict[str, Any]]
    about: dict[str, Any]


def stored(folder: Path, table: str, order: str) -> list[dict[str, Any]]:
    """The rows of a table, by DuckDB; none where it has no files."""
    if not (folder / table).exists():
        return []
    found = duckdb.sql(f"select * from '{folder}/{table}/*.parquet' order by {order}").arrow()
    return pa.Table.from_batches(list(found), found.schema).to_pylist()


def read(folder: Path) -> Read:
    """All of an index."""
    found: dict[str, list[Entry]] = defaultdict(list)
    for row in stored(folder, "postings", "term, first_document"):
        places = iter(row.get("positions") or ())
        for document, frequency in zip(row["documents"], row["frequencies"], strict=True):
            here = tuple(next(places) for _ in range(frequency)) if "positions" in row else ()
            found[row["term"]].append((document, frequency, here))
    published = manifest.latest(str(folder))
    assert published is not None
    return Read(found, stored(folder, "documents", "document"), published.about["index"])


def expected(texts: list[str], positions: bool, rule: str = "words") -> dict[str, list[Entry]]:
    """The same in plain Python."""
    found: dict[str, list[Entry]] = defaultdict(list)
    for number, split in enumerate(words(pa.array(texts), rule).to_pylist()):
        places: dict[str, list[int]] = defaultdict(list)
        for place, word in enumerate(split):
            if len(word.encode()) <= 255:
                places[word].append(place)
        for word, here in places.items():
            found[word].append((number, len(here), tuple(here) if positions else ()))
    return found


def write(rows: list[Document], folder: Path, files: int = 1, group_rows: int = 100_000) -> str:
    """The documents as Parquet, in order."""
    folder.mkdir(parents=True)
    for number in range(files):
        part = rows[number * len(rows) // files : (number + 1) * len(rows) // files]
        pq.write_table(pa.Table.from_pylist(part), folder / f"{number:02}.parquet", row_group_size=group_rows)
    return str(folder)


def build(source: str | Path, output: Path, *flags: str) -> Read:
    assert run([f"--input={source}", f"--output={output}", *flags]) == 0
    return read(output)


@pytest.fixture(scope="module")
def rows(webtext: list[Document]) -> list[Document]:
    """Some real documents, in 69 languages."""
    return webtext[::4]


@pytest.mark.parametrize(
    "positions", [pytest.param(False, marks=pytest.mark.long), True], ids=["frequencies", "positions"]
)
def test_an_index_has_the_postings_of_real_documents(
    positions: bool, rows: list[Document], tmp_path: Path
) -> None:
    found = build(
        write(rows, tmp_path / "in", files=3), tmp_path / "out", f"--positions={str(positions).lower()}"
    )
    wanted = expected([row["text"] for row in rows], positions)
    assert found.postings == wanted
    lengths: dict[int, int] = defaultdict(int)
    for entries in wanted.values():
        for document, frequency, _ in entries:
            lengths[document] += frequency
    assert [(row["document"], row["id"], row["url"], row["length"]) for row in found.documents] == [
        (number, row["id"], row["url"], lengths[number]) for number, row in enumerate(rows)
    ]
    assert found.about["documents"] == len(rows)
    assert found.about["tokens"] == sum(lengths.values())
    assert found.about["average_length"] == sum(lengths.values()) / len(rows)


@dataclass(frozen=True)
class Sharding:
    """How the same documents lie in files, and how they are read."""

    files: int
    group_rows: int
    split_bytes: int = 16 << 20
    inverted_bytes: int = 16 << 20
    element_bytes: int = 16 << 20
    flags: tuple[str, ...] = ()


SHARDINGS = {
    "small row groups": Sharding(1, 50, split_bytes=1),
    "many files": Sharding(17, 20),
    "some texts at a time": Sharding(2, 10, inverted_bytes=100_000, element_bytes=1000),
    "one worker": Sharding(3, 100, flags=("--direct_num_workers=1",)),
}


@pytest.mark.parametrize(
    "sharding",
    [
        pytest.param(
            sharding, id=name, marks=[pytest.mark.long] * (name in ("one worker", "small row groups"))
        )
        for name, sharding in SHARDINGS.items()
    ],
)
def test_an_index_doesnt_depend_on_sharding(
    sharding: Sharding, rows: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = rows[:400]
    plain = build(write(some, tmp_path / "one"), tmp_path / "a", "--positions=true")
    source = write(some, tmp_path / "other", sharding.files, sharding.group_rows)
    smaller = partial(ReadDocuments, split_bytes=sharding.split_bytes)
    monkeypatch.setattr("beam_etl.io.file_source.ReadDocuments", smaller)
    monkeypatch.setattr("beam_etl.transforms.inverted_index.INVERTED_BYTES", sharding.inverted_bytes)
    monkeypatch.setattr("beam_etl.transforms.inverted_index.ELEMENT_BYTES", sharding.element_bytes)
    other = build(source, tmp_path / "b", "--positions=true", *sharding.flags)
    assert other.postings == plain.postings
    assert other.about == plain.about
    blocks = [stored(tmp_path / name, "postings", "term, first_document") for name in "ab"]
    assert blocks[0] == blocks[1]


def test_rejects_have_no_number(tmp_path: Path) -> None:
    lines = [
        '{"id": "a", "text": "one two"}',
        "{broken",
        '{"id": "b", "text": null}',
        '{"id": "c", "text": "two"}',
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    found = build(tmp_path / "in.jsonl", tmp_path / "out", "--max_reject_fraction=1")
    assert found.postings == {"one": [(0, 1, ())], "two": [(0, 1, ()), (1, 1, ())]}
    assert [row["id"] for row in found.documents] == ["a", "c"]
    assert pq.read_table(tmp_path / "out/rejects").num_rows == 2


def test_words_that_are_too_long_are_counted_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "a", "text": f"one {'x' * 255} {'y' * 256} two"}))
    found = build(tmp_path / "in.jsonl", tmp_path / "out", "--positions=true")
    assert found.postings == {"one": [(0, 1, (0,))], "x" * 255: [(0, 1, (1,))], "two": [(0, 1, (3,))]}
    assert (found.documents[0]["length"], found.about["left_out"]) == (3, 1)


def test_documents_without_words_are_documents(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": ""}\n{"id": "b", "text": "..."}\n')
    found = build(tmp_path / "in.jsonl", tmp_path / "out")
    assert (found.postings, [row["length"] for row in found.documents]) == ({}, [0, 0])


def test_terms_that_are_split_have_the_same_postings(
    rows: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split_terms, "SAMPLED", 1)
    monkeypatch.setattr(split_terms, "SPLIT_BYTES", 300)
    found = build(write(rows[:300], tmp_path / "in", files=2), tmp_path / "out", "--positions=true")
    assert found.postings == expected([row["text"] for row in rows[:300]], positions=True)
    split = pq.read_table(tmp_path / "out/split_terms").to_pylist()
    assert {"the", "of", "and"} <= {row["term"] for row in split}


@pytest.mark.parametrize("collection", ["cranfield", "cisi"])
def test_the_index_of_a_collection_is_that_of_sqlite(collection: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/ir" / collection
    flags = ("--words=alphanumeric", "--positions=true", "--text_column=contents")
    found = build(folder / "docs.jsonl.gz", tmp_path / "out", *flags)
    gold: dict[str, dict[int, list[int]]] = defaultdict(partial(defaultdict, list))  # type: ignore[arg-type]
    with gzip.open(folder / "gold_fts5_positions.tsv.gz", "rt", encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            term, document, position = line.rstrip("\n").split("\t")
            gold[term][int(document) - 1].append(int(position))  # rowids count from 1
    assert found.postings == {
        term: [(number, len(places), tuple(places)) for number, places in sorted(documents.items())]
        for term, documents in gold.items()
    }
    with gzip.open(folder / "gold_fts5_vocab.tsv.gz", "rt", encoding="utf-8") as lines:
        next(lines)
        vocabulary = {
            term: (int(df), int(cf)) for term, df, cf in (line.rstrip("\n").split("\t") for line in lines)
        }
    terms = pq.read_table(tmp_path / "out/terms").to_pylist()
    assert {
        row["term"]: (row["document_frequency"], row["collection_frequency"]) for row in terms
    } == vocabulary


def test_terms_tell_the_bytes_that_hold_them(
    rows: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beam_etl.io.index.files.ROW_GROUP_BYTES", 20_000)
    build(write(rows[:300], tmp_path / "in"), tmp_path / "out")
    (postings,), (terms,) = ((tmp_path / "out" / table).glob("*.parquet") for table in ("postings", "terms"))
    file = pq.ParquetFile(postings)
    assert file.num_row_groups > 5
    for row in pq.read_table(terms).to_pylist()[::97]:
        groups = range(row["row_group"], row["row_group"] + row["row_groups"])
        held = [
            term
            for group in groups
            for term in file.read_row_group(group, columns=["term"])["term"].to_pylist()
        ]
        assert row["term"] in held
        columns = [file.metadata.row_group(group).column(at) for group in groups for at in range(10)]
        begins = [column.dictionary_page_offset or column.data_page_offset for column in columns]
        ends = [begin + column.total_compressed_size for begin, column in zip(begins, columns, strict=True)]
        assert (row["offset"], row["offset"] + row["bytes"]) == (min(begins), max(ends))


def test_the_plan_expects_what_crosses(
    webtext: list[Document], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(webtext, tmp_path / "in", files=4, group_rows=200)
    assert run([f"--input={source}", f"--output={tmp_path}/out", "--plan=json"]) == 0
    planned = sum(step["expected_bytes"] or 0 for step in json.loads(capsys.readouterr().out)["shuffles"])
    assert run([f"--input={source}", f"--output={tmp_path}/out"]) == 0
    assert 0.75 < crossed_bytes(capsys.readouterr().out) / planned < 1.25


@pytest.mark.parametrize("flag", ["--words=letters", "--output_format=avro"])
def test_what_an_index_cant_be_is_a_usage_error(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "b"}')
    assert run([f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out", flag]) == 2
    assert flag.partition("=")[2] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_killed_build_publishes_nothing_and_can_be_run_again(rows: list[Document], tmp_path: Path) -> None:
    source = write(rows[:200], tmp_path / "in")
    kill_at_its_first_file("inverted_index", [f"--input={source}", f"--output={tmp_path}/out"])
    assert manifest.latest(str(tmp_path / "out")) is None
    assert list((tmp_path / "out/_staging").rglob("part-*"))
    assert build(source, tmp_path / "out").postings == expected(
        [row["text"] for row in rows[:200]], positions=False
    )
    assert not (tmp_path / "out/_staging").exists()
