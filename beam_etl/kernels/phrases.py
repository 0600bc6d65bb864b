"""Postings of a term in some documents, and those of a phrase from the terms' positions."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PLACE_BITS = 32


class Postings(NamedTuple):
    """Documents that have a term or phrase.

    documents: uint32[n], ascending.
    frequencies: uint32[n], at least 1.
    positions: uint32[sum of frequencies], of each document ascending; None where they aren't needed.
    edges: int64[n + 1]. Document i has the positions from `edges[i]` up to `edges[i + 1]`; None as well.
    """

    documents: npt.NDArray[np.uint32]
    frequencies: npt.NDArray[np.uint32]
    positions: npt.NDArray[np.uint32] | None = None
    edges: npt.NDArray[np.int64] | None = None

    def between(self, low: int, high: int) -> "Postings":
        """Those of documents from `low` up to `high`, of which there is at least one."""
        begin = int(np.searchsorted(self.documents, np.uint32(low)))
        end = int(np.searchsorted(self.documents, np.uint32(high - 1), side="right"))
        part = Postings(self.documents[begin:end], self.frequencies[begin:end])
        if self.positions is None or self.edges is None:
            return part
        edges = self.edges[begin : end + 1]
        return part._replace(positions=self.positions[edges[0] : edges[-1]], edges=edges - edges[0])

    def of(self, documents: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """The frequency in each of some documents, 0 where it isn't."""
        if not self.documents.size:
            return np.zeros(documents.size, np.uint32)
        at = np.minimum(np.searchsorted(self.documents, documents), self.documents.size - 1)
        return np.where(self.documents[at] == documents, self.frequencies[at], np.uint32(0))


def phrase_postings(words: Sequence[Postings]) -> Postings:
    """Documents in which the words stand one behind the other, and how often.

    Args:
      words: postings of each word of the phrase, with positions. A word that the phrase has twice is there twice.

    Returns:
      Postings without positions. A phrase may overlap itself: "a a" is twice in "a a a".
    """
    starts = _places(words[0], 0)
    for offset, word in enumerate(words[1:], 1):
        if not starts.size:
            break
        starts = np.intersect1d(starts, _places(word, offset), assume_unique=True)
    documents, frequencies = np.unique(starts >> PLACE_BITS, return_counts=True)
    return Postings(documents.astype(np.uint32), frequencies.astype(np.uint32))


def _places(word: Postings, offset: int) -> npt.NDArray[np.int64]:
    """Where a phrase would begin whose word stands `offset` words behind it: document << PLACE_BITS | place."""
    if word.positions is None:
        raise ValueError("a phrase needs positions")
    documents = np.repeat(word.documents.astype(np.int64), word.frequencies)
    places = word.positions.astype(np.int64) - offset
    inside = places >= 0
    return (documents[inside] << PLACE_BITS) | places[inside]
