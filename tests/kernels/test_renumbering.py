"""Documents of several indexes get the numbers of one, against the same in plain Python."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from beam_etl.kernels.blocks import posting_schema
from beam_etl.kernels.pieces import GRANULE_BITS, competitive, unpack
from beam_etl.kernels.renumbering import (
    GONE,
    RemovedPlaces,
    moved_documents,
    moved_pieces,
    renumber,
)
from beam_etl.schema import INDEXED_DOCUMENT, MAX_POSITION

GRANULE = 1 << GRANULE_BITS


@dataclass(frozen=True)
class Case:
    start: int
    documents: int
    positions: bool
    gone: float = 0.0
    sampled: float = 0.5


CASES = {
    "all stay": Case(0, 100, positions=False),
    "behind others": Case(1234, 100, positions=True),
    "across a granule": Case(GRANULE - 37, 100, positions=True),
    "some go": Case(GRANULE - 37, 200, positions=True, gone=0.4),
    "most go, no positions": Case(3 * GRANULE - 5, 200, positions=False, gone=0.95),
    "all go": Case(7, 50, positions=True, gone=1.0),
    "none sampled": Case(7, 50, positions=False, sampled=0.0),
}

Entry = tuple[int, int, tuple[int, ...]]


def entries(documents: Sequence[int], draw: random.Random) -> list[Entry]:
    found = []
    for document in documents:
        frequency = draw.choice([1, 1, 1, 2, 5])
        found.append((document, frequency, tuple(sorted(draw.sample(range(1000), frequency)))))
    return found


def block(term: str, found: list[Entry], positions: bool) -> dict[str, object]:
    row: dict[str, object] = {
        "term": term,
        "width": 32,
        "block": 0,
        "document_frequency": len(found),
        "first_document": found[0][0],
        "last_document": found[-1][0],
        "documents": [entry[0] for entry in found],
        "frequencies": [entry[1] for entry in found],
        "impact_frequencies": [],
        "impact_lengths": [],
    }
    return {**row, "positions": [place for entry in found for place in entry[2]]} if positions else row


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_blocks_become_pieces_of_the_documents_that_stay(case: Case) -> None:
    draw = random.Random(case.documents + case.start)
    lengths = np.array([draw.randint(1, 300) for _ in range(case.documents)], np.uint32)
    gone = np.array([draw.random() < case.gone for _ in range(case.documents)])
    sampled = np.array([draw.random() < case.sampled for _ in range(case.documents)])
    becomes = renumber(case.start, lengths, sampled, gone)
    stay = [number for number in range(case.documents) if not gone[number]]
    numbers = {number: case.start + place for place, number in enumerate(stay)}
    postings = [
        (
            f"t{number // 2}",
            entries(sorted(draw.sample(range(case.documents), draw.randint(1, case.documents))), draw),
        )
        for number in range(8)
    ]
    rows = [block(term, found, case.positions) for term, found in postings]
    blocks = pa.RecordBatch.from_pylist(rows, posting_schema(case.positions))

    pieces, costs = moved_pieces(blocks.slice(1), becomes, case.positions)

    wanted = [
        (
            term,
            [
                (numbers[number], frequency, places)
                for number, frequency, places in found
                if number in numbers
            ],
        )
        for term, found in postings[1:]
    ]
    unpacked = unpack(pieces["first"], pieces["packed"], case.positions)
    places = iter([] if unpacked.positions is None else unpacked.positions.tolist())
    got: list[tuple[str, Entry]] = []
    for piece, term in enumerate(pieces["term"].to_pylist()):
        begin, end = unpacked.edges[piece : piece + 2]
        mine = unpacked.documents[begin:end].tolist()
        assert len({number >> GRANULE_BITS for number in mine}) == 1
        pairs = zip(mine, unpacked.frequencies[begin:end].tolist(), strict=True)
        got += [
            (
                term,
                (number, frequency, tuple(next(places) for _ in range(frequency)) if case.positions else ()),
            )
            for number, frequency in pairs
        ]
    assert got == [
        (term, entry if case.positions else (*entry[:2], ())) for term, found in wanted for entry in found
    ]
    edges, frequencies, pair_lengths = competitive(
        pieces["packed"], np.arange(pieces.num_rows + 1), case.positions
    )
    of_number = {new: int(lengths[old]) for old, new in numbers.items()}
    for piece in range(pieces.num_rows):
        mine = slice(unpacked.edges[piece], unpacked.edges[piece + 1])
        have = {
            (int(frequency), of_number[number])
            for frequency, number in zip(
                unpacked.frequencies[mine], unpacked.documents[mine].tolist(), strict=True
            )
        }
        best = sorted(
            pair
            for pair in have
            if not any(other != pair and other[0] >= pair[0] and other[1] <= pair[1] for other in have)
        )
        told = slice(edges[piece], edges[piece + 1])
        assert list(zip(frequencies[told].tolist(), pair_lengths[told].tolist(), strict=True)) == best
    cost: dict[str, int] = {}
    for term, found in postings[1:]:
        for number, frequency, _ in found:
            if number in numbers and sampled[number]:
                cost[term] = cost.get(term, 0) + 2 + (frequency if case.positions else 0)
    summed: dict[str, int] = {}
    for row in costs.to_pylist():
        summed[row["term"]] = summed.get(row["term"], 0) + row["bytes"]
    assert summed == cost


@pytest.mark.parametrize("gone", [None, [False] * 4, [True, False, True, False], [True] * 4], ids=str)
def test_documents_that_stay_are_numbered_densely(gone: list[bool] | None) -> None:
    documents = pa.RecordBatch.from_pylist(
        [{"document": number, "id": f"d{number}", "length": number, "position": number} for number in (1, 3)],
        INDEXED_DOCUMENT,
    )
    becomes = renumber(
        10, np.arange(4, dtype=np.uint32), np.zeros(4, np.bool_), None if gone is None else np.array(gone)
    )
    stay = [number for number in range(4) if not (gone and gone[number])]
    assert (becomes.count, becomes.tokens) == (len(stay), sum(stay))
    assert (becomes.numbers is None) == (len(stay) == 4)
    found = moved_documents(documents, becomes)
    assert [(row["document"], row["id"], row["length"]) for row in found.to_pylist()] == [
        (10 + stay.index(number), f"d{number}", number) for number in (1, 3) if number in stay
    ]
    assert int(GONE) not in found["document"].to_pylist()


def places(*rows: tuple[str | None, int | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [{"file": file, "position": position, "id": "same"} for file, position in rows],
        pa.schema([("file", pa.string()), ("position", pa.int64()), ("id", pa.string())]),
    )


def test_a_removed_document_is_known_by_its_file_and_position() -> None:
    removed = RemovedPlaces(
        [
            places(("b", 5), ("a", 0), ("b", 5)),
            places((None, 3), ("a", None), ("c", MAX_POSITION), ("a", -1), ("a", MAX_POSITION + 1)),
        ]
    )
    asked = [
        ("a", 0),
        ("a", 5),
        ("b", 5),
        ("b", 0),
        ("z", 0),
        (None, 3),
        ("a", None),
        ("c", MAX_POSITION),
        ("a", -1),
    ]
    assert [
        place for place, is_removed in zip(asked, removed.ask(places(*asked)), strict=True) if is_removed
    ] == [
        ("a", 0),
        ("b", 5),
        ("c", MAX_POSITION),
    ]
    assert (len(removed), removed.found) == (3, 3)


def test_removals_that_nobody_asked_for_are_told() -> None:
    removed = RemovedPlaces([places(("a", 1), ("a", 2), ("b", 1))])
    assert removed.ask(places(("a", 2), ("b", 2), ("a", 2))).tolist() == [True, False, True]
    assert (len(removed), removed.found) == (3, 1)
    nothing = RemovedPlaces([])
    assert nothing.ask(places(("a", 1))).tolist() == [False]
    assert (len(nothing), nothing.file) == (0, "")
