"""What a search asks for: words, "phrases", +required, -excluded.

A part of a query is what stands between spaces, or between double quotes. Its words are made by the tokeniser and rule
that the index was built with; the words of a part without quotes are asked for one by one, each with the part's sign.
A part without words is passed over. A phrase of one word is that word.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from beam_etl.kernels.text import words

Phrase = tuple[str, ...]
"""Words that stand one behind the other; one word alone is a term."""

_PART = re.compile(r'([+-]?)(?:"([^"]*)"|([^\s"]+))')


class QueryError(ValueError):
    """A query that can't be answered. The message says what to ask instead."""


class Clause(NamedTuple):
    """A term or phrase that counts for the score.

    times: how often the query has it.
    required: whether documents without it are no hits.
    """

    phrase: Phrase
    times: int
    required: bool


@dataclass(frozen=True)
class Query:
    """A hit has all required clauses, one of the others if none is required, and nothing that is excluded.

    scored: by the bytes of their words, the order in which scores are summed; each phrase once.
    excluded: as well.
    """

    scored: tuple[Clause, ...]
    excluded: tuple[Phrase, ...]

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """All terms and phrases."""
        return (*(clause.phrase for clause in self.scored), *self.excluded)

    @property
    def has_phrases(self) -> bool:
        """Whether positions are needed."""
        return any(len(phrase) > 1 for phrase in self.phrases)


def parse_query(query: str, rule: str) -> Query:
    """The query in words.

    Args:
      query: as it was typed.
      rule: what a word is, one of unicode_table.RULES.

    Raises:
      QueryError: a quote isn't closed, or there is nothing to find.
    """
    if query.count('"') % 2:
        raise QueryError(f'{query!r}: a quote isn\'t closed. Write "words of a phrase".')
    counts: dict[Phrase, int] = {}
    required, excluded = set(), set()
    for sign, phrase in _phrases(query, rule):
        if sign == "-":
            excluded.add(phrase)
            continue
        counts[phrase] = counts.get(phrase, 0) + 1
        if sign == "+":
            required.add(phrase)
    if not counts:
        only = "only what is excluded" if excluded else "no word"
        raise QueryError(f"{query!r}: it has {only}. Ask for at least one word to find.")
    return Query(
        tuple(Clause(phrase, counts[phrase], phrase in required) for phrase in sorted(counts, key=_bytes)),
        tuple(sorted(excluded, key=_bytes)),
    )


def _phrases(query: str, rule: str) -> Iterator[tuple[str, Phrase]]:
    parts = _PART.findall(query)
    texts = pa.array([quoted or bare for _, quoted, bare in parts], pa.string())
    for (sign, _, bare), found in zip(parts, words(texts, rule).to_pylist(), strict=True):
        if bare:
            yield from ((sign, (word,)) for word in found)
        elif found:
            yield sign, tuple(found)


def _bytes(phrase: Phrase) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in phrase)
