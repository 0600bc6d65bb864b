"""The best documents are those that scoring everything finds, to the last bit, though not every block is read."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from beam_etl.kernels.bm25 import Bm25
from beam_etl.kernels.phrases import Postings, phrase_postings
from beam_etl.kernels.query import parse_query
from beam_etl.kernels.top_documents import Blocks, top_documents
from tests.indexes import Expected, Row
from tests.ranking import Collection, Part, random_query, random_text, typed

PARAMETERS = [(1.2, 0.75), (0.0, 0.5), (0.4, 0.0), (5.0, 1.0), (0.9, 0.4)]


@dataclass
class Memory:
    """A segment of which all is at hand."""

    expected: Expected
    rows: dict[str, list[Row]] = field(default_factory=dict)
    known: dict[str, Blocks] = field(default_factory=dict)
    read: dict[tuple[str, int, bool], Postings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.all_lengths = np.array(self.expected.lengths, np.uint32)
        for row in self.expected.postings():
            self.rows.setdefault(row["term"], []).append(row)

    def blocks(self, term: str) -> Blocks:
        if term not in self.known:
            self.known[term] = self._blocks(term)
        return self.known[term]

    def postings(self, term: str, block: int, positions: bool) -> Postings:
        key = (term, block, positions)
        if key not in self.read:
            self.read[key] = self._postings(*key)
        return self.read[key]

    def _blocks(self, term: str) -> Blocks:
        rows = self.rows.get(term, [])
        return Blocks(
            np.array([row["first_document"] for row in rows], np.int64),
            np.array([row["last_document"] for row in rows], np.int64),
            np.cumsum([0, *(len(row["impact_lengths"]) for row in rows)]),
            np.array([each for row in rows for each in row["impact_frequencies"]], np.uint32),
            np.array([each for row in rows for each in row["impact_lengths"]], np.uint32),
        )

    def _postings(self, term: str, block: int, positions: bool) -> Postings:
        row = self.rows[term][block]
        found = Postings(np.array(row["documents"], np.uint32), np.array(row["frequencies"], np.uint32))
        if not positions:
            return found
        edges = np.cumsum([0, *row["frequencies"]])
        return found._replace(positions=np.array(row["positions"], np.uint32), edges=edges)

    def lengths(self, documents: np.ndarray) -> np.ndarray:
        return self.all_lengths[documents]


@dataclass
class Index:
    """Segments and the same documents as one collection."""

    segments: list[Memory]
    collection: Collection

    def __init__(self, texts: Sequence[Sequence[str]], block_postings: int) -> None:
        self.segments = [
            Memory(Expected(texts=part, partitions=1, block_postings=block_postings, granule_bits=2))
            for part in texts
        ]
        self.collection = Collection([text.split() for part in texts for text in part])

    def search(self, query: str, k: int, k1: float, b: float) -> tuple[list[tuple[int, float]], int, int]:
        parsed = parse_query(query, "words")
        formula = Bm25(len(self.collection.documents), self.collection.average, k1, b)
        weights = [
            formula.weight([self.collection.containing.get(word, 0) for word in clause.phrase], clause.times)
            for clause in parsed.scored
        ]
        offsets = np.cumsum([0, *(len(segment.expected.texts) for segment in self.segments)]).tolist()
        top = top_documents(parsed, self.segments, offsets[:-1], weights, formula, k)
        return (
            list(zip(top.documents.tolist(), top.scores.tolist(), strict=True)),
            top.blocks,
            top.blocks_read,
        )


def texts(seed: int, *sizes: int) -> list[list[str]]:
    draw = random.Random(seed)
    return [[random_text(draw) for _ in range(size)] for size in sizes]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "block_postings"),
    [
        pytest.param((300,), 4, id="one segment of small blocks", marks=pytest.mark.long),
        pytest.param((300,), 20, id="one segment"),
        pytest.param((90, 1, 150, 60), 4, id="four segments of small blocks"),
        pytest.param((90, 1, 150, 60), 20, id="four segments", marks=pytest.mark.long),
    ],
)
def test_the_best_documents_are_those_of_scoring_everything(
    sizes: tuple[int, ...], block_postings: int
) -> None:
    draw = random.Random(3)
    index = Index(texts(4, *sizes), block_postings)
    blocks = read = 0
    for _ in range(1000):
        parts = random_query(draw)
        k, (k1, b) = draw.choice([1, 2, 10, 1000]), draw.choice(PARAMETERS)
        found, all_blocks, read_blocks = index.search(typed(parts), k, k1, b)
        assert found == index.collection.search(parts, k, k1, b), (typed(parts), k, k1, b)
        blocks, read = blocks + all_blocks, read + read_blocks
    assert read < 0.9 * blocks


def test_equal_documents_are_told_by_number() -> None:
    index = Index([["a b"] * 40, ["b a"] * 40], 4)
    found, _, read = index.search("a b", 50, 1.2, 0.75)
    assert [document for document, _ in found] == list(range(50))
    assert len({score for _, score in found}) == 1
    found, blocks, read = index.search("a", 3, 1.2, 0.75)
    assert [document for document, _ in found] == [0, 1, 2]
    assert (read, blocks) == (1, 20)


def test_blocks_that_cant_change_the_result_are_not_read() -> None:
    """One text is short and has the word often."""
    index = Index([["a x y z"] * 100 + ["a a a"] + ["a x y z"] * 99], 4)
    found, blocks, read = index.search("a", 1, 1.2, 0.75)
    assert ([document for document, _ in found], read) == ([100], 1)
    assert blocks >= 50


def test_documents_whose_score_is_rounded_to_nothing_are_hits() -> None:
    index = Index([["a b", "a", "c"]], 4)
    assert index.search("a", 5, 1e300, 0.75)[0] == [(0, 0.0), (1, 0.0)]


def test_a_phrase_may_overlap_itself() -> None:
    documents = np.array([3, 8], np.uint32)
    word = Postings(
        documents, np.array([3, 1], np.uint32), np.array([0, 1, 2, 5], np.uint32), np.array([0, 3, 4])
    )
    found = phrase_postings([word, word])
    assert (found.documents.tolist(), found.frequencies.tolist()) == ([3], [2])


@pytest.mark.parametrize("parts", [[Part(("absent",))], [Part(("a",)), Part(("absent",), "+")]], ids=typed)
def test_nothing_is_found_of_words_that_arent_there(parts: list[Part]) -> None:
    index = Index([["a b", "a"]], 4)
    assert index.search(typed(parts), 5, 1.2, 0.75)[0] == []
