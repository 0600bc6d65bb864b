"""The best documents of a query, without a look at most: block-max skipping.

The documents of a segment are cut into intervals at every end of a block of the query's terms, so that inside one
every term has a block or none. The sum of the blocks' bounds (see bm25) bounds the scores in an interval. Intervals are
scored by descending bound until none can change the result. So it is what scoring everything gives, bit for bit; and of
blocks that no scored interval touches, only the bounds are read.

Sources: Ding and Suel, "Faster top-k document retrieval using block-max indexes" (2011), for the bounds; bounds from
stored pairs of frequency and length are Lucene's (class ImpactsDISI).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.bm25 import Bm25, Edges, Numbers, Scores
from beam_etl.kernels.phrases import Postings, phrase_postings
from beam_etl.kernels.query import Clause, Phrase, Query

NO_BLOCK = -1


class Blocks(NamedTuple):
    """The blocks of a term in a segment, ascending.

    first, last: int64[n], documents.
    edges: int64[n + 1]. Block i has the competitive pairs from `edges[i]` up to `edges[i + 1]`.
    impact_frequencies, impact_lengths: uint32, the pairs.
    """

    first: Edges
    last: Edges
    edges: Edges
    impact_frequencies: Numbers
    impact_lengths: Numbers

    @property
    def size(self) -> int:
        """How many there are."""
        return self.first.size


class Segment(Protocol):
    """What is asked of a segment. Its documents are numbered from 0."""

    def blocks(self, term: str) -> Blocks:
        """The blocks of a term; none where no document has it."""

    def postings(self, term: str, block: int, positions: bool) -> Postings:
        """The postings of one of its blocks."""

    def lengths(self, documents: Numbers) -> Numbers:
        """The length of each of some documents: uint32."""


@dataclass
class Top:
    """The best documents.

    documents: int64[at most k], by descending score, equal ones by number. Numbers go on from segment to segment.
    scores: float64 of each.
    blocks, blocks_read: of all terms and segments, and how many of them had to be looked into.
    """

    documents: Edges = field(default_factory=lambda: np.zeros(0, np.int64))
    scores: Scores = field(default_factory=lambda: np.zeros(0))
    blocks: int = 0
    blocks_read: int = 0

    def add(self, documents: Edges, scores: Scores, k: int) -> None:
        """Keeps the k best of these and those so far."""
        if self.scores.size == k:
            good = scores >= self.scores[-1]
            documents, scores = documents[good], scores[good]
        scores, documents = np.append(self.scores, scores), np.append(self.documents, documents)
        if scores.size > k:
            good = scores >= np.partition(scores, scores.size - k)[scores.size - k]
            documents, scores = documents[good], scores[good]
        order = np.lexsort((documents, -scores))[:k]
        self.documents, self.scores = documents[order], scores[order]

    def is_settled(self, bound: float, first: int, k: int) -> bool:
        """Whether documents from `first` on with at most this score can't change it."""
        if self.scores.size < k:
            return False
        worst = self.scores[-1]
        return bool(bound < worst or (bound == worst and first > self.documents[-1]))


class _Intervals(NamedTuple):
    """Intervals of a segment in which there may be hits.

    low, high: int64[n]. Documents from `low` up to `high`.
    bound: float64[n], of their scores.
    """

    low: Edges
    high: Edges
    bound: Scores


def top_documents(
    query: Query,
    segments: Sequence[Segment],
    offsets: Sequence[int],
    weights: Sequence[float],
    formula: Bm25,
    k: int,
) -> Top:
    """The k best documents.

    Args:
      query: what is asked for.
      segments: where.
      offsets: the number of the first document of each, ascending.
      weights: of each clause of `query.scored`.
      formula: for the statistics of all segments.
      k: at least 1.
    """
    parts = [_Part(query, segment, weights, formula) for segment in segments]
    cuts = [part.intervals() for part in parts]
    number = np.repeat(np.arange(len(parts)), [cut.low.size for cut in cuts])
    low, high, bound = (np.concatenate(columns) for columns in zip(*cuts, strict=True))
    first = low + np.asarray(offsets, np.int64)[number]
    top = Top(blocks=sum(part.count for part in parts))
    for at in np.lexsort((first, -bound)).tolist():
        if top.is_settled(bound[at], int(first[at]), k):
            break
        part = parts[number[at]]
        documents, scores = part.score(int(low[at]), int(high[at]))
        top.add(documents + offsets[number[at]], scores, k)
    top.blocks_read = sum(len(part.read) for part in parts)
    return top


class _Part:
    """A query in one segment."""

    def __init__(self, query: Query, segment: Segment, weights: Sequence[float], formula: Bm25) -> None:
        self._query, self._segment = query, segment
        self._weights, self._formula = weights, formula
        self._positions = {word for phrase in query.phrases if len(phrase) > 1 for word in phrase}
        self._blocks = {word: segment.blocks(word) for phrase in query.phrases for word in phrase}
        self.count = sum(blocks.size for blocks in self._blocks.values())
        self.read: set[tuple[str, int]] = set()

    def intervals(self) -> _Intervals:
        words = {word for clause in self._query.scored for word in clause.phrase}
        ends = [end for word in words for end in (self._blocks[word].first, self._blocks[word].last + 1)]
        edges = np.unique(np.concatenate(ends))
        low, high = edges[:-1], edges[1:]
        bound = np.zeros(low.size)
        some, all_required = np.zeros(low.size, np.bool_), np.ones(low.size, np.bool_)
        for clause, weight in zip(self._query.scored, self._weights, strict=True):
            most, possible = self._bounds(clause, weight, low)
            bound += np.where(possible, most, 0.0)
            some |= possible
            if clause.required:
                all_required &= possible
        hopeful = some & all_required
        return _Intervals(low[hopeful], high[hopeful], bound[hopeful])

    def _bounds(self, clause: Clause, weight: float, low: Edges) -> tuple[Scores, npt.NDArray[np.bool_]]:
        """In each interval, the most that a clause adds to a score, and whether it can at all.

        A phrase is in a document at most as often as each of its words.
        """
        most, possible = np.full(low.size, np.inf), np.ones(low.size, np.bool_)
        for word in clause.phrase:
            blocks = self._blocks[word]
            if not blocks.size:
                return np.zeros(low.size), np.zeros(low.size, np.bool_)
            bounds = self._formula.bounds(
                weight, blocks.edges, blocks.impact_frequencies, blocks.impact_lengths
            )
            block = _block_of(blocks, low)
            most = np.minimum(most, bounds[block])
            possible &= block != NO_BLOCK
        return most, possible

    def score(self, low: int, high: int) -> tuple[Edges, Scores]:
        """All hits of an interval, with their scores."""
        found = [self._find(clause.phrase, low, high) for clause in self._query.scored]
        documents, places = _union([postings.documents for postings in found], low, high)
        scores, required = np.zeros(documents.size), np.zeros(documents.size, np.int64)
        for clause, weight, postings, at in zip(
            self._query.scored, self._weights, found, places, strict=True
        ):
            lengths = self._segment.lengths(postings.documents)
            scores[at] += self._formula.scores(weight, postings.frequencies, lengths)
            required[at] += clause.required
        good = required == sum(clause.required for clause in self._query.scored)
        for phrase in self._query.excluded:
            good &= ~np.isin(documents, self._find(phrase, low, high).documents)
        return documents[good].astype(np.int64), scores[good]

    def _find(self, phrase: Phrase, low: int, high: int) -> Postings:
        """The documents of an interval that have a term or phrase."""
        words = {word: list(self._between(word, low, high)) for word in set(phrase)}
        if not all(words.values()):
            return _NOTHING
        if len(phrase) == 1:
            return _joined(words[phrase[0]])
        joined = {word: _joined(found) for word, found in words.items()}
        return phrase_postings([joined[word] for word in phrase])

    def _between(self, word: str, low: int, high: int) -> Iterator[Postings]:
        """The word's postings in an interval. One that is only excluded may have several blocks there."""
        blocks = self._blocks[word]
        for block in np.flatnonzero((blocks.first < high) & (blocks.last >= low)).tolist():
            self.read.add((word, block))
            yield self._segment.postings(word, block, word in self._positions).between(low, high)


_NOTHING = Postings(np.zeros(0, np.uint32), np.zeros(0, np.uint32))


def _block_of(blocks: Blocks, low: Edges) -> Edges:
    """The block that has each interval, or NO_BLOCK."""
    block = np.searchsorted(blocks.first, low, side="right") - 1
    return np.where((block >= 0) & (blocks.last[block] >= low), block, NO_BLOCK)


def _joined(parts: list[Postings]) -> Postings:
    if len(parts) == 1:
        return parts[0]
    documents, frequencies = (np.concatenate([part[column] for part in parts]) for column in (0, 1))
    if any(part.positions is None for part in parts):
        return Postings(documents, frequencies)
    positions = np.concatenate([part.positions for part in parts])
    return Postings(documents, frequencies, positions, np.concatenate([[0], np.cumsum(frequencies)]))


DENSE = 8
"""An interval of up to so many documents a posting is laid out document by document: faster than to sort them."""


def _union(found: list[Numbers], low: int, high: int) -> tuple[Numbers, list[npt.NDArray[np.int64]]]:
    """All documents, ascending, and where among them those of each clause are."""
    if len(found) == 1:
        return found[0], [np.arange(found[0].size)]
    if high - low <= DENSE * sum(map(len, found)):
        place = np.zeros(high - low, np.int64)
        inside = [each.astype(np.int64) - low for each in found]
        for each in inside:
            place[each] = 1
        union = np.flatnonzero(place)
        place[union] = np.arange(union.size)
        return (union + low).astype(np.uint32), [place[each] for each in inside]
    documents = np.unique(np.concatenate(found))
    return documents, [np.searchsorted(documents, each) for each in found]
