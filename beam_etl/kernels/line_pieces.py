"""Texts as lines or paragraphs, each with a hash of what it says."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.hashing import Hashes
from beam_etl.kernels.text import FINAL_SIGMA
from beam_etl.kernels.unicode_table import (
    CATEGORIES,
    CATEGORY_MASK,
    CODE_POINTS,
    LOWER_MASK,
    PARTS_SHIFT,
    POINT_BITS,
    POINT_MASK,
    categories,
    composition,
    rule_table,
)
from beam_etl.kernels.utf8 import Utf8, byte, decode, trails
from beam_etl.kernels.word_hash import mix, word_hash

NEW_LINE = 0x0A
SPACE = 0x20
DIGIT = 0x30
SIGMA = 0x3C3
_CONTROL_SPACES = (0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85)
_ACCENTS = (0x300, 0x36F)
"""Combining diacritical marks. Vowel signs of other scripts are letters to who reads them, and stay."""

_SEED = np.uint64(0x3C6EF372FE94F82B)


@dataclass(frozen=True)
class Pieces:
    """The pieces of n texts. Places are those of the texts' bytes.

    edges: int64[n + 1]. Text i has the pieces from `edges[i]` up to `edges[i + 1]`.
    begins, ends: int64[pieces], without the line breaks behind.
    behind: int64[pieces], where those end.
    hashes: uint64[pieces].
    lengths: int64[pieces], characters that are compared.
    """

    edges: npt.NDArray[np.int64]
    begins: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    behind: npt.NDArray[np.int64]
    hashes: Hashes
    lengths: npt.NDArray[np.int64]


def cut_pieces(texts: Utf8, paragraphs: bool, exact: bool) -> Pieces:
    """The lines, or paragraphs, of each text.

    A line ends at a new line, a paragraph at a blank one: nothing but spaces, tabs and carriage returns is on it.

    Args:
      texts: n of them.
      paragraphs: what to cut at.
      exact: pieces are compared as they are, without ASCII white space at their ends. Else as CCNet states it (Wenzek
        and others, 2020, section 3.1): in lower case, each decimal digit as 0, without punctuation and accents; nor
        are control and format characters compared, and a run of white space is one space, or nothing at an end.
    """
    low, high = (int(texts.begin[0]), int(texts.end.max())) if texts.begin.size else (0, 0)
    most = int(np.count_nonzero(texts.data[low:high] == NEW_LINE)) + texts.begin.size
    found = Pieces(
        np.zeros(texts.begin.size + 1, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.uint64),
        np.empty(most, np.int64),
    )
    table = np.empty(0, np.uint32) if exact else fold_table()
    _cut(
        texts.data,
        texts.begin,
        texts.end,
        paragraphs,
        table,
        found.edges,
        found.begins,
        found.ends,
        found.behind,
        found.hashes,
        found.lengths,
    )
    count = found.edges[-1]
    return Pieces(
        found.edges,
        found.begins[:count],
        found.ends[:count],
        found.behind[:count],
        found.hashes[:count],
        found.lengths[:count],
    )


@cache
def fold_table() -> npt.NDArray[np.uint32]:
    """What each character is compared as: uint32[CODE_POINTS], SPACE for white space, 0 for what isn't compared."""
    category = np.array(CATEGORIES)[categories() & CATEGORY_MASK]
    table = _without_accents()[rule_table("words") & np.uint32(LOWER_MASK)]
    table[FINAL_SIGMA] = SIGMA  # which of the two a capital becomes depends on what stands around it
    kind = category[table]
    major = np.char.array(kind, itemsize=2).astype("U1")
    table[kind == "Nd"] = DIGIT
    table[(major == "P") | np.isin(kind, ("Cc", "Cf"))] = 0
    points = np.arange(CODE_POINTS)
    table[(points >= _ACCENTS[0]) & (points <= _ACCENTS[1])] = 0
    table[(major == "Z") | np.isin(points, _CONTROL_SPACES)] = SPACE
    table.flags.writeable = False
    return table


def _without_accents() -> npt.NDArray[np.uint32]:
    """What each character is without its accents."""
    stored = composition()
    base = np.arange(CODE_POINTS, dtype=np.uint32)
    while True:
        parts = stored.parts[(stored.table >> np.uint32(PARTS_SHIFT))[base]]
        second = parts & np.uint64(POINT_MASK)
        accented = (second >= _ACCENTS[0]) & (second <= _ACCENTS[1])
        another = (parts > 0) & (accented | (second == 0))  # or the same character by another number
        if not another.any():
            return base
        base[another] = (parts >> np.uint64(POINT_BITS))[another].astype(np.uint32)


@compiled
def _cut(  # noqa: PLR0913 - room for all that it writes
    data: ReadOnly[np.uint8],
    begin: ReadOnly[np.int64],
    end: ReadOnly[np.int64],
    paragraphs: bool,
    table: ReadOnly[np.uint32],
    edges: npt.NDArray[np.int64],
    begins: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    behind: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    lengths: npt.NDArray[np.int64],
) -> None:
    """An empty table compares pieces as they are."""
    piece = 0
    for row in range(begin.size):
        at, stop = begin[row], end[row]
        while at < stop:
            last, after = _piece_end(data, at, stop, paragraphs)
            begins[np.uintp(piece)], ends[np.uintp(piece)], behind[np.uintp(piece)] = at, last, after
            if table.size:
                key, length = _folded(data, at, last, table)
            else:
                key, length = _bare(data, at, last)
            hashes[np.uintp(piece)], lengths[np.uintp(piece)] = key, length
            piece += 1
            at = after
        edges[row + 1] = piece


@compiled
def _piece_end(data: ReadOnly[np.uint8], at: int, stop: int, paragraphs: bool) -> tuple[int, int]:
    """Where a piece ends, and where the next one begins."""
    while True:
        while at < stop and byte(data, at) != NEW_LINE:
            at += 1
        if at == stop:
            return stop, stop
        if not paragraphs:
            return at, at + 1
        after = _behind_blank(data, at + 1, stop)
        if after > at + 1:
            return at, after
        at += 1


@compiled
def _behind_blank(data: ReadOnly[np.uint8], at: int, stop: int) -> int:
    """The place behind the blank lines from `at` on, where a line begins."""
    begin = at
    while at < stop:
        value = byte(data, at)
        if value == NEW_LINE:
            begin = at + 1
        elif not _is_blank(value):
            return begin
        at += 1
    return begin


@compiled
def _is_blank(value: int) -> bool:
    return value == SPACE or 0x09 <= value <= 0x0D


@compiled
def _bare(data: ReadOnly[np.uint8], at: int, stop: int) -> tuple[np.uint64, int]:
    """Hash and characters of a piece as it is."""
    while at < stop and _is_blank(byte(data, at)):
        at += 1
    while at < stop and _is_blank(byte(data, stop - 1)):
        stop -= 1
    count = 0
    for place in range(at, stop):
        count += not trails(data, place)
    return word_hash(data, at, stop), count


@compiled
def _folded(
    data: ReadOnly[np.uint8], at: int, stop: int, table: ReadOnly[np.uint32]
) -> tuple[np.uint64, int]:
    """Hash and characters of a piece as a table has it: three characters are mixed at a time."""
    key, held, count, space = _SEED, np.uint64(0), 0, False
    while at < stop:
        if byte(data, at) < 0x80:
            point = table[np.uintp(byte(data, at))]
            at += 1
        else:
            wide, width = decode(data, at, stop)
            point = table[np.uintp(wide)]
            at += width
        if point == SPACE:
            space = count > 0
        elif point:
            if space:
                key, held, count = _taken(key, held, count, np.uint32(SPACE))
                space = False
            key, held, count = _taken(key, held, count, point)
    return mix(mix(key ^ held) + np.uint64(count)), count


@compiled
def _taken(key: np.uint64, held: np.uint64, count: int, point: np.uint32) -> tuple[np.uint64, np.uint64, int]:
    held = held << np.uint64(POINT_BITS) | np.uint64(point)
    if count % 3 == 2:
        return mix(key ^ held), np.uint64(0), count + 1
    return key, held, count + 1
