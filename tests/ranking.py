"""BM25 by brute force: every document is scored, in plain Python, from its words. And how good a ranking is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

LONGEST_TERM = 255
"""Bytes."""


@dataclass(frozen=True)
class Part:
    """A term or phrase of a query."""

    words: tuple[str, ...]
    sign: str = ""
    """`+`, `-` or none."""


@dataclass(frozen=True)
class Collection:
    """Documents as lists of all their words."""

    documents: Sequence[Sequence[str]]

    @cached_property
    def lengths(self) -> list[int]:
        return [sum(len(word.encode()) <= LONGEST_TERM for word in words) for words in self.documents]

    @cached_property
    def average(self) -> float:
        return sum(self.lengths) / max(len(self.documents), 1)

    @cached_property
    def containing(self) -> dict[str, int]:
        """How many documents have each word."""
        found: dict[str, int] = {}
        for words in self.documents:
            for word in set(words):
                found[word] = found.get(word, 0) + 1
        return found

    def idf(self, phrase: tuple[str, ...]) -> float:
        count = len(self.documents)
        return sum(
            math.log(1 + (count - frequency + 0.5) / (frequency + 0.5))
            for frequency in (self.containing.get(word, 0) for word in phrase)
        )

    def occurrences(self, phrase: tuple[str, ...], document: int) -> int:
        words = self.documents[document]
        return sum(
            tuple(words[at : at + len(phrase)]) == phrase for at in range(len(words) - len(phrase) + 1)
        )

    def search(self, parts: Sequence[Part], k: int, k1: float, b: float) -> list[tuple[int, float]]:
        """The k best documents and their scores: the same operations in the same order as it is documented."""
        wanted = [part for part in parts if part.sign != "-"]
        phrases = sorted(
            {part.words for part in wanted}, key=lambda phrase: [word.encode() for word in phrase]
        )
        weights = {
            phrase: sum(part.words == phrase for part in wanted) * self.idf(phrase) for phrase in phrases
        }
        hits = []
        for document, length in enumerate(self.lengths):
            found = {part.words: self.occurrences(part.words, document) for part in parts}
            required = [part for part in parts if part.sign == "+"]
            if any(found[part.words] for part in parts if part.sign == "-"):
                continue
            if not all(found[part.words] for part in required) or not any(
                found[part.words] for part in wanted
            ):
                continue
            score = 0.0
            for phrase in phrases:
                if found[phrase]:
                    norm = k1 * (1.0 - b + b * length / self.average)
                    weight = weights[phrase]
                    score += weight - weight / (1.0 + found[phrase] / norm) if norm else weight
            hits.append((document, score))
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))[:k]


def average_precision(ranked: Sequence[str], relevant: Mapping[str, int]) -> float:
    """Mean over the relevant documents of the precision at their rank, 0 for those that aren't ranked."""
    found, total = 0, 0.0
    for rank, document in enumerate(ranked, 1):
        if relevant.get(document, 0) > 0:
            found += 1
            total += found / rank
    return total / sum(grade > 0 for grade in relevant.values())


def ndcg(ranked: Sequence[str], relevant: Mapping[str, int], k: int = 10) -> float:
    """Discounted cumulative gain at k over the best possible, with gains that are the grades."""

    def gain(grades: Sequence[int]) -> float:
        return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades[:k], 1))

    best = sorted((grade for grade in relevant.values() if grade > 0), reverse=True)
    return gain([max(relevant.get(document, 0), 0) for document in ranked[:k]]) / gain(best)
