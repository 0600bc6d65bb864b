"""How much of a document repeats: the characters of its most frequent short n-grams, and of repeated long ones.

An n-gram can only repeat where both (n-1)-grams in it do. So each n looks at the places that are left of the one
before, and a document that repeats little costs little more than its 2-grams.
"""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.affixes import value
from beam_etl.kernels.compiled import compiled
from beam_etl.kernels.groups import Groups, begin_run, first_place
from beam_etl.kernels.text_tokens import BEGINS, ENDS, HASHES, Tokens
from beam_etl.kernels.word_hash import MULTIPLIER, mix

TOP = (2, 4)
"""The most frequent n-gram of each length counts, from the first up to the second."""
DUPLICATE = (5, 10)
"""All repeated ones count."""

Places: TypeAlias = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64], npt.NDArray[np.uint32]]
"""Room for a number a token each: the places of n-grams that may repeat, ascending; their hashes; and their marks. The
mark of an n-gram's first place is FIRST and how often it occurs; that of another is the first place's."""
PLACES: Final = 0
PLACE_HASHES: Final = 1
MARKS: Final = 2

FIRST = 1 << 31
ONCE = FIRST | 1
SEEN = FIRST | (1 << 31) - 1
"""Instead of a number of occurrences, which is below: the search for repeated n-grams has met one."""


@compiled
def repetition(
    tokens: Tokens,
    count: int,
    places: Places,
    groups: Groups,
    out: npt.NDArray[np.int64],
    top: int,
    duplicate: int,
) -> None:
    """Writes the characters of the top n-grams from `out[top]` on, and of repeated ones from `out[duplicate]` on.

    The characters of a top n-gram are those of its tokens and a space between two, times its occurrences; of several
    that are equally frequent the first one counts. Repeated ones are looked for from the left: one that occurred before
    counts with the characters of its tokens, and the search goes on behind it; else it goes on at the next token.
    """
    for token in range(count):
        places[PLACES][np.uintp(token)] = token
        places[PLACE_HASHES][np.uintp(token)] = tokens[HASHES][np.uintp(token)]
    left = count
    for n in range(2, DUPLICATE[1] + 1):
        left = extend(tokens, count, places, left, n)
        mark_places(places, left, groups)
        if n <= TOP[1]:
            out[np.uintp(top + n - TOP[0])] = top_characters(tokens, count, places, left, n)
        if n >= DUPLICATE[0]:
            out[np.uintp(duplicate + n - DUPLICATE[0])] = repeated_characters(tokens, places, left, n)
        left = keep_repeated(places, left)


@compiled
def extend(tokens: Tokens, count: int, places: Places, left: int, n: int) -> int:
    """From places whose (n-1)-grams may repeat, those whose n-grams may: the next place is one of them too."""
    where, hashes = places[PLACES], places[PLACE_HASHES]
    kept = 0
    for place in range(left - 1):
        token = value(where, place)
        last = token + n - 1
        if last >= count:
            break
        further = tokens[HASHES][np.uintp(last)]
        where[np.uintp(kept)] = token  # to write what isn't kept is faster than to ask whether it is
        hashes[np.uintp(kept)] = mix(hashes[np.uintp(place)] * MULTIPLIER + further)
        kept += value(where, place + 1) == token + 1
    return kept


@compiled
def mark_places(places: Places, left: int, groups: Groups) -> None:
    """Writes the marks of places."""
    hashes, marks = places[PLACE_HASHES], places[MARKS]
    size = begin_run(groups, left)
    for place in range(left):
        first = first_place(groups, size, hashes, place)
        if first == place:
            marks[np.uintp(place)] = ONCE
        else:
            marks[np.uintp(place)] = first
            marks[np.uintp(first)] = value(marks, first) + 1


@compiled
def top_characters(tokens: Tokens, count: int, places: Places, left: int, n: int) -> int:
    """See `repetition`."""
    most, first = ONCE, 0
    for place in range(left):
        if value(places[MARKS], place) > most:
            most, first = value(places[MARKS], place), value(places[PLACES], place)
    if count < n:
        return 0
    return (most - FIRST) * (characters(tokens, first, n) + n - 1)


@compiled
def repeated_characters(tokens: Tokens, places: Places, left: int, n: int) -> int:
    """See `repetition`."""
    where, marks = places[PLACES], places[MARKS]
    total, free = 0, 0
    for place in range(left):
        token, mark = value(where, place), value(marks, place)
        if token < free or mark == ONCE:
            continue
        first = place if mark >= FIRST else mark
        if value(marks, first) == SEEN:
            total += characters(tokens, token, n)
            free = token + n
        marks[np.uintp(first)] = SEEN
    return total


@compiled
def keep_repeated(places: Places, left: int) -> int:
    """Keeps the places whose n-gram occurs more than once. Returns how many they are. Marks lose their meaning."""
    where, hashes, marks = places
    kept = 0
    for place in range(left):
        where[np.uintp(kept)] = where[np.uintp(place)]
        hashes[np.uintp(kept)] = hashes[np.uintp(place)]
        kept += value(marks, place) != ONCE
    return kept


@compiled
def characters(tokens: Tokens, first: int, n: int) -> int:
    """Of some tokens together."""
    total = 0
    for token in range(first, first + n):
        total += value(tokens[ENDS], token) - value(tokens[BEGINS], token)
    return total
