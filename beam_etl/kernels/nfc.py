"""NFC, for those texts only that don't have it already: nearly none in most languages.

The form is that of unicode_table's version of Unicode. (unicodedata's changes with Python, and pyarrow's
utf8_normalize doesn't compose up to 25.0, apache/arrow#51225.)
"""

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.unicode_table import (
    COMBINING_MASK,
    COMPOSES_BACK,
    COMPOSES_ON,
    NEVER_NFC,
    PARTS_SHIFT,
    POINT_BITS,
    POINT_MASK,
    composition,
)
from beam_etl.kernels.utf8 import Utf8, append, ascii_end, byte, decode

LARGEST_GROWTH = 3
"""Bytes of NFC for a byte of text, at most (UAX #15), or for one that isn't UTF-8 and becomes U+FFFD."""
MOST_POINTS = 2
"""Code points of the decomposition for a byte of text: more than the 3 for 2 bytes of U+0390."""

# Hangul syllables compose by arithmetic (Unicode section 3.12).
SYLLABLES, LEADING, VOWELS, TRAILING = 0xAC00, 0x1100, 0x1161, 0x11A7
LEADING_COUNT, VOWEL_COUNT, TRAILING_COUNT = 19, 21, 28
SYLLABLE_COUNT = LEADING_COUNT * VOWEL_COUNT * TRAILING_COUNT


def nfc(texts: Utf8) -> Utf8:
    """The NFC form of each text. Where one needs another form, all are copied to one buffer."""
    rows = not_nfc(texts)
    if not rows.size:
        return texts
    other = compose(texts, rows)
    begin, end = texts.begin.copy(), texts.end.copy()
    begin[rows] = other.begin + texts.data.size
    end[rows] = other.end + texts.data.size
    return Utf8(np.concatenate([texts.data, other.data]), begin, end)


def not_nfc(texts: Utf8) -> npt.NDArray[np.int64]:
    """The rows whose text may not be NFC, ascending: int64[k]. None is missing; a few are NFC after all."""
    passed = np.empty(texts.begin.size, np.bool_)
    _check(texts.data, texts.begin, texts.end, composition().table, passed)
    return np.flatnonzero(~passed)


def compose(texts: Utf8, rows: npt.NDArray[np.int64]) -> Utf8:
    """The NFC form of some rows."""
    data = composition()
    edges = np.zeros(rows.size + 1, np.int64)
    letters = _compose(
        texts.data, texts.begin[rows], texts.end[rows], data.table, data.parts, data.pairs, edges
    )
    return Utf8(letters, edges[:-1], edges[1:])


@compiled
def _check(
    data: ReadOnly[np.uint8],
    begin: ReadOnly[np.int64],
    end: ReadOnly[np.int64],
    table: ReadOnly[np.uint32],
    passed: npt.NDArray[np.bool_],
) -> None:
    for row in range(begin.size):
        passed[row] = _is_nfc(data, begin[row], end[row], table)


@compiled
def _is_nfc(data: ReadOnly[np.uint8], at: int, end: int, table: ReadOnly[np.uint32]) -> bool:
    """Unicode's quick check (UAX #15). Its Maybe is a yes where the last starter composes with nothing."""
    starter, before = 0, 0
    while at < end:
        if byte(data, at) < 0x80:
            at = ascii_end(data, at, end)
            if at == end:
                break
            starter, before = int(table[byte(data, at - 1)]), 0
        point, width = decode(data, at, end)
        at += width
        here = int(table[np.uintp(point)])
        combining = here & COMBINING_MASK
        if here & NEVER_NFC or 0 < combining < before:
            return False
        if here & COMPOSES_BACK and starter & COMPOSES_ON:
            return False
        if combining == 0:
            starter = here
        before = combining
    return True


@compiled
def _compose(
    data: ReadOnly[np.uint8],
    begin: ReadOnly[np.int64],
    end: ReadOnly[np.int64],
    table: ReadOnly[np.uint32],
    parts: ReadOnly[np.uint64],
    pairs: ReadOnly[np.uint64],
    edges: npt.NDArray[np.int64],
) -> npt.NDArray[np.uint8]:
    """The NFC form of all texts on end; text i is written between `edges[i]` and `edges[i + 1]`."""
    longest, total = 0, 0
    for row in range(begin.size):
        longest = max(longest, end[row] - begin[row])
        total += end[row] - begin[row]
    points = np.empty(longest * MOST_POINTS, np.uint32)
    spare = np.empty(longest * MOST_POINTS, np.uint32)
    letters = np.empty(total * LARGEST_GROWTH, np.uint8)
    size = 0
    for row in range(begin.size):
        count = _decompose(data, begin[row], end[row], table, parts, points)
        _order_marks(points, count, table, spare)
        for place in range(_recompose(points, count, table, pairs)):
            size = append(int(points[place]), letters, size)
        edges[row + 1] = size
    return letters[:size]


@compiled
def _decompose(
    data: ReadOnly[np.uint8],
    at: int,
    end: int,
    table: ReadOnly[np.uint32],
    parts: ReadOnly[np.uint64],
    points: npt.NDArray[np.uint32],
) -> int:
    """Writes the full canonical decomposition of a text. Returns its number of code points."""
    count = 0
    while at < end:
        point, width = decode(data, at, end)
        at += width
        syllable = point - SYLLABLES
        if 0 <= syllable < SYLLABLE_COUNT:
            points[count] = LEADING + syllable // (VOWEL_COUNT * TRAILING_COUNT)
            points[count + 1] = VOWELS + syllable // TRAILING_COUNT % VOWEL_COUNT
            count += 2
            if syllable % TRAILING_COUNT != 0:
                points[count] = TRAILING + syllable % TRAILING_COUNT
                count += 1
        else:
            count = _decompose_character(point, table, parts, points, count)
    return count


@compiled
def _decompose_character(
    point: int,
    table: ReadOnly[np.uint32],
    parts: ReadOnly[np.uint64],
    points: npt.NDArray[np.uint32],
    at: int,
) -> int:
    """Writes what a code point decomposes to, which may be itself. Returns the place behind it."""
    behind = at + 1
    place = int(table[point]) >> PARTS_SHIFT
    while place != 0:  # the second part, if there is one, goes behind the first and before those found so far
        both = int(parts[place])
        if both & POINT_MASK != 0:
            for later in range(behind, at + 1, -1):
                points[later] = points[later - 1]
            points[at + 1] = both & POINT_MASK
            behind += 1
        point = both >> POINT_BITS
        place = int(table[point]) >> PARTS_SHIFT
    points[at] = point
    return behind


@compiled
def _order_marks(
    points: npt.NDArray[np.uint32], count: int, table: ReadOnly[np.uint32], spare: npt.NDArray[np.uint32]
) -> None:
    """Sorts each run of marks by combining class; equal ones stay as they stand."""
    at = 0
    while at < count:
        behind, before, in_order = at, 0, True
        while behind < count and int(table[points[behind]]) & COMBINING_MASK != 0:
            combining = int(table[points[behind]]) & COMBINING_MASK
            in_order = in_order and before <= combining
            before = combining
            behind += 1
        if not in_order:
            _sort_marks(points, at, behind, table, spare)
        at = behind + 1


@compiled
def _sort_marks(
    points: npt.NDArray[np.uint32],
    at: int,
    end: int,
    table: ReadOnly[np.uint32],
    spare: npt.NDArray[np.uint32],
) -> None:
    """Class by class, so that a long run takes as many passes as there are classes in it."""
    place, done = at, 0
    while place < end:
        smallest = COMBINING_MASK + 1
        for mark in range(at, end):
            combining = int(table[points[mark]]) & COMBINING_MASK
            if done < combining < smallest:
                smallest = combining
        for mark in range(at, end):
            if int(table[points[mark]]) & COMBINING_MASK == smallest:
                spare[place] = points[mark]
                place += 1
        done = smallest
    for mark in range(at, end):
        points[mark] = spare[mark]


@compiled
def _recompose(
    points: npt.NDArray[np.uint32], count: int, table: ReadOnly[np.uint32], pairs: ReadOnly[np.uint64]
) -> int:
    """Composes in place what follows a starter and isn't blocked from it. Returns how many are left."""
    starter, before, size = -1, 0, 0
    for place in range(count):
        point = int(points[place])
        combining = int(table[point]) & COMBINING_MASK
        if starter >= 0 and (size == starter + 1 or before < combining):
            both = _composed(int(points[starter]), point, table, pairs)
            if both != 0:
                points[starter] = both
                continue
        if combining == 0:
            starter = size
        before = combining
        points[size] = point
        size += 1
    return size


@compiled
def _composed(first: int, second: int, table: ReadOnly[np.uint32], pairs: ReadOnly[np.uint64]) -> int:
    """What two code points compose to, or 0."""
    if 0 <= first - LEADING < LEADING_COUNT and 0 <= second - VOWELS < VOWEL_COUNT:
        return SYLLABLES + ((first - LEADING) * VOWEL_COUNT + second - VOWELS) * TRAILING_COUNT
    if 0 <= first - SYLLABLES < SYLLABLE_COUNT and 0 < second - TRAILING < TRAILING_COUNT:
        return first + second - TRAILING if (first - SYLLABLES) % TRAILING_COUNT == 0 else 0
    if int(table[first]) & COMPOSES_ON == 0 or int(table[second]) & COMPOSES_BACK == 0:
        return 0
    both = first << POINT_BITS | second
    low, high = 0, pairs.size
    while low < high:
        middle = (low + high) // 2
        if int(pairs[middle]) >> POINT_BITS < both:
            low = middle + 1
        else:
            high = middle
    if low < pairs.size and int(pairs[low]) >> POINT_BITS == both:
        return int(pairs[low]) & POINT_MASK
    return 0
