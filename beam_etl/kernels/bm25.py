"""BM25: how well a document answers a query.

The score of a document is the sum, over the query's terms and phrases, of

    weight * f / (f + norm)        norm = k1 * (1 - b + b * length / average_length)
    weight = times * idf           idf = ln(1 + (N - n + 0.5) / (n + 0.5))

f is how often the document has the term, n how many documents have it, N how many there are, times how often the
query has it. Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), equation
3.15, without a factor k1 + 1, which changes no order; with the idf of Lucene's BM25Similarity, which is never negative.
The idf of a phrase is the sum of those of its words, each as often as it stands there, and f how often the document
has the whole phrase (Lucene's PhraseQuery).

In float64 it is computed as weight - weight / (1 + f / norm), as Lucene does. Each of these operations, rounded, still
never falls when f rises or norm falls, and norm, as it is computed, never falls when the length rises. The first form
isn't so: f stands in it twice. So the score of a block's best pair of frequency and length, by the same function,
bounds the scores of all its documents bit for bit, without a margin; and as a rounded sum never falls when a summand
rises, so does the sum of the terms' bounds, in the order in which scores are summed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.compiled import ReadOnly, compiled

K1, B = 1.2, 0.75
"""Lucene's defaults: a word that stands there k1 times in a text of average length has half its weight; b is how much
the length counts."""

Scores = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.uint32]
Edges = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bm25:
    """The formula for a collection, which may be several segments.

    Args:
      documents, average_length: of the collection.
      k1, b: parameters.

    Raises:
      ValueError: k1 is negative or not finite, or b not from 0 to 1.
    """

    documents: int
    average_length: float
    k1: float = K1
    b: float = B

    def __post_init__(self) -> None:
        if not (self.k1 >= 0 and math.isfinite(self.k1)):
            raise ValueError(f"k1 must be at least 0 and finite, got {self.k1}")
        if not 0 <= self.b <= 1:
            raise ValueError(f"b must be from 0 to 1, got {self.b}")

    def idf(self, frequency: int) -> float:
        """Of a term that so many documents have."""
        return math.log(1 + (self.documents - frequency + 0.5) / (frequency + 0.5))

    def weight(self, frequencies: Sequence[int], times: int) -> float:
        """Of a term or phrase.

        Args:
          frequencies: documents that have each of its words.
          times: how often the query has it.
        """
        return times * sum(map(self.idf, frequencies), 0.0)

    def scores(self, weight: float, frequencies: Numbers, lengths: Numbers) -> Scores:
        """What a term or phrase adds to the scores of some documents: float64[documents].

        Args:
          weight: its own.
          frequencies: uint32[documents], at least 1.
          lengths: uint32[documents].
        """
        return _scores(frequencies, lengths, weight, self.k1, self.b, self.average_length)

    def bounds(self, weight: float, edges: Edges, frequencies: Numbers, lengths: Numbers) -> Scores:
        """The most that a term or phrase adds to the score of any document of each block: float64[blocks].

        Args:
          weight: as of `scores`.
          edges: int64[blocks + 1]. Block i has the pairs from `edges[i]` up to `edges[i + 1]`, at least one.
          frequencies, lengths: uint32, of the competitive pairs.
        """
        if edges.size == 1:
            return np.zeros(0)
        return np.maximum.reduceat(self.scores(weight, frequencies, lengths), edges[:-1])


@compiled
def _scores(
    frequencies: ReadOnly[np.uint32],
    lengths: ReadOnly[np.uint32],
    weight: float,
    k1: float,
    b: float,
    average: float,
) -> npt.NDArray[np.float64]:
    scores = np.empty(frequencies.size, np.float64)
    for at in range(frequencies.size):
        norm = k1 * (1.0 - b + b * lengths[at] / average)
        scores[at] = weight - weight / (1.0 + frequencies[at] / norm) if norm > 0 else weight
    return scores
