"""Pieces and blocks against postings that are kept in dicts and lists."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from beam_etl.kernels.blocks import merge_pieces
from beam_etl.kernels.indexing import local_pieces, number_from, number_pieces, put_in_ranges
from beam_etl.kernels.inverting import invert
from beam_etl.kernels.pieces import GRANULE_BITS
from beam_etl.kernels.split_terms import term_strings
from beam_etl.schema import SPLIT_TERM
from beam_etl.transforms.batches import merge_batches

GRANULE = 1 << GRANULE_BITS
WORDS = [f"w{number:02}" for number in range(60)]


class Posting(NamedTuple):
    document: int
    positions: list[int]
    length: int


@dataclass(frozen=True)
class Case:
    """Documents that begin at a number, and how they are indexed."""

    start: int
    documents: int
    positions: bool
    block_postings: int = 1 << 16
    merge_bytes: int = 4 << 20
    split: int | None = None
    """The width of the ranges of w00."""


CASES = {
    "one granule": Case(0, 200, positions=False),
    "positions": Case(0, 200, positions=True),
    "across granules": Case(GRANULE - 70, 200, positions=True),
    "far on": Case(60_000 * GRANULE - 3, 200, positions=False),
    "the last number": Case((1 << 32) - 200, 200, positions=False),
    "small blocks": Case(3 * GRANULE - 100, 300, positions=True, block_postings=90),
    "a term at a time": Case(GRANULE - 10, 150, positions=False, merge_bytes=1),
    "split": Case(2 * GRANULE - 60, 200, positions=True, split=GRANULE_BITS),
}


def texts(count: int, draw: random.Random) -> list[str]:
    weights = [1 / (1 + number) for number in range(len(WORDS))]
    return [" ".join(draw.choices(WORDS, weights, k=draw.randint(0, 40))) for _ in range(count)]


def postings(found: Sequence[str], start: int) -> dict[str, list[Posting]]:
    expected: dict[str, list[Posting]] = defaultdict(list)
    for number, text in enumerate(found, start):
        places: dict[str, list[int]] = defaultdict(list)
        words = text.split()
        for place, word in enumerate(words):
            places[word].append(place)
        for word, here in places.items():
            expected[word].append(Posting(number, here, len(words)))
    return expected


def pieces(found: Sequence[str], case: Case, draw: random.Random) -> Iterator[pa.RecordBatch]:
    """In batches of any size, in the order of documents."""
    split = (
        [pa.RecordBatch.from_pylist([{"term": "w00", "width": case.split}], SPLIT_TERM)] if case.split else []
    )
    begin = 0
    while begin < len(found):
        part = found[begin : begin + draw.randint(1, 60)]
        inverted = invert(pa.array(part, pa.large_string()), positions=case.positions)
        local = local_pieces(inverted, term_strings(inverted))
        numbered = number_pieces(
            local, number_from(case.start + begin, len(part)), inverted.lengths, case.positions
        )
        yield put_in_ranges(numbered, split)
        begin += len(part)


def merged(found: Sequence[str], case: Case, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    made = list(pieces(found, case, draw))
    draw.shuffle(made)
    blocks = list(merge_pieces(made, merge_batches, case.positions, case.merge_bytes, case.block_postings))
    for batch in blocks:
        batch.validate(full=True)
    return [row for batch in blocks for row in batch.to_pylist()]


def competitive(pairs: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those that no other is at least as good as in both."""
    return sorted(
        one for one in pairs if not any(o != one and o[0] >= one[0] and o[1] <= one[1] for o in pairs)
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_blocks_hold_the_postings_of_the_documents(case: Case) -> None:
    found = texts(case.documents, random.Random(1))
    expected, seen = postings(found, case.start), defaultdict(list)
    for row in merged(found, case, seed=2):
        places = iter(row["positions"] if case.positions else ())
        for document, frequency in zip(row["documents"], row["frequencies"], strict=True):
            seen[row["term"]].append(
                (document, frequency, [next(places) for _ in range(frequency * case.positions)])
            )
        assert next(places, None) is None
    for word, wanted in expected.items():
        assert seen.pop(word) == [
            (each.document, len(each.positions), each.positions if case.positions else []) for each in wanted
        ]
    assert not seen


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_block_says_of_itself_what_is_in_it(case: Case) -> None:
    found = texts(case.documents, random.Random(1))
    lengths = {number: len(text.split()) for number, text in enumerate(found, case.start)}
    rows = merged(found, case, seed=3)
    order = [(row["term"].encode(), row["first_document"]) for row in rows]
    assert order == sorted(set(order))
    for row in rows:
        documents = row["documents"]
        assert (row["first_document"], row["last_document"]) == (documents[0], documents[-1])
        assert row["document_frequency"] == len(documents)
        assert {document >> row["width"] for document in documents} == {row["block"]}
        pairs = {
            (frequency, lengths[number])
            for number, frequency in zip(documents, row["frequencies"], strict=True)
        }
        impacts = zip(row["impact_frequencies"], row["impact_lengths"], strict=True)
        assert list(impacts) == competitive(pairs)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_blocks_dont_depend_on_batches(case: Case) -> None:
    found = texts(case.documents, random.Random(1))
    assert merged(found, case, seed=4) == merged(found, case, seed=5)


def test_the_width_is_the_largest_at_which_no_block_is_too_large() -> None:
    """w00 is in every document, w59 in few."""
    case = CASES["small blocks"]
    found = ["w00 w59" if number % 20 == 0 else "w00" for number in range(case.documents)]
    rows = merged(found, case, seed=6)
    assert [row["width"] for row in rows if row["term"] == "w59"] == [32]
    (width,) = {row["width"] for row in rows if row["term"] == "w00"}
    assert width == GRANULE_BITS  # the bound of a test is below a granule's documents: no block is smaller
    half = Case(GRANULE - 100, 200, positions=False, block_postings=150)
    (width,) = {row["width"] for row in merged(["w00"] * 200, half, seed=7) if row["term"] == "w00"}
    assert width == GRANULE_BITS
    quarter = Case(2 * GRANULE - 100, 200, positions=False, block_postings=150)
    (width,) = {row["width"] for row in merged(["w00"] * 200, quarter, seed=7) if row["term"] == "w00"}
    assert width == GRANULE_BITS + 1


def test_a_split_term_is_cut_by_its_ranges_and_others_are_not() -> None:
    case = CASES["split"]
    rows = merged(texts(case.documents, random.Random(1)), case, seed=8)
    assert [row["width"] for row in rows if row["term"] == "w00"] == [case.split, case.split]
    assert {row["width"] for row in rows if row["term"] != "w00"} == {32}


def test_documents_beyond_32_bits_are_left_to_the_verdict() -> None:
    inverted = invert(pa.array(["a b", "a"]))
    local = local_pieces(inverted, term_strings(inverted))
    for start in (2**32 - 1, 2**32, 2**33 + 5):
        assert number_pieces(local, number_from(start, 2), inverted.lengths, False).num_rows >= 2
