"""Where the rules for English cut a run of characters without spaces: how much at its begin, its end, inside.

The rules are those of spaCy's tokenizer for English (MIT licence), which datatrove counts words with. Here they are
conditions on a character and its neighbours. A run is `points[first:last]`, code points; `kinds` are their flags
(characters.py).
"""

import numpy as np

from beam_etl.kernels.characters import (
    ALPHA,
    BEFORE_STOP,
    CLOSING,
    CURRENCY,
    DIGIT,
    ICON,
    LOWER,
    MARK,
    OPENING,
    QUOTE,
    UPPER,
)
from beam_etl.kernels.compiled import ReadOnly, compiled

STOP, PLUS, HYPHEN, EM_DASH, EN_DASH, TILDE = 0x2E, 0x2B, 0x2D, 0x2014, 0x2013, 0x7E
ELLIPSIS, COMMA, STAR, CARET, DOLLAR, DEGREE = 0x2026, 0x2C, 0x2A, 0x5E, 0x24, 0xB0
COLON, LESS, EQUAL, GREATER, SLASH = 0x3A, 0x3C, 0x3D, 0x3E, 0x2F
APOSTROPHE, RIGHT_QUOTE = 0x27, 0x2019
SMALL_S, CAPITAL_S, CAPITAL_U, CAPITAL_A, CAPITAL_C = 0x73, 0x53, 0x55, 0x41, 0x43

LONGEST_HYPHENS = 3


@compiled
def value(array: ReadOnly[np.uint32], at: int) -> int:
    """The number at a place. An unsigned index spares Numba's look for one that counts from the end."""
    return int(array[np.uintp(at)])


@compiled
def opening_length(points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], first: int, last: int) -> int:
    """Characters to cut from the begin of a run that isn't empty; 0 for none."""
    point = value(points, first)
    if value(kinds, first) & (OPENING | ICON):
        return 1
    if point == PLUS:
        return 0 if first + 1 < last and value(kinds, first + 1) & DIGIT else 1
    if point == STOP:
        stops = same_from(points, first, last)
        return stops if stops > 1 else 0
    return dollar_length(points, first, last)


@compiled
def dollar_length(points: ReadOnly[np.uint32], first: int, last: int) -> int:
    """3 where a run begins with US$, 2 for A$ or C$, else 0."""
    if first + 1 < last and value(points, first + 1) == DOLLAR:
        return 2 if value(points, first) in (CAPITAL_A, CAPITAL_C) else 0
    if first + 2 < last and value(points, first + 2) == DOLLAR and value(points, first) == CAPITAL_U:
        return 3 if value(points, first + 1) == CAPITAL_S else 0
    return 0


@compiled
def closing_length(points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], first: int, last: int) -> int:
    """Characters to cut from the end of a run that isn't empty, units aside; 0 for none."""
    end = last - 1
    point, kind = value(points, end), value(kinds, end)
    before = value(points, end - 1) if end > first else 0
    if point == ELLIPSIS:
        return 2 if before == ELLIPSIS else 1
    if kind & (CLOSING | ICON):
        return 1
    if point == STOP:
        return stops_to_cut(points, kinds, first, last)
    if end == first:
        return 0
    if point in (SMALL_S, CAPITAL_S):
        return 2 if before in (APOSTROPHE, RIGHT_QUOTE) else 0
    if point == PLUS:
        return 1 if value(kinds, end - 1) & DIGIT else 0
    if kind & CURRENCY:
        return money_length(points, kinds, first, last)
    return 0


@compiled
def stops_to_cut(points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], first: int, last: int) -> int:
    """Of the full stops at the end of a run: all if there are several; one, where what stands before it lets it go."""
    begin = last - 1
    while begin > first and value(points, begin - 1) == STOP:
        begin -= 1
    if last - begin > 1:
        return last - begin
    if begin == first:
        return 0
    if value(kinds, begin - 1) & BEFORE_STOP:
        return 1
    if begin - 1 == first or not value(kinds, begin - 1) & UPPER:
        return 0
    letter = value(points, begin - 1)
    degrees = value(points, begin - 2) == DEGREE and letter in (0x46, 0x43, 0x4B)  # F, C, K
    return 1 if value(kinds, begin - 2) & UPPER or degrees else 0


@compiled
def money_length(points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], first: int, last: int) -> int:
    """Characters of the currency sign at the end of a run, if a digit stands before it."""
    for length in range(3, 0, -1):
        begin = last - length
        behind_digit = begin > first and value(kinds, begin - 1) & DIGIT != 0
        if behind_digit and (length == 1 or dollar_length(points, begin, last) == length):
            return length
    return 0


@compiled
def unit_length(kinds: ReadOnly[np.uint32], first: int, last: int, longest: int) -> int:
    """Characters behind the last digit of a run, which may be a unit; 0 where there is no digit near the end."""
    for length in range(1, min(longest, last - first - 1) + 1):
        if value(kinds, last - length) & DIGIT:
            return 0
        if value(kinds, last - length - 1) & DIGIT:
            return length
    return 0


@compiled
def next_infix(
    points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], at: int, first: int, last: int
) -> tuple[int, int]:
    """The first place from `at` on that a run is cut at: the range of characters between the two parts.

    Where there is none: (last, last).
    """
    while at < last:
        if value(kinds, at) & MARK:
            length = infix_length(points, kinds, at, first, last)
            if length > 0:
                return at, at + length
        at += 1
    return last, last


@compiled
def infix_length(
    points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], at: int, first: int, last: int
) -> int:
    """Characters from a place on that cut the run there in two; 0 for none."""
    point, kind = value(points, at), value(kinds, at)
    before = value(kinds, at - 1) if at > first else 0
    after = value(kinds, at + 1) if at + 1 < last else 0
    if kind & ICON or point == ELLIPSIS:
        return 1
    if point == STOP:
        stops = same_from(points, at, last)
        if stops > 1:
            return stops
        return 1 if before & (LOWER | QUOTE) and after & (UPPER | QUOTE) else 0
    if before & DIGIT and point in (PLUS, HYPHEN, STAR, CARET) and goes_on(points, kinds, at + 1, last):
        return 1
    if point == COMMA:
        return 1 if before & ALPHA and after & ALPHA else 0
    if not before & (ALPHA | DIGIT):
        return 0
    if point in (HYPHEN, EN_DASH, EM_DASH, TILDE):
        return dashes_length(points, kinds, at, last)
    return 1 if point in (COLON, LESS, GREATER, EQUAL, SLASH) and after & ALPHA else 0


@compiled
def goes_on(points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], at: int, last: int) -> bool:
    """Whether a digit or a hyphen stands at a place."""
    return at < last and (value(kinds, at) & DIGIT != 0 or value(points, at) == HYPHEN)


@compiled
def dashes_length(points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], at: int, last: int) -> int:
    """Up to three hyphens, up to two long dashes, or one other dash, if a letter follows."""
    point = value(points, at)
    longest = LONGEST_HYPHENS if point == HYPHEN else 2 if point == EM_DASH else 1
    for length in range(1, longest + 1):
        if at + length >= last:
            return 0
        if value(kinds, at + length) & ALPHA:
            return length
        if value(points, at + length) != point:
            return 0
    return 0


@compiled
def same_from(points: ReadOnly[np.uint32], at: int, last: int) -> int:
    """How often the character at a place follows on itself, once included."""
    end = at + 1
    while end < last and value(points, end) == value(points, at):
        end += 1
    return end - at
