"""BM25 by brute force: every document is scored, in plain Python, from its words. And how good a ranking is."""

import math
import random
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


def typed(parts: Sequence[Part]) -> str:
    """The query as a user types it."""
    return " ".join(
        part.sign + (part.words[0] if len(part.words) == 1 else f'"{" ".join(part.words)}"') for part in parts
    )


VOCABULARY = [f"w{number}" for number in range(40)]
FREQUENT = [1 / (number + 1) for number in range(40)]
"""How often they are: as words of a language."""


def random_text(draw: random.Random) -> str:
    """Up to 30 words, or none."""
    return " ".join(draw.choices(VOCABULARY, FREQUENT, k=draw.randrange(30)))


def random_query(draw: random.Random, phrases: bool = True) -> list[Part]:
    """One to four parts that find something, maybe; a word that no text has among them."""
    parts = []
    for _ in range(draw.randrange(1, 5)):
        size = draw.choice([2, 3]) if phrases and draw.random() < 0.3 else 1
        words = draw.choices([*VOCABULARY, "absent"], [*FREQUENT, 0.02], k=size)
        parts.append(Part(tuple(words), draw.choice(["", "", "", "+", "-"])))
    if all(part.sign == "-" for part in parts):
        parts[0] = Part(parts[0].words)
    return parts


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

    @cached_property
    def _occurrences(self) -> dict[tuple[str, ...], dict[int, int]]:
        return {}

    def occurrences(self, phrase: tuple[str, ...]) -> dict[int, int]:
        """How often a document has a phrase, of those that have it. Kept for the next query."""
        if phrase not in self._occurrences:
            size = len(phrase)
            counts = {
                document: sum(tuple(words[at : at + size]) == phrase for at in range(len(words)))
                for document, words in enumerate(self.documents)
            }
            self._occurrences[phrase] = {document: count for document, count in counts.items() if count}
        return self._occurrences[phrase]

    def search(self, parts: Sequence[Part], k: int, k1: float, b: float) -> list[tuple[int, float]]:
        """The k best documents and their scores: the same operations in the same order as it is documented."""
        wanted = [part for part in parts if part.sign != "-"]
        phrases = sorted(
            {part.words for part in wanted}, key=lambda phrase: [word.encode() for word in phrase]
        )
        weights = {
            phrase: sum(part.words == phrase for part in wanted) * self.idf(phrase) for phrase in phrases
        }
        required = [part for part in parts if part.sign == "+"]
        where = {part.words: self.occurrences(part.words) for part in parts}
        hits = []
        for document, length in enumerate(self.lengths):
            found = {phrase: there.get(document, 0) for phrase, there in where.items()}
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
