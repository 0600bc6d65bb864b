"""What a check computes, against the same in plain Python."""

import itertools
import random
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from beam_etl.kernels.blocks import posting_schema
from beam_etl.kernels.forward import (
    Entry,
    add,
    differences,
    document_hashes,
    entries,
    posting_hashes,
)
from beam_etl.kernels.index_check import Blocks, Layout, check_partition, term_order
from beam_etl.kernels.index_postings import check_blocks
from beam_etl.kernels.indexing import LOCAL_DOCUMENT
from beam_etl.schema import SPLIT_TERM

TERMS = ["", "a", "a\0", "ab", "abcdefgh", "abcdefghi", "b", "z", "é", "ü", "中", "中文", "\U0001f600"]


@pytest.mark.parametrize("seed", range(5))
def test_terms_are_ordered_by_their_bytes(seed: int) -> None:
    terms = random.Random(seed).choices(TERMS, k=200)
    encoded = [term.encode() for term in terms]
    expected = [1] + [(b > a) - (b < a) for a, b in itertools.pairwise(encoded)]
    assert term_order(pa.array(terms, pa.string())).tolist() == expected


def cut(documents: list[int], limit: int, least: int) -> tuple[int, list[list[int]]]:
    """The rule of docs/index.md in plain Python: the width, and the documents of each block."""
    if len(documents) <= limit:
        return 32, [documents]
    for width in range(31, least - 1, -1):
        blocks: dict[int, list[int]] = {}
        for document in documents:
            blocks.setdefault(document >> width, []).append(document)
        if width == least or max(map(len, blocks.values())) <= limit:
            return width, list(blocks.values())
    raise AssertionError


def as_blocks(width: int, parts: list[list[int]]) -> Blocks:
    def numbers(values: Iterator[int]) -> np.ndarray:
        return np.array(list(values), np.int64)

    return Blocks(
        term=pa.array(["a"] * len(parts), pa.string()),
        postings=numbers(len(part) for part in parts),
        occurrences=numbers(len(part) for part in parts),
        width=numbers(width for _ in parts),
        block=numbers(part[0] >> width for part in parts),
        first=numbers(part[0] for part in parts),
        last=numbers(part[-1] for part in parts),
        group=numbers(0 for _ in parts),
    )


@pytest.mark.parametrize("seed", range(30))
def test_only_the_cut_of_the_rule_passes(seed: int) -> None:
    draw = random.Random(seed)
    limit, least = draw.choice([4, 8, 16]), draw.choice([2, 4])
    top = draw.choice([60, 500, 5000])
    documents = sorted(draw.sample(range(top), draw.randrange(1, min(60, top))))
    limit = max(limit, 1 << least)
    layout = Layout(partitions=1, documents=top, granule_bits=least, block_postings=limit)
    none = pa.RecordBatch.from_pylist([], SPLIT_TERM)
    width, parts = cut(documents, limit, least)
    assert check_partition(as_blocks(width, parts), 0, layout, none) == []
    for other in {width - 1, width + 1, 31, least} - {width, 33}:
        blocks: dict[int, list[int]] = {}
        for document in documents:
            blocks.setdefault(document >> other, []).append(document)
        problems = check_partition(as_blocks(other, list(blocks.values())), 0, layout, none)
        assert {each.kind for each in problems} & {"width of blocks", "postings of a block"}


def front(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return sorted(
        pair
        for pair in set(pairs)
        if not any(other != pair and other[0] >= pair[0] and other[1] <= pair[1] for other in pairs)
    )


def row(draw: random.Random, lengths: list[int]) -> dict[str, object]:
    documents = sorted(draw.sample(range(len(lengths)), draw.randrange(1, 30)))
    frequencies = [draw.randrange(1, 6) for _ in documents]
    places = [sorted(draw.sample(range(100), often)) for often in frequencies]
    pairs = front([(often, lengths[each]) for often, each in zip(frequencies, documents, strict=True)])
    return {
        "term": "a",
        "width": 32,
        "block": 0,
        "document_frequency": len(documents),
        "first_document": documents[0],
        "last_document": documents[-1],
        "documents": documents,
        "frequencies": frequencies,
        "impact_frequencies": [pair[0] for pair in pairs],
        "impact_lengths": [pair[1] for pair in pairs],
        "positions": [place for some in places for place in some],
    }


@pytest.mark.parametrize("seed", range(10))
def test_blocks_that_are_right_pass_and_any_other_number_doesn_t(seed: int) -> None:
    draw = random.Random(seed)
    lengths = [draw.randrange(5, 15) for _ in range(60)]
    rows = [row(draw, lengths) for _ in range(5)]
    stated, known = posting_schema(True), np.array(lengths, np.uint32)
    block, problems = check_blocks(pa.RecordBatch.from_pylist(rows, stated), 60, known)
    assert problems == []
    assert block is not None
    assert block.occurrences.tolist() == [sum(each["frequencies"]) for each in rows]  # type: ignore[call-overload]
    names = ("document_frequency", "first_document", "last_document", "impact_frequencies", "impact_lengths")
    for name in names:
        at = draw.randrange(len(rows))
        value = rows[at][name]
        wrong = [*value[:-1], value[-1] + 1] if isinstance(value, list) else value + 1  # type: ignore[operator]
        changed = [*rows[:at], {**rows[at], name: wrong}, *rows[at + 1 :]]
        _, problems = check_blocks(pa.RecordBatch.from_pylist(changed, stated), 60, known)
        assert [(each.total, each.first[0][0]) for each in problems] == [(1, at)]


def digests(postings: list[tuple[str, int, list[int]]]) -> list[int]:
    """Of (term, document, positions), by term, as either side has them."""
    terms = sorted({term for term, _, _ in postings})
    edges = np.cumsum([0, *(sum(each[0] == term for each in postings) for term in terms)])
    ordered = sorted(postings, key=lambda each: each[0])  # stable: documents stay in their order
    frequencies = np.array([len(places) for _, _, places in ordered], np.uint32)
    positions = np.array([place for _, _, places in ordered for place in places], np.uint32)
    names = np.array([hash_of(term) for term in terms], np.uint64)
    sums = np.zeros(3, np.uint64)
    documents = np.array([document for _, document, _ in ordered], np.uint32)
    add(documents, posting_hashes(names, edges, frequencies, positions), sums)
    return sums.tolist()


def hash_of(term: str) -> int:
    return int.from_bytes(term.encode().ljust(8, b"\0"), "little")


POSTINGS = [("a", 0, [1, 5]), ("b", 0, [2]), ("a", 1, [1, 5]), ("c", 1, [2]), ("b", 2, [1]), ("a", 2, [2, 5])]


def test_a_digest_does_not_depend_on_the_order_in_which_postings_come() -> None:
    assert digests(POSTINGS) == digests(POSTINGS[::-1])


@pytest.mark.parametrize(
    "changed",
    [
        ("a", 0, [1, 6]),
        ("a", 0, [1]),
        ("a", 0, [1, 5, 6]),
        ("d", 0, [1, 5]),
        ("a", 0, [5, 1]),
        ("a", 0, [0, 5]),
    ],
    ids=str,
)
def test_a_digest_depends_on_term_frequency_and_positions(changed: tuple[str, int, list[int]]) -> None:
    before, after = digests(POSTINGS), digests([changed, *POSTINGS[1:]])
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, True]


def test_a_digest_is_of_one_document() -> None:
    assert len(set(digests(POSTINGS))) == 3


def test_the_own_columns_of_a_document_count_and_of_its_path_the_name() -> None:
    row = {"id": "a", "url": None, "length": 3, "file": "in/a.jsonl", "position": 7}
    others = [{"id": None}, {"url": ""}, {"length": 4}, {"file": "in/b.jsonl"}, {"position": 8}]
    rows = [row, {**row, "file": "/moved/a.jsonl"}, *({**row, **other} for other in others)]
    first, moved, *rest = document_hashes(pa.RecordBatch.from_pylist(rows, LOCAL_DOCUMENT)).tolist()
    assert first == moved
    assert len({first, *rest}) == 6


def test_entries_are_those_of_the_wanted_documents() -> None:
    found: dict[int, dict[str, Entry]] = {}
    entries(
        pa.array(["a", "b"]),
        np.array([0, 3, 5]),
        np.array([1, 4, 7, 4, 9], np.uint32),
        np.array([1, 2, 1, 3, 1], np.uint32),
        np.array([9, 1, 5, 0, 2, 3, 4, 8], np.uint32),
        np.array([4, 5], np.uint32),
        found,
    )
    assert found == {4: {"a": Entry(2, (1, 5)), "b": Entry(3, (2, 3, 4))}}


def test_differences_are_told_by_term() -> None:
    index = {"a": Entry(1, (3,)), "b": Entry(2, (4, 7)), "c": Entry(1, (5,)), "e": Entry(1, (6,))}
    text = {"a": Entry(1, (3,)), "b": Entry(2, (4, 6)), "c": Entry(2, (5, 7)), "d": Entry(1, (8,))}
    assert differences(index, text) == [
        "'b' is at position 6, 7 in the index",
        "'c' is there 2 times, 1 in the index",
        "'d' is in the text only",
        "'e' is in the index only",
    ]
