"""The one tokeniser: NFC, lower case, words. Token counts, shingles, the index and the signals use it.

A text's words are those of `lower(NFC(text))`: lower case as str.lower makes it, over the whole text, and
words by one of the rules of unicode_table. A rule is a table for the same loops.

Text that isn't UTF-8 is for the readers to reject. Here a byte that is no part of a character ends a word.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.nfc import compose, nfc, not_nfc
from beam_etl.kernels.spans import Spans
from beam_etl.kernels.unicode_table import (
    ALONE,
    CASE_IGNORABLE,
    CASED,
    KIND_SHIFT,
    LOWER_MASK,
    MARK,
    NONE,
    RUN,
    rule_table,
)
from beam_etl.kernels.utf8 import Utf8, append, byte, decode, large_string, trails, utf8

CAPITAL_SIGMA, FINAL_SIGMA = 0x3A3, 0x3C2
CAPITAL_I_WITH_DOT, DOT_ABOVE = 0x130, 0x307
"""The one character whose lower case is two: i, which the table has, and the dot."""

LONGEST_CHARACTER = 4
"""Bytes."""


@dataclass(frozen=True)
class Words:
    """The words of n texts, on end and in lower case.

    letters: uint8, UTF-8.
    begins: int64[words + 1]. Word j is `letters[begins[j]:begins[j + 1]]`.
    edges: int64[n + 1]. Text i has the words from `edges[i]` up to `edges[i + 1]`.
    """

    letters: npt.NDArray[np.uint8]
    begins: npt.NDArray[np.int64]
    edges: npt.NDArray[np.int64]


def count_characters(text: pa.Array) -> npt.NDArray[np.int64]:
    """Code points of each text: int64[rows]. A null has none."""
    counts: npt.NDArray[np.int64] = pc.fill_null(pc.utf8_length(large_string(text)), 0).to_numpy()
    return counts


def count_words(text: pa.Array, rule: str = "words") -> npt.NDArray[np.int64]:
    """Words of each text.

    Args:
      text: any kind of string array, dictionary-encoded too.
      rule: one of unicode_table.RULES.

    Returns:
      int64[rows]. A null has none.

    Raises:
      TypeError: text is of another type.
      ValueError: there is no such rule.
    """
    table = rule_table(rule)
    texts = utf8(text)
    counts = _counts(texts, table)
    rows = not_nfc(texts)
    if rows.size:  # without nfc(texts), which copies every text to have one buffer
        counts[rows] = _counts(compose(texts, rows), table)
    return counts


def words(text: pa.Array, rule: str = "words") -> pa.LargeListArray:
    """The words of each text, in order: large_list<large_string>[rows], null where the text is null.

    Arguments, errors and the number of words are those of count_words.
    """
    found = split(text, rule)
    values = pa.LargeStringArray.from_buffers(
        found.begins.size - 1, pa.py_buffer(found.begins), pa.py_buffer(found.letters)
    )
    mask = text.is_null() if text.null_count else None
    return pa.LargeListArray.from_arrays(found.edges, values, mask=mask)


def split(text: pa.Array, rule: str = "words") -> Words:
    """The same as plain arrays, for kernels that go on from them."""
    table = rule_table(rule)
    texts = nfc(utf8(text))
    edges = np.zeros(texts.begin.size + 1, np.int64)
    size = int((texts.end - texts.begin).sum())
    begins = np.empty(
        size + 1, np.int64
    )  # a word has a byte at least; pages that aren't written aren't there
    letters = np.empty(size * 3 // 2 + LONGEST_CHARACTER, np.uint8)  # lower case makes at most 3 bytes of 2
    _split_words(texts.data, texts.begin, texts.end, table, letters, begins, edges)
    return Words(letters[: begins[edges[-1]]], begins[: edges[-1] + 1], edges)


def word_places(texts: Utf8, rule: str = "words") -> Spans:
    """Where the words of texts are that are in NFC; they are as many as `split` has."""
    size = int((texts.end - texts.begin).sum())
    edges = np.zeros(texts.begin.size + 1, np.int64)
    begins, ends = np.empty(size, np.int64), np.empty(size, np.int64)
    _place_words(texts.data, texts.begin, texts.end, rule_table(rule), begins, ends, edges)
    return Spans(edges, begins[: edges[-1]], ends[: edges[-1]])


def _counts(texts: Utf8, table: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    counts = np.empty(texts.begin.size, np.int64)
    _count_words(texts.data, texts.begin, texts.end, table, counts)
    return counts


@compiled
def _count_words(
    data: ReadOnly[np.uint8],
    begin: ReadOnly[np.int64],
    end: ReadOnly[np.int64],
    table: ReadOnly[np.uint32],
    counts: npt.NDArray[np.int64],
) -> None:
    for row in range(begin.size):
        at, stop = begin[row], end[row]
        count, open_word = 0, NONE
        while at < stop:
            if byte(data, at) < 0x80:
                kind = kind_of(table, byte(data, at))
                count += begins_word_ascii(open_word, kind)
                open_word = kind
                at += 1
            else:
                point, width = decode(data, at, stop)
                kind = kind_of(table, point)
                count += begins_word(open_word, kind)
                open_word = open_after(open_word, kind)
                if point == CAPITAL_I_WITH_DOT:
                    open_word = open_after(open_word, kind_of(table, DOT_ABOVE))
                at += width
        counts[row] = count


@compiled
def _split_words(
    data: ReadOnly[np.uint8],
    begin: ReadOnly[np.int64],
    end: ReadOnly[np.int64],
    table: ReadOnly[np.uint32],
    letters: npt.NDArray[np.uint8],
    begins: npt.NDArray[np.int64],
    edges: npt.NDArray[np.int64],
) -> None:
    """As _count_words, and writes. To write what isn't kept is faster than to ask whether it is."""
    word, size = 0, 0
    for row in range(begin.size):
        at, stop = begin[row], end[row]
        open_word = NONE
        while at < stop:
            begins[np.uintp(word)] = size
            if byte(data, at) < 0x80:
                kind = kind_of(table, byte(data, at))
                word += begins_word_ascii(open_word, kind)
                open_word = kind
                letters[np.uintp(size)] = lower_of(table, byte(data, at))
                size += kind != NONE
                at += 1
            else:
                point, width = decode(data, at, stop)
                kind = kind_of(table, point)
                word += begins_word(open_word, kind)
                open_word = open_after(open_word, kind)
                if kind != NONE:
                    if point == CAPITAL_SIGMA and is_final(data, begin[row], at, stop, table):
                        size = append(FINAL_SIGMA, letters, size)
                    else:
                        size = append(lower_of(table, point), letters, size)
                if point == CAPITAL_I_WITH_DOT:
                    open_word = open_after(open_word, kind_of(table, DOT_ABOVE))
                    if open_word != NONE:
                        size = append(DOT_ABOVE, letters, size)
                at += width
        edges[row + 1] = word
    begins[np.uintp(word)] = size


@compiled
def _place_words(
    data: ReadOnly[np.uint8],
    begin: ReadOnly[np.int64],
    end: ReadOnly[np.int64],
    table: ReadOnly[np.uint32],
    begins: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    edges: npt.NDArray[np.int64],
) -> None:
    word = 0
    for row in range(begin.size):
        at, stop = begin[row], end[row]
        open_word = NONE
        while at < stop:
            point, width = decode(data, at, stop)
            kind = kind_of(table, point)
            if begins_word(open_word, kind):
                begins[np.uintp(word)] = at
                word += 1
            open_word = open_after(open_word, kind)
            if point == CAPITAL_I_WITH_DOT:
                open_word = open_after(open_word, kind_of(table, DOT_ABOVE))
            at += width
            if kind != NONE:
                ends[np.uintp(word - 1)] = at
        edges[row + 1] = word


@compiled
def kind_of(table: ReadOnly[np.uint32], point: int) -> int:
    """What a code point does to a word: NONE, RUN, ALONE or MARK."""
    return int(table[np.uintp(point)]) >> KIND_SHIFT


@compiled
def lower_of(table: ReadOnly[np.uint32], point: int) -> int:
    """The lower case of a code point that has one of its own, whatever stands around it."""
    return int(table[np.uintp(point)]) & LOWER_MASK


@compiled
def begins_word(open_word: int, kind: int) -> int:
    """1 where a character begins a word, else 0. Open before it is NONE, a RUN, or a word that is ALONE."""
    return int(kind == ALONE or (kind == RUN and open_word != RUN) or (kind == MARK and open_word == NONE))


@compiled
def begins_word_ascii(open_word: int, kind: int) -> int:
    """The same for what is no MARK, without a branch."""
    return kind >> 1 | kind & ~open_word & 1


@compiled
def open_after(open_word: int, kind: int) -> int:
    """The word that is open behind a character: NONE, RUN or ALONE."""
    if kind != MARK:
        return kind
    return RUN if open_word == NONE else open_word


@compiled
def is_final(data: ReadOnly[np.uint8], begin: int, at: int, end: int, table: ReadOnly[np.uint32]) -> bool:
    """Whether the capital sigma at a place of the text from `begin` to `end` becomes a final one.

    A cased character stands before it and none behind it, not counting case-ignorable ones (Unicode section
    3.13, Final_Sigma).
    """
    here, flags = at, CASE_IGNORABLE
    while flags & CASE_IGNORABLE and here > begin:
        here -= 1
        while here > begin and trails(data, here):
            here -= 1
        point, width = decode(data, here, end)
        flags = np.int64(table[np.uintp(point)])  # type: ignore[assignment, unused-ignore]  # as NumPy types it
    if not flags & CASED:
        return False
    here, flags = at + 2, CASE_IGNORABLE
    while flags & CASE_IGNORABLE and here < end:
        point, width = decode(data, here, end)
        flags = np.int64(table[np.uintp(point)])  # type: ignore[assignment, unused-ignore]  # as NumPy types it
        here += width
    return not flags & CASED
