"""What the signals tell of lines and paragraphs: the marks at their ends, their length, which were there before."""

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.affixes import ELLIPSIS, HYPHEN, STOP, value
from beam_etl.kernels.characters import LINE_BREAK, SPACE, TERMINAL
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.groups import Groups, begin_run, first_place
from beam_etl.kernels.text_tokens import Text
from beam_etl.kernels.unicode_table import POINT_BITS
from beam_etl.kernels.word_hash import mix

NEW_LINE, CARRIAGE_RETURN, BULLET = 0x0A, 0x0D, 0x2022

SHORT_LINE = 30
"""Characters of the longest line that is short (FineWeb)."""

_SEED = np.uint64(0xBB67AE8584CAA73B)


@compiled
def line_marks(
    points: ReadOnly[np.uint32],
    kinds: ReadOnly[np.uint32],
    count: int,
    out: npt.NDArray[np.int64],
    at: int,
) -> None:
    """Writes lines as str.splitlines has them, those that begin with a bullet, those that end in an ellipsis."""
    begin = lines = bullets = ellipses = 0
    while begin < count:
        end = line_end(kinds, begin, count)
        first, last = stripped(kinds, begin, end)
        lines += 1
        if first < last:
            bullets += value(points, first) == BULLET or value(points, first) == HYPHEN
            ellipses += value(points, last - 1) == ELLIPSIS or ends_in_stops(points, first, last)
        begin = behind_break(points, end, count)
    out[np.uintp(at)] = lines
    out[np.uintp(at + 1)] = bullets
    out[np.uintp(at + 2)] = ellipses


@compiled
def line_end(kinds: ReadOnly[np.uint32], begin: int, end: int) -> int:
    """The place of the first line break from `begin` on, or `end`."""
    while begin < end and not value(kinds, begin) & LINE_BREAK:
        begin += 1
    return begin


@compiled
def behind_break(points: ReadOnly[np.uint32], at: int, end: int) -> int:
    """The place behind a line break of one or two characters."""
    both = at + 1 < end and value(points, at) == CARRIAGE_RETURN and value(points, at + 1) == NEW_LINE
    return at + 2 if both else at + 1


@compiled
def stripped(kinds: ReadOnly[np.uint32], first: int, last: int) -> tuple[int, int]:
    """The range without the spaces at its ends."""
    while first < last and value(kinds, first) & SPACE:
        first += 1
    while first < last and value(kinds, last - 1) & SPACE:
        last -= 1
    return first, last


@compiled
def ends_in_stops(points: ReadOnly[np.uint32], first: int, last: int) -> bool:
    """Whether three full stops end a range."""
    if last - first < 3:
        return False
    return (
        value(points, last - 1) == STOP
        and value(points, last - 2) == STOP
        and value(points, last - 3) == STOP
    )


@compiled
def new_lines(points: ReadOnly[np.uint32], count: int) -> int:
    """How many characters are new lines."""
    found = 0
    for at in range(count):
        found += value(points, at) == NEW_LINE
    return found


@compiled
def cut_lines(
    text: Text,
    count: int,
    most: int,
    keys: npt.NDArray[np.uint64],
    groups: Groups,
    out: npt.NDArray[np.int64],
    at: int,
) -> None:
    """Writes what a text is cut into at each run of new lines, at most `most` pieces.

    Pieces, repeated pieces, and the characters of those; then the pieces that have more than spaces, and of these the
    ones that end in punctuation, the short ones, and the characters of repeated ones. `keys` has room for a number a
    piece.
    """
    points, kinds = text
    size = begin_run(groups, most)
    begin = pieces = repeats = repeated = 0
    filled = punctuated = short = filled_repeated = 0
    while True:
        end = begin
        while end < count and value(points, end) != NEW_LINE:
            end += 1
        first, last = stripped(kinds, begin, end)
        again = occurred_before(points, begin, end, keys, pieces, groups, size)
        pieces += 1
        repeats += again
        repeated += end - begin if again else 0
        if first < last:
            filled += 1
            punctuated += value(kinds, end - 1) & TERMINAL != 0
            short += end - begin <= SHORT_LINE
            filled_repeated += end - begin if again else 0
        if end == count:
            break
        begin = behind_new_lines(points, end, count)
    out[np.uintp(at)] = pieces
    out[np.uintp(at + 1)] = repeats
    out[np.uintp(at + 2)] = repeated
    out[np.uintp(at + 3)] = filled
    out[np.uintp(at + 4)] = punctuated
    out[np.uintp(at + 5)] = short
    out[np.uintp(at + 6)] = filled_repeated


@compiled
def behind_new_lines(points: ReadOnly[np.uint32], at: int, end: int) -> int:
    """The place behind a run of new lines."""
    while at < end and value(points, at) == NEW_LINE:
        at += 1
    return at


@compiled
def paragraphs(
    text: Text,
    count: int,
    most: int,
    keys: npt.NDArray[np.uint64],
    groups: Groups,
    out: npt.NDArray[np.int64],
    at: int,
) -> None:
    """Writes what a text, without the spaces at its ends, is cut into at two new lines or more; at most `most` pieces.

    Pieces, repeated pieces, and the characters of those. `keys` has room for a number a piece.
    """
    points, kinds = text
    size = begin_run(groups, most)
    begin, last = stripped(kinds, 0, count)
    pieces = repeats = repeated = 0
    while True:
        end = begin
        while end < last and not (value(points, end) == NEW_LINE and value(points, end + 1) == NEW_LINE):
            end += 1
        again = occurred_before(points, begin, end, keys, pieces, groups, size)
        pieces += 1
        repeats += again
        repeated += end - begin if again else 0
        if end == last:
            break
        begin = behind_new_lines(points, end, last)
    out[np.uintp(at)] = pieces
    out[np.uintp(at + 1)] = repeats
    out[np.uintp(at + 2)] = repeated


@compiled
def occurred_before(
    points: ReadOnly[np.uint32],
    begin: int,
    end: int,
    keys: npt.NDArray[np.uint64],
    piece: int,
    groups: Groups,
    size: int,
) -> bool:
    """Whether a piece, by its number, is equal to an earlier one. Writes its key."""
    keys[np.uintp(piece)] = line_hash(points, begin, end)
    return first_place(groups, size, keys, piece) < piece


@compiled
def line_hash(points: ReadOnly[np.uint32], first: int, last: int) -> np.uint64:
    """64 bits that depend on the characters from `first` up to `last`, three of which are taken at a time."""
    key = _SEED + np.uint64(last - first)
    while first + 3 <= last:
        key = mix(key ^ three(points, first))
        first += 3
    if first < last:
        key ^= np.uint64(points[np.uintp(first)])
    if first + 1 < last:
        key ^= np.uint64(points[np.uintp(first + 1)]) << np.uint64(POINT_BITS)
    return mix(mix(key))


@compiled
def three(points: ReadOnly[np.uint32], at: int) -> np.uint64:
    """Three characters as a number."""
    first, second = np.uint64(points[np.uintp(at)]), np.uint64(points[np.uintp(at + 1)])
    third = np.uint64(points[np.uintp(at + 2)])
    return first | second << np.uint64(POINT_BITS) | third << np.uint64(2 * POINT_BITS)
