"""A small index whose checksums are right, and whatever else is wrong with it: all of that is found."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_etl.kernels.partitioning import hashed
from beam_etl.transforms.partition_index import KEY
from tests.index_lies import Index, Row, load, save
from tests.small_indexes import DOCUMENTS, checked


def add(row: Row, name: str, by: Any, at: int | None = None) -> None:
    if at is None:
        row[name] += by
    else:
        row[name][at] += by


def swap(values: list[Any], one: int = 0, other: int = 1) -> None:
    values[one], values[other] = values[other], values[one]


def drop_posting(block: Row) -> None:
    """Of a block whose documents have the term once."""
    assert set(block["frequencies"]) == {1}
    block["document_frequency"] -= 1
    for name in ("documents", "frequencies", "positions"):
        del block[name][1]


def move(index: Index, term: str) -> None:
    """All of a term to another partition."""
    for number, rows in index.postings.items():
        moved = [row for row in rows if row["term"] == term]
        if moved:
            rows[:] = [row for row in rows if row["term"] != term]
            target = index.postings[(number + 1) % len(index.postings)]
            target[:] = sorted([*target, *moved], key=lambda row: (row["term"], row["first_document"]))
            return


def join_blocks(index: Index, term: str, begin: int = 0) -> None:
    """Two neighbouring blocks become one of the next width."""
    rows, (one, other) = index.rows_with(term), index.blocks(term)[begin : begin + 2]
    for name in ("documents", "frequencies", "positions"):
        one[name] += other[name]
    one.update(
        width=one["width"] + 1,
        block=one["block"] // 2,
        document_frequency=len(one["documents"]),
        last_document=other["last_document"],
    )
    rows.remove(other)


def cut_block(index: Index, term: str) -> None:
    """Of a term with one block, two."""
    rows, block = index.rows_with(term), index.block(term)
    assert set(block["frequencies"]) == {1}
    parts = []
    for half in (0, 1):
        documents = [number for number in block["documents"] if number >> 7 == half]
        lengths = [index.document(number)["length"] for number in documents]
        places = dict(zip(block["documents"], block["positions"], strict=True))
        parts.append(
            {
                "term": term,
                "width": 7,
                "block": half,
                "document_frequency": len(documents),
                "first_document": documents[0],
                "last_document": documents[-1],
                "documents": documents,
                "frequencies": [1] * len(documents),
                "positions": [places[number] for number in documents],
                "impact_frequencies": [1],
                "impact_lengths": [min(lengths)],
            }
        )
    at = rows.index(block)
    rows[at : at + 1] = parts


def rename(index: Index, term: str, other: str) -> None:
    """A term becomes another, with its place in the order and its partition."""
    for rows in index.postings.values():
        for row in rows:
            if row["term"] == term:
                row["term"] = other
        rows.sort(key=lambda row: (row["term"].encode(), row["first_document"]))


def any_term(terms: dict[int, list[Row]]) -> list[Row]:
    return next(rows for rows in terms.values() if len(rows) > 3)


def in_terms(change: Callable[[list[Row]], object]) -> Callable[[Index], None]:
    def lie(index: Index) -> None:
        index.in_terms = lambda terms: (change(any_term(terms)), None)[1]

    return lie


def in_terms_of(number: int, index: Index) -> None:
    """A term in a partition that has no postings."""
    row = {"term": "a", "document_frequency": 1, "collection_frequency": 1, "row_group": 0, "row_groups": 1}
    index.in_terms = lambda terms: terms[number].append({**row, "offset": 4, "bytes": 9})


def in_block(change: Callable[[Row], object], term: str = "even") -> Callable[[Index], None]:
    return lambda index: (change(index.block(term)), None)[1]


def in_documents(change: Callable[[list[Row]], object]) -> Callable[[Index], None]:
    return lambda index: (change(next(iter(index.documents.values()))), None)[1]


LENGTH = "length of a document"

LIES: dict[str, tuple[Callable[[Index], object], set[str]]] = {
    "frequency": (
        in_block(lambda row: add(row, "frequencies", 1, 1)),
        {"impacts", LENGTH, "number of positions"},
    ),
    "frequency of 0": (
        in_block(lambda row: add(row, "frequencies", -1, 1)),
        {"frequencies", LENGTH, "number of positions"},
    ),
    "a posting is absent": (in_block(drop_posting), {LENGTH}),
    "documents swapped": (in_block(lambda row: swap(row["documents"], 2, 3)), {"order of documents"}),
    "document twice": (
        in_block(lambda row: add(row, "documents", -2, 2)),
        {"order of documents", LENGTH},
    ),
    "document of another block": (
        in_block(lambda row: add(row, "documents", 64, -1)),
        {"bounds of a block", "first and last document", LENGTH},
    ),
    "document that isn't there": (
        in_block(lambda row: add(row, "documents", 1000, -1)),
        {"unknown document", "first and last document"},
    ),
    "document_frequency": (in_block(lambda row: add(row, "document_frequency", 1)), {"document_frequency"}),
    "fewer frequencies": (in_block(lambda row: row["frequencies"].pop()), {"document_frequency"}),
    "first_document": (
        in_block(lambda row: add(row, "first_document", 1)),
        {"first and last document"},
    ),
    "last_document": (in_block(lambda row: add(row, "last_document", -1)), {"first and last document"}),
    "number of a block": (
        in_block(lambda row: add(row, "block", 8)),
        {"bounds of a block"},
    ),
    "positions don't ascend": (
        lambda index: swap(
            next(b for b in index.blocks("the") if b["frequencies"][1] > 1)["positions"], 1, 2
        ),
        {"order of positions"},
    ),
    "a position is absent": (in_block(lambda row: row["positions"].pop()), {"number of positions"}),
    "impact": (in_block(lambda row: add(row, "impact_lengths", 1, 0)), {"impacts"}),
    "impact frequency": (in_block(lambda row: add(row, "impact_frequencies", 1, 0)), {"impacts"}),
    "no impacts": (
        in_block(lambda row: row.update(impact_lengths=[], impact_frequencies=[])),
        {"impacts"},
    ),
    "impacts of two sizes": (in_block(lambda row: row["impact_lengths"].pop()), {"impacts"}),
    "block twice": (
        lambda index: index.rows_with("even").insert(
            index.rows_with("even").index(index.block("even")), index.block("even")
        ),
        {"order of blocks", LENGTH},
    ),
    "terms in another order": (
        lambda index: swap(index.rows_with("even"), -1, -2),
        {"order of terms"},
    ),
    "term of another partition": (lambda index: move(index, "w7"), {"partition"}),
    "split term of another partition": (lambda index: move(index, "the"), {"partition"}),
    "block too large": (
        lambda index: join_blocks(index, "the"),
        {"impacts", "postings of a block", "width of blocks"},
    ),
    "block too small": (lambda index: cut_block(index, "seldom"), {"width of blocks"}),
    "long term": (lambda index: rename(index, "w7", "w" * 256), {"length of a term"}),
    "a term is absent": (
        lambda index: index.rows_with("w7").remove(index.block("w7")),
        {LENGTH},
    ),
    "terms: document_frequency": (
        in_terms(lambda rows: add(rows[1], "document_frequency", 1)),
        {"document_frequency of a term"},
    ),
    "terms: collection_frequency": (
        in_terms(lambda rows: add(rows[1], "collection_frequency", 1)),
        {"collection_frequency of a term"},
    ),
    "terms: row_group": (in_terms(lambda rows: add(rows[1], "row_group", 1)), {"row_group of a term"}),
    "terms: row_groups": (in_terms(lambda rows: add(rows[1], "row_groups", 1)), {"row_groups of a term"}),
    "terms: offset": (in_terms(lambda rows: add(rows[1], "offset", 1)), {"offset of a term"}),
    "terms: bytes": (in_terms(lambda rows: add(rows[1], "bytes", -1)), {"bytes of a term"}),
    "terms: one is absent": (in_terms(lambda rows: rows.pop(1)), {"terms"}),
    "a partition has no postings": (lambda index: index.postings[0].clear(), {LENGTH}),
    "a partition has no postings, but terms": (
        lambda index: (index.postings[0].clear(), in_terms_of(0, index)),
        {LENGTH, "terms"},
    ),
    "terms: none": (in_terms(lambda rows: rows.clear()), {"terms"}),
    "terms: one more": (
        in_terms(lambda rows: rows.append({**rows[-1], "term": "zzz"})),
        {"terms"},
    ),
    "terms: one twice": (in_terms(lambda rows: rows.insert(1, rows[1])), {"order of terms"}),
    "terms: order": (in_terms(swap), {"order of terms"}),
    "length": (lambda index: add(index.document(5), "length", 1), {LENGTH, "statistics"}),
    "documents swapped in the table": (in_documents(swap), {"order of documents"}),
    "a document is absent": (
        lambda index: next(iter(index.documents.values())).pop(),
        {"unknown document", "impacts", "statistics"},
    ),
    "a gap between documents": (
        lambda index: index.document(DOCUMENTS - 1).update(document=DOCUMENTS),
        {"unknown document", LENGTH, "statistics", "impacts"},
    ),
    "document of another partition": (
        lambda index: index.documents[3].append(index.documents[2].pop()),
        {"partition"},
    ),
    "statistics: documents": (lambda index: add(index.statistics, "documents", 1), {"statistics"}),
    "statistics: tokens": (lambda index: add(index.statistics, "tokens", 1), {"statistics"}),
    "statistics: average_length": (
        lambda index: add(index.statistics, "average_length", 0.1),
        {"statistics"},
    ),
    "statistics: words": (lambda index: add(index.statistics, "words", "2"), {"statistics"}),
    "statistics: one is absent": (lambda index: index.statistics.pop("tokens"), {"statistics"}),
    "statistics: positions": (lambda index: index.statistics.update(positions=False), {"schema"}),
    "split term too many": (
        lambda index: index.split_terms.append({"term": "zzz", "width": 7}),
        {"split terms"},
    ),
    "split term twice": (
        lambda index: index.split_terms.append(index.split_terms[0]),
        {"split terms"},
    ),
    "split term that isn't": (
        lambda index: index.split_terms.insert(0, {"term": "even", "width": 6}),
        {"partition", "width of blocks"},
    ),
    "split term absent": (lambda index: index.split_terms.clear(), {"partition"}),
    "width of a split term": (
        lambda index: add(index.split_terms[0], "width", -1),
        {"partition", "width of blocks"},
    ),
    "small width of a split term": (
        lambda index: index.split_terms[0].update(width=2),
        {"partition", "width of a split term", "width of blocks"},
    ),
    "partitions": (
        lambda index: index.partitioning.update(
            {name: hashed(KEY, 5).to_json() for name in index.partitioning}
        ),
        {"partition"},
    ),
    "partitions of a table": (
        lambda index: index.partitioning.update(terms=hashed(KEY, 5).to_json()),
        {"partitioning"},
    ),
    "schema in the manifest": (lambda index: index.schemas["terms"].update(bytes="int32"), {"schema"}),
}


@pytest.mark.parametrize(("lie", "kinds"), LIES.values(), ids=LIES)
def test_a_lie_with_right_checksums_is_found(
    lie: Callable[[Index], object], kinds: set[str], sound_index: Path, tmp_path: Path
) -> None:
    index = load(sound_index)
    lie(index)
    save(index, tmp_path / "index")
    report = checked(tmp_path / "index")
    assert not report.sound
    assert set(report.kinds) == kinds, list(report.lines())


def test_what_is_written_again_unchanged_is_sound(sound_index: Path, indexed: Path, tmp_path: Path) -> None:
    save(load(sound_index), tmp_path / "index")
    assert list(checked(tmp_path / "index", indexed).lines()) == []


def shift(row: Row) -> None:
    """The last position of a block, by one."""
    row["positions"][-1] += 1


AGAINST_DOCUMENTS: dict[str, tuple[Callable[[Index], object], str]] = {
    "id": (lambda index: index.document(9).update(id="x"), "document 9: .* id is 'id9', 'x' in the index"),
    "url": (lambda index: index.document(9).update(url=None), "document 9: .* url is .*, None in the index"),
    "file": (lambda index: index.document(9).update(file="in/c.jsonl"), "file is 'a.jsonl', 'c.jsonl' in"),
    "position": (lambda index: add(index.document(9), "position", 1), "document 9: .* position is "),
    "position of a term": (in_block(shift), "'even' is at position 1, 2 in the index"),
    "term": (
        lambda index: rename(index, "end", "enc"),
        "'enc' is in the index only; 'end' is in the text only",
    ),
    "left_out": (lambda index: add(index.statistics, "left_out", 1), "left_out is 1, the texts give 0"),
}


@pytest.mark.parametrize(("lie", "told"), AGAINST_DOCUMENTS.values(), ids=AGAINST_DOCUMENTS)
def test_a_lie_that_only_the_documents_tell_is_found(
    lie: Callable[[Index], object], told: str, sound_index: Path, indexed: Path, tmp_path: Path
) -> None:
    index = load(sound_index)
    lie(index)
    save(index, tmp_path / "index")
    report = checked(tmp_path / "index", indexed)
    assert set(report.kinds) <= {"documents", "statistics", "partition"}
    assert re.search(told, "\n".join(report.lines())), list(report.lines())
