"""Words and punctuation marks of English text, as the published quality rules count them.

A run of characters without spaces is one token, or is cut: marks at its begin and end one by one, then inside where
`affixes` says so; exceptions stay whole or are cut in their own way. That is what spaCy's blank pipeline for English
does, and with it datatrove. Case is kept, and the text isn't normalised.
"""

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.affixes import (
    STOP,
    closing_length,
    next_infix,
    opening_length,
    stops_to_cut,
    unit_length,
    value,
)
from beam_etl.kernels.characters import CLOSING, DIGIT, LETTER, MARK, SPACE
from beam_etl.kernels.compiled import compiled
from beam_etl.kernels.exception_lookup import (
    NO_CUTS,
    UNIT_SALT,
    Exceptions,
    find_exception,
    find_key,
    may_be_exception,
)
from beam_etl.kernels.joining import join_exceptions
from beam_etl.kernels.text_tokens import (
    ALL_FLAGS,
    FIRST_KEY,
    POINTS,
    Text,
    Tokens,
    absorb,
    append,
    append_cut,
    append_known,
    finished,
    hash_points,
)
from beam_etl.kernels.urls import is_url

LONGEST_UNIT = 5
"""Characters."""


@compiled
def split_english(
    text: Text,
    begin: int,
    end: int,
    exceptions: Exceptions,
    tokens: Tokens,
    count: int,
    spare: npt.NDArray[np.uint32],
) -> int:
    """Writes the tokens of a text's characters from `begin` up to `end` behind the first `count` ones.

    Returns the new number of tokens. `spare` has room for a number a character.
    """
    points, kinds = text
    at = begin
    while at < end:
        if value(kinds, at) & SPACE:
            at += 1
            continue
        first = at
        found = before = 0  # flags that some character has, and without the last one; that all have; the hash
        every = every_before = ALL_FLAGS
        key = key_before = FIRST_KEY
        while at < end and not value(kinds, at) & SPACE:
            before, every_before, key_before = found, every, key
            kind = value(kinds, at)
            found |= kind
            every &= kind
            key = absorb(key, points[np.uintp(at)])
            at += 1
        previous, least = count, 1
        if is_whole(found):
            count = append_word(text, first, at, key, found, every, exceptions, tokens, count)
        elif is_whole(before) and is_cut_off(text, first, at, exceptions):
            last, least = at - 1, 2
            count = append_word(
                text, first, last, key_before, before, every_before, exceptions, tokens, count
            )
            count = append(text, last, at, tokens, count)
        else:
            count = split_run(text, first, at, exceptions, tokens, count, spare)
        if count > previous + least:
            count = join_exceptions(text, exceptions, tokens, previous, count, spare)
    return count


@compiled
def is_whole(found: int) -> bool:
    """Whether a run with these flags among its characters is one token, or an exception."""
    return found != 0 and not found & MARK and (not found & DIGIT or not found & LETTER)


@compiled
def is_cut_off(text: Text, first: int, last: int, exceptions: Exceptions) -> bool:
    """Whether the mark behind a whole run is cut, and nothing else: a short way for most marks of prose.

    That is so unless both are an exception, such as `Mr.`, or the mark is a full stop that stays.
    """
    points, kinds = text
    point, kind = value(points, last - 1), value(kinds, last - 1)
    if not (kind & CLOSING or point == STOP) or may_be_exception(points, first, last, exceptions):
        return False
    return point != STOP or stops_to_cut(points, kinds, first, last) == 1


@compiled
def append_word(  # noqa: PLR0913
    text: Text,
    first: int,
    last: int,
    key: np.uint64,
    some: int,
    every: int,
    exceptions: Exceptions,
    tokens: Tokens,
    count: int,
) -> int:
    """A run that is one token, or an exception such as `cannot`. Its hash and its flags are known."""
    points = text[POINTS]
    if may_be_exception(points, first, last, exceptions):
        cuts = find_key(finished(key), exceptions)
        if cuts != NO_CUTS:
            return append_cut(text, first, cuts, tokens, count)
    return append_known(first, last, finished(key), some, every, tokens, count)


@compiled
def split_run(
    text: Text,
    first: int,
    last: int,
    exceptions: Exceptions,
    tokens: Tokens,
    count: int,
    spare: npt.NDArray[np.uint32],
) -> int:
    """Cuts marks off both ends of a run until there are none, or an exception is left."""
    points = text[POINTS]
    cut, cuts = 0, find_exception(points, first, last, exceptions)
    while cuts == NO_CUTS and first < last:
        opening, closing, cuts = marks_at_ends(text, first, last, exceptions)
        if opening + closing == 0:
            break
        if opening > 0:
            count = append(text, first, first + opening, tokens, count)
            first += opening
        if closing > 0:
            spare[np.uintp(cut)] = last
            cut += 1
            last -= closing
        if cuts == NO_CUTS:
            cuts = find_exception(points, first, last, exceptions)
    if cuts != NO_CUTS:
        count = append_cut(text, first, cuts, tokens, count)
    elif first < last:
        count = split_inside(text, first, last, tokens, count)
    for place in range(cut - 1, -1, -1):
        count = append(text, last, value(spare, place), tokens, count)
        last = value(spare, place)
    return count


@compiled
def marks_at_ends(
    text: Text,
    first: int,
    last: int,
    exceptions: Exceptions,
) -> tuple[int, int, int]:
    """Characters to cut from both ends of a run; from one only, if that leaves an exception, whose cuts are third."""
    points, kinds = text
    opening = opening_length(points, kinds, first, last)
    if opening > 0:
        cuts = find_exception(points, first + opening, last, exceptions)
        if cuts != NO_CUTS:
            return opening, 0, cuts
    closing = end_length(text, first + opening, last, exceptions)
    if closing > 0:
        cuts = find_exception(points, first, last - closing, exceptions)
        if cuts != NO_CUTS:
            return 0, closing, cuts
    return opening, closing, NO_CUTS


@compiled
def end_length(
    text: Text,
    first: int,
    last: int,
    exceptions: Exceptions,
) -> int:
    """Characters to cut from the end of a run that may be empty: a mark, or a unit behind a digit."""
    points, kinds = text
    if first == last:
        return 0
    closing = closing_length(points, kinds, first, last)
    unit = unit_length(kinds, first, last, LONGEST_UNIT) if closing == 0 else 0
    if unit > 0:
        key = hash_points(points, last - unit, last) ^ UNIT_SALT
        if find_key(key, exceptions) != NO_CUTS:
            return unit
    return closing


@compiled
def split_inside(
    text: Text,
    first: int,
    last: int,
    tokens: Tokens,
    count: int,
) -> int:
    """A run without marks at its ends: whole if it is a URL, else cut where there is an infix."""
    points, kinds = text
    begin, end = next_infix(points, kinds, first, first, last)
    if begin == last or is_url(points, kinds, first, last):
        return append(text, first, last, tokens, count)
    start = first
    while begin < last:
        if begin != first:
            if begin > start:
                count = append(text, start, begin, tokens, count)
            count = append(text, begin, end, tokens, count)
            start = end
        begin, end = next_infix(points, kinds, end, first, last)
    if start < last:
        count = append(text, start, last, tokens, count)
    return count
