"""The n-grams of evaluation sets, to be found in documents.

An n-gram is n neighbouring words: maximal runs of Unicode's word characters in lower case, a character each in scripts
without spaces (kernels/text.py). So case, punctuation and white space don't count (GPT-3: Brown and others, 2020,
appendix C).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.hash_set import place_in
from beam_etl.kernels.hashing import Hashes
from beam_etl.kernels.text import Words, split
from beam_etl.kernels.word_hash import MULTIPLIER, mix, word_hash

NGRAM = 13
"""Words, as GPT-3's."""

MAX_NGRAM = 64

MAX_WORDS = 1 << 24
"""Of all evaluation sets together: some 100 MB of text, for which each process holds up to 0.7 GB."""

BITS_PER_NGRAM = 16
"""Of the filter, which passes one in so many of the n-grams that no set has."""

_BASE = np.uint64(0xAEF17502108EF2D9)

Integers = npt.NDArray[np.int64]


class TooManyWordsError(ValueError):
    """Evaluation sets have more than MAX_WORDS words."""


@dataclass(frozen=True)
class Index:
    """The distinct n-grams of some evaluation sets, and where they are: each once a set, in its first row.

    hashes: uint64[n-grams], ascending.
    edges: int64[n-grams + 1]. The n-gram i is in the sets and rows from `edges[i]` up to `edges[i + 1]`.
    sets, rows: int32, of those.
    leads: int64[n-grams], the place of an n-gram's first word among the words of all sets.
    filter: uint8, a bit for each n-gram, by the high bits of its hash.
    """

    hashes: Hashes
    edges: Integers
    sets: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int32]
    leads: Integers
    filter: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Evaluations:
    """Some evaluation sets.

    names: of the sets.
    ngram: words of an n-gram.
    texts, short: how many there are of each set, and those of them that have fewer words than an n-gram.
    words: uint64, the hashes of all words.
    index: their n-grams.
    """

    names: tuple[str, ...]
    ngram: int
    texts: tuple[int, ...]
    short: tuple[int, ...]
    words: Hashes
    index: Index

    def find(self, words: Words) -> Integers:
        """Which n-gram begins at each word: int64[words], its number, or -1. Each was compared word by word."""
        found = np.full(words.begins.size - 1, -1, np.int64)
        known = self.index
        if known.hashes.size:
            _find(
                hash_words(words),
                words.edges,
                self.ngram,
                known.filter,
                _shift(known.filter.size),
                known.hashes,
                known.leads,
                self.words,
                found,
            )
        return found


def make_evaluations(sets: Sequence[tuple[str, pa.Array]], ngram: int = NGRAM) -> Evaluations:
    """The n-grams of sets.

    Args:
      sets: of each its name and texts, by row. A null has no words.
      ngram: words, 1 to MAX_NGRAM.

    Raises:
      ValueError: ngram is out of range.
      TooManyWordsError: there are more than MAX_WORDS.
    """
    if not 1 <= ngram <= MAX_NGRAM:
        raise ValueError(f"ngram must be from 1 to {MAX_NGRAM} words, got {ngram}")
    words, numbers, rows, places, short, size = [], [], [], [], [], 0
    for number, (name, text) in enumerate(sets):
        found = split(text)
        counts = np.diff(found.edges)
        if size + found.edges[-1] > MAX_WORDS:
            raise TooManyWordsError(
                f"the evaluation sets up to {name} have {size + found.edges[-1]:,} words; {MAX_WORDS:,} are held. "
                f"Give fewer of them, or decontaminate several times."
            )
        words.append(hash_words(found))
        grams = np.maximum(counts - (ngram - 1), 0)
        row = np.repeat(np.arange(counts.size), grams)
        first = np.repeat(found.edges[:-1] - np.cumsum(grams) + grams, grams) + np.arange(grams.sum())
        rows.append(row)
        places.append(first + size)
        numbers.append(np.full(row.size, number))
        short.append(int(((counts > 0) & (grams == 0)).sum()))
        size += int(found.edges[-1])
    every = np.concatenate([np.empty(0, np.uint64), *words])
    where = [np.concatenate([np.empty(0, np.int64), *parts]) for parts in (numbers, rows, places)]
    return Evaluations(
        names=tuple(name for name, _ in sets),
        ngram=ngram,
        texts=tuple(len(text) - text.null_count for _, text in sets),
        short=tuple(short),
        words=every,
        index=_indexed(every, ngram, *where),
    )


def _indexed(words: Hashes, ngram: int, sets: Integers, rows: Integers, places: Integers) -> Index:
    """An index of n-grams by the set, row and first word of each."""
    hashes = np.empty(places.size, np.uint64)
    _hash_ngrams(words, places, ngram, hashes)
    order = np.lexsort((places, sets, hashes))
    hashes, sets = hashes[order], sets[order]
    new_hash = np.concatenate([[True], hashes[1:] != hashes[:-1]])[: hashes.size]
    once = new_hash | np.concatenate([[True], sets[1:] != sets[:-1]])[: hashes.size]
    order, hashes, sets, new_hash = order[once], hashes[once], sets[once], new_hash[once]
    distinct = hashes[new_hash]
    return Index(
        hashes=distinct,
        edges=np.append(np.flatnonzero(new_hash), hashes.size),
        sets=sets.astype(np.int32),
        rows=rows[order].astype(np.int32),
        leads=places[order[new_hash]],
        filter=_filter(distinct),
    )


def _filter(hashes: Hashes) -> npt.NDArray[np.uint8]:
    size = 1 << max(0, (BITS_PER_NGRAM * hashes.size - 1).bit_length() - 3)
    slots = hashes >> np.uint64(_shift(size))
    bits = np.left_shift(1, slots & np.uint64(7)).astype(np.uint8)
    passed = np.zeros(size, np.uint8)
    np.bitwise_or.at(passed, slots >> np.uint64(3), bits)
    return passed


def _shift(size: int) -> int:
    """Of a hash to the number of its bit, in a filter of so many bytes, a power of 2."""
    return 64 - 3 - (size.bit_length() - 1)


def hash_words(words: Words) -> Hashes:
    """uint64[words]."""
    hashes = np.empty(words.begins.size - 1, np.uint64)
    _hash_words(words.letters, words.begins, hashes)
    return hashes


@compiled
def _hash_words(
    letters: ReadOnly[np.uint8], begins: ReadOnly[np.int64], hashes: npt.NDArray[np.uint64]
) -> None:
    for word in range(hashes.size):
        hashes[np.uintp(word)] = word_hash(letters, begins[np.uintp(word)], begins[np.uintp(word + 1)])


@compiled
def _hash_ngrams(
    words: ReadOnly[np.uint64], places: ReadOnly[np.int64], ngram: int, hashes: npt.NDArray[np.uint64]
) -> None:
    for number in range(places.size):
        value = np.uint64(0)
        for step in range(ngram):
            value = value * _BASE + words[np.uintp(places[np.uintp(number)] + step)]
        hashes[np.uintp(number)] = mix(value * MULTIPLIER)


@compiled
def _find(  # noqa: PLR0913 - the sets, as arrays
    words: ReadOnly[np.uint64],
    edges: ReadOnly[np.int64],
    ngram: int,
    passed: ReadOnly[np.uint8],
    shift: int,
    hashes: ReadOnly[np.uint64],
    places: ReadOnly[np.int64],
    known: ReadOnly[np.uint64],
    found: npt.NDArray[np.int64],
) -> None:
    """A rolling hash; the few that the filter passes are looked up, and compared with the words of the set."""
    leaves = np.uint64(1)
    for _ in range(ngram - 1):
        leaves *= _BASE
    for row in range(edges.size - 1):
        value = np.uint64(0)
        for word in range(edges[row], edges[row + 1]):
            value = value * _BASE + words[np.uintp(word)]
            first = word - (ngram - 1)
            if first < edges[row]:
                continue
            key = mix(value * MULTIPLIER)
            slot = key >> np.uint64(shift)
            if passed[np.uintp(slot >> np.uint64(3))] >> np.uint8(slot & np.uint64(7)) & 1:
                place = place_in(hashes, key)
                if place >= 0 and _is_equal(words, first, known, places[np.uintp(place)], ngram):
                    found[np.uintp(first)] = place
            value -= words[np.uintp(first)] * leaves


@compiled
def _is_equal(
    words: ReadOnly[np.uint64], here: int, known: ReadOnly[np.uint64], there: int, ngram: int
) -> bool:
    for step in range(ngram):  # noqa: SIM110 - Numba has no all()
        if words[np.uintp(here + step)] != known[np.uintp(there + step)]:
            return False
    return True
