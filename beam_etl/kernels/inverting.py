"""A batch of texts turned around: for each word, the texts that have it, how often, and where.

Words get numbers as they come, by a hash table that compares their bytes. When all have one, each term's postings have
their place: terms in the order of their bytes, texts in their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.text import Words, split
from beam_etl.kernels.utf8 import large_string
from beam_etl.kernels.word_hash import mix, up_to_eight, word_hash
from beam_etl.schema import TEXT

INVERTED_BYTES = 16 << 20
"""Text that is worth inverting at a time, about: the more there is, the fewer pieces a term has, and what crosses is
mostly terms. It takes some 8 times that."""

MAX_TERM_BYTES = 255
"""Longer words are no terms: nobody asks for them, and most are data that were taken for text."""

NO_TERM = 0xFFFFFFFF
"""Instead of a term's number: a word that is none."""

FIRST_TERMS = 1 << 15
"""The table begins with room for so many terms, and grows twofold."""

_PREFIX = 8
"""Bytes that terms are sorted by at a time."""

LONG = 1 << 31
"""Marks a term of more than 8 bytes in the table; a batch has fewer terms than that."""


@dataclass(frozen=True)
class Inverted:
    """The postings of n texts, term by term.

    letters: uint8, the terms end on end, UTF-8.
    begins: int64[terms + 1]. Term t is `letters[begins[t]:begins[t + 1]]`. Terms are distinct and ascend as bytes.
    edges: int64[terms + 1]. Term t has the postings from `edges[t]` up to `edges[t + 1]`.
    rows: uint32[postings], the text of each, ascending within a term.
    frequencies: uint32[postings], how often the text has the term.
    positions: uint32[occurrences], the places of a term in its text, counted in words from 0, posting by posting: each
      has as many as its frequency, ascending. None where they weren't asked for.
    lengths: uint32[n], the words of each text that are terms.
    left_out: words of more than MAX_TERM_BYTES. They count as places.
    """

    letters: npt.NDArray[np.uint8]
    begins: npt.NDArray[np.int64]
    edges: npt.NDArray[np.int64]
    rows: npt.NDArray[np.uint32]
    frequencies: npt.NDArray[np.uint32]
    positions: npt.NDArray[np.uint32] | None
    lengths: npt.NDArray[np.uint32]
    left_out: int


def invert(text: pa.Array, rule: str = "words", positions: bool = False) -> Inverted:
    """The postings of some texts.

    Args:
      text: any kind of string array. A null has no words.
      rule: one of unicode_table.RULES.
      positions: whether the places of words are wanted.

    Raises:
      TypeError: text is of another type.
      ValueError: there is no such rule.
    """
    found = split(text, rule)
    numbers, firsts = _number(found)
    order = _sorted(found, firsts)
    rank = np.empty(order.size, np.uint32)
    rank[order] = np.arange(order.size, dtype=np.uint32)
    counts, occurrences = np.zeros(order.size, np.int64), np.zeros(order.size, np.int64)
    lengths = np.empty(found.edges.size - 1, np.uint32)
    _count(found.edges, rank, numbers, np.full(order.size, -1, np.int64), counts, occurrences, lengths)
    edges = np.concatenate([[0], np.cumsum(counts)])
    rows, frequencies = np.empty(edges[-1], np.uint32), np.empty(edges[-1], np.uint32)
    places = np.empty(int(occurrences.sum()) if positions else 0, np.uint32)
    place = np.cumsum(occurrences) - occurrences
    _fill(found.edges, numbers, edges[:-1].copy(), edges, place, positions, rows, frequencies, places)
    sizes = found.begins[firsts[order] + 1] - found.begins[firsts[order]]
    begins = np.concatenate([[0], np.cumsum(sizes)])
    letters = np.empty(begins[-1], np.uint8)
    _copy(found.letters, found.begins, firsts[order], begins, letters)
    left_out = int(numbers.size - lengths.sum(dtype=np.int64))
    return Inverted(
        letters, begins, edges, rows, frequencies, places if positions else None, lengths, left_out
    )


def invert_batches(batches: Sequence[pa.RecordBatch], rule: str, positions: bool) -> Inverted:
    """The postings of the texts of some batches, at least one. Rows are counted through them all.

    Args and errors are those of `invert`.
    """
    return invert(pa.concat_arrays([large_string(batch.column(TEXT)) for batch in batches]), rule, positions)


def _number(found: Words) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """The number of the term that each word is, uint32[words], and the first word of each term, int64[terms]."""
    numbers = np.empty(found.begins.size - 1, np.uint32)
    room = FIRST_TERMS
    firsts, keys, slots = (
        np.empty(room, np.int64),
        np.empty(4 * room, np.uint64),
        np.zeros(4 * room, np.uint32),
    )
    word = terms = 0
    while True:
        word, terms = _number_words(found.letters, found.begins, word, terms, keys, slots, firsts, numbers)
        if word == numbers.size:
            return numbers, firsts[:terms]
        firsts = np.concatenate([firsts, np.empty_like(firsts)])
        larger = np.empty(2 * keys.size, np.uint64), np.zeros(2 * slots.size, np.uint32)
        _rehash(keys, slots, *larger)
        keys, slots = larger


def _sorted(found: Words, firsts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The terms in the order of their bytes: by the first 8 bytes, then those that are equal by the next 8."""
    begin, end = found.begins[firsts], found.begins[firsts + 1]
    keys = _prefixes_of(found, begin, end)
    order = np.argsort(keys, kind="stable")
    new = np.ones(order.size, bool)
    new[1:] = np.diff(keys[order]) != 0  # prepend=0 would make floats of them, which round
    while (tied := np.flatnonzero(~new | np.append(~new[1:], False))).size:
        some, groups = order[tied], np.cumsum(new)[tied]
        begin[some] += _PREFIX
        keys = _prefixes_of(found, begin[some], end[some])
        within = np.lexsort((keys, groups))
        order[tied] = some[within]
        new[tied[1:]] |= np.diff(keys[within]) != 0
    return order


def _prefixes_of(
    found: Words, begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    keys = np.empty(begin.size, np.uint64)
    _prefixes(found.letters, begin, end, keys)
    return keys


@compiled
def _number_words(
    letters: ReadOnly[np.uint8],
    begins: ReadOnly[np.int64],
    word: int,
    terms: int,
    keys: npt.NDArray[np.uint64],
    slots: npt.NDArray[np.uint32],
    firsts: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.uint32],
) -> tuple[int, int]:
    """Numbers words from one on, until all are or `firsts` is full; gives the next word and the terms so far.

    A slot of the table has a term's number + 1, and LONG where the term has more than 8 bytes; 0 is a free one. Its key
    is a hash there, else the word itself, so that most words are known by one comparison.
    """
    while word < numbers.size:
        begin, end = begins[np.uintp(word)], begins[np.uintp(word + 1)]
        if end - begin > MAX_TERM_BYTES:
            numbers[np.uintp(word)] = NO_TERM
            word += 1
            continue
        is_long = np.uint32(LONG) if end - begin > _PREFIX else np.uint32(0)
        key = word_hash(letters, begin, end) if is_long else up_to_eight(letters, begin, end)
        slot = _slot(key, slots)
        while True:
            entry = slots[slot]
            if entry == 0:
                if terms == firsts.size:
                    return word, terms
                firsts[np.uintp(terms)] = word
                numbers[np.uintp(word)] = terms
                terms += 1
                slots[slot] = np.uint32(terms) | is_long
                keys[slot] = key
                break
            if keys[slot] == key and entry & np.uint32(LONG) == is_long:
                number = np.int64(entry & np.uint32(LONG - 1)) - 1
                first = firsts[np.uintp(number)]
                if not is_long or _same(letters, begins, first, begin, end):
                    numbers[np.uintp(word)] = number
                    break
            slot = np.uintp(slot + np.uintp(1) & np.uintp(slots.size - 1))
        word += 1
    return word, terms


@compiled
def _slot(key: np.uint64, slots: ReadOnly[np.uint32]) -> np.uintp:
    return np.uintp(mix(key) & np.uint64(slots.size - 1))


@compiled
def _same(letters: ReadOnly[np.uint8], begins: ReadOnly[np.int64], first: int, begin: int, end: int) -> bool:
    """Whether a word is that from `begin` up to `end`."""
    here = begins[np.uintp(first)]
    return begins[np.uintp(first + 1)] - here == end - begin and _equal(letters, here, begin, end)


@compiled
def _equal(letters: ReadOnly[np.uint8], here: int, begin: int, end: int) -> bool:
    for step in range(end - begin):  # noqa: SIM110
        if letters[np.uintp(here + step)] != letters[np.uintp(begin + step)]:
            return False
    return True


@compiled
def _rehash(
    keys: ReadOnly[np.uint64],
    slots: ReadOnly[np.uint32],
    larger_keys: npt.NDArray[np.uint64],
    larger_slots: npt.NDArray[np.uint32],
) -> None:
    for place in range(slots.size):
        if slots[place] != 0:
            slot = _slot(keys[place], larger_slots)
            while larger_slots[slot] != 0:
                slot = np.uintp(slot + np.uintp(1) & np.uintp(larger_slots.size - 1))
            larger_keys[slot], larger_slots[slot] = keys[place], slots[place]


@compiled
def _prefixes(
    letters: ReadOnly[np.uint8],
    begin: ReadOnly[np.int64],
    end: ReadOnly[np.int64],
    keys: npt.NDArray[np.uint64],
) -> None:
    """The first bytes of words as numbers that ascend as the bytes do. (No word has a byte 0.)"""
    for place in range(keys.size):
        key = np.uint64(0)
        for step in range(_PREFIX):
            at = begin[place] + step
            letter = np.uint64(letters[np.uintp(at)]) if at < end[place] else np.uint64(0)
            key = key << np.uint64(8) | letter
        keys[place] = key


@compiled
def _count(
    edges: ReadOnly[np.int64],
    rank: ReadOnly[np.uint32],
    numbers: npt.NDArray[np.uint32],
    last: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    occurrences: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.uint32],
) -> None:
    """Puts the rank of each word's term in place of its number, and counts the postings and occurrences of each rank.

    `last` is the last text that has the term, or none.
    """
    for row in range(edges.size - 1):
        length = 0
        for word in range(edges[row], edges[row + 1]):
            number = numbers[np.uintp(word)]
            if number == NO_TERM:
                continue
            term = np.uintp(rank[np.uintp(number)])
            numbers[np.uintp(word)] = term
            occurrences[term] += 1
            length += 1
            if last[term] != row:
                last[term] = row
                counts[term] += 1
        lengths[row] = length


@compiled
def _fill(  # noqa: PLR0913
    edges: ReadOnly[np.int64],
    terms: ReadOnly[np.uint32],
    next_posting: npt.NDArray[np.int64],
    begins: ReadOnly[np.int64],
    next_place: npt.NDArray[np.int64],
    with_positions: bool,
    rows: npt.NDArray[np.uint32],
    frequencies: npt.NDArray[np.uint32],
    positions: npt.NDArray[np.uint32],
) -> None:
    """The postings of each term, from `begins` on. The last one of a term goes on while it is of the same text."""
    for row in range(edges.size - 1):
        for word in range(edges[row], edges[row + 1]):
            term = np.uintp(terms[np.uintp(word)])
            if term == NO_TERM:
                continue
            at = next_posting[term]
            if at > begins[term] and rows[np.uintp(at - 1)] == row:
                frequencies[np.uintp(at - 1)] += np.uint32(1)
            else:
                rows[np.uintp(at)] = row
                frequencies[np.uintp(at)] = 1
                next_posting[term] = at + 1
            if with_positions:
                positions[np.uintp(next_place[term])] = word - edges[row]
                next_place[term] += 1


@compiled
def _copy(
    letters: ReadOnly[np.uint8],
    begins: ReadOnly[np.int64],
    words: ReadOnly[np.int64],
    ends: ReadOnly[np.int64],
    out: npt.NDArray[np.uint8],
) -> None:
    """Some words end on end."""
    for place in range(words.size):
        begin = begins[np.uintp(words[place])]
        for step in range(ends[place + 1] - ends[place]):
            out[np.uintp(ends[place] + step)] = letters[np.uintp(begin + step)]
