"""How much of a document repeats: the characters of its most frequent short n-grams, and of repeated long ones.

An n-gram can only repeat where both (n-1)-grams in it do. So each n looks at the places that are left of the one
before, and a document that repeats little costs little more than its 2-grams.
"""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.affixes import value
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.groups import Groups, begin_run, group_of
from beam_etl.kernels.text_tokens import BEGINS, ENDS, HASHES, Tokens
from beam_etl.kernels.word_hash import MULTIPLIER, mix

TOP = (2, 4)
"""The most frequent n-gram of each length counts, from the first up to the second."""
DUPLICATE = (5, 10)
"""All repeated ones count."""

Places: TypeAlias = tuple[
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint64],
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint32],
]
"""Room for a number a token each: the places of n-grams that may repeat, ascending; their hashes; their groups; and of
each group how often it occurs and where first."""
PLACES: Final = 0
PLACE_HASHES: Final = 1
PLACE_GROUPS: Final = 2
COUNTS: Final = 3
FIRSTS: Final = 4


@compiled
def repetition(
    tokens: Tokens,
    count: int,
    lengths: npt.NDArray[np.uint32],
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

    `lengths` gets the characters of all tokens before each one; it has room for one more than there are.
    """
    total = 0
    for token in range(count):
        lengths[np.uintp(token)] = total
        total += value(tokens[ENDS], token) - value(tokens[BEGINS], token)
        places[PLACES][np.uintp(token)] = token
        places[PLACE_HASHES][np.uintp(token)] = tokens[HASHES][np.uintp(token)]
    lengths[np.uintp(count)] = total
    left = count
    for n in range(2, DUPLICATE[1] + 1):
        left = extend(tokens, count, places, left, n)
        found = number_places(places, left, groups)
        if n <= TOP[1]:
            out[np.uintp(top + n - TOP[0])] = top_characters(lengths, count, places, found, n)
        left = keep_repeated(places, left)
        if n >= DUPLICATE[0]:
            out[np.uintp(duplicate + n - DUPLICATE[0])] = repeated_characters(lengths, places, left, n)


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
def number_places(places: Places, left: int, groups: Groups) -> int:
    """Gives each place its n-gram's group, and counts them. Returns the number of groups."""
    where, hashes, numbers, counts, firsts = places
    mask = begin_run(groups, left)
    found = 0
    for place in range(left):
        counts[np.uintp(found)] = 0  # in case that it is a new one
        firsts[np.uintp(found)] = where[np.uintp(place)]
        group = group_of(groups, mask, hashes[np.uintp(place)], found)
        counts[np.uintp(group)] += np.uint32(1)
        numbers[np.uintp(place)] = group
        found += group == found
    return found


@compiled
def top_characters(lengths: ReadOnly[np.uint32], count: int, places: Places, found: int, n: int) -> int:
    """See `repetition`. Groups ascend by their first occurrence."""
    most, first = 1, 0
    for group in range(found):
        if value(places[COUNTS], group) > most:
            most, first = value(places[COUNTS], group), value(places[FIRSTS], group)
    if count < n:
        return 0
    return most * (value(lengths, first + n) - value(lengths, first) + n - 1)


@compiled
def keep_repeated(places: Places, left: int) -> int:
    """Keeps the places whose n-gram occurs more than once. Returns how many they are."""
    where, hashes, numbers, counts = (
        places[PLACES],
        places[PLACE_HASHES],
        places[PLACE_GROUPS],
        places[COUNTS],
    )
    kept = 0
    for place in range(left):
        where[np.uintp(kept)] = where[np.uintp(place)]
        hashes[np.uintp(kept)] = hashes[np.uintp(place)]
        group = value(numbers, place)
        numbers[np.uintp(kept)] = group
        kept += value(counts, group) > 1
    return kept


@compiled
def repeated_characters(lengths: ReadOnly[np.uint32], places: Places, left: int, n: int) -> int:
    """See `repetition`. Counts of groups are 0 afterwards where the search has met them."""
    where, counts = places[PLACES], places[COUNTS]
    total, free = 0, 0
    for place in range(left):
        token = value(where, place)
        if token < free:
            continue
        group = value(places[PLACE_GROUPS], place)
        if value(counts, group) == 0:
            total += value(lengths, token + n) - value(lengths, token)
            free = token + n
        counts[np.uintp(group)] = 0
    return total
