"""Words and punctuation marks of English text, as the published quality rules count them.

A run of characters without spaces is one token, or is cut: marks at its begin and end one by one, then inside where
`affixes` says so; exceptions stay whole or are cut in their own way. That is what spaCy's blank pipeline for English
does, and with it datatrove. Case is kept, and the text isn't normalised.
"""

from typing import Final, TypeAlias

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
from beam_etl.kernels.characters import (
    CLOSING,
    DIGIT,
    LETTER,
    MARK,
    PUNCTUATION,
    SENTENCE_END,
    SPACE,
    SYMBOL,
)
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.urls import is_url
from beam_etl.kernels.utf8 import decode
from beam_etl.kernels.word_hash import MULTIPLIER, mix

Tokens: TypeAlias = tuple[
    npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint64]
]
"""Begin and end of each token in a text, in characters; its flags; its hash. Room for one a character."""
BEGINS: Final = 0
ENDS: Final = 1
KINDS: Final = 2
HASHES: Final = 3

Exceptions: TypeAlias = tuple[
    npt.NDArray[np.uint64], npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint8]
]
"""The hash of each exception, 0 in a free slot; what it is cut into; how it may begin and end: exception_table."""
KEYS: Final = 0
CUTS: Final = 1
SHAPES: Final = 2
PAIRS: Final = 3

LONGEST_EXCEPTION = 12
LONGEST_UNIT = 5
"""Characters."""

SHAPE_COUNT = 256
"""See begin_shape."""

CUT_BITS = 4
CUT_MASK = (1 << CUT_BITS) - 1
"""The lengths of an exception's tokens, the first one in the lowest bits."""
NO_CUTS = 0

UNIT_SALT = np.uint64(0x5851F42D4C957F2D)
JOINED_SALT = np.uint64(0x14057B7EF767814F)
"""Tell the hash of a unit, and of tokens that make an exception together, from that of an exception."""

FIRST_KEY = np.uint64(0x6A09E667F3BCC909)
"""The state of a hash of no characters."""
ALL_FLAGS = -1

_CHOSEN = 16
_TAKEN = 1 << 31
"""Of a token, above the lengths of exceptions that begin with it: the one chosen, and that it belongs to one."""


@compiled
def read_characters(
    data: ReadOnly[np.uint8],
    begin: int,
    end: int,
    table: ReadOnly[np.uint32],
    points: npt.NDArray[np.uint32],
    kinds: npt.NDArray[np.uint32],
) -> int:
    """Writes the code points of a text and their flags, and returns how many there are. `table`: character_table."""
    at, count = begin, 0
    while at < end:
        first = data[np.uintp(at)]
        if first < np.uint8(0x80):
            points[np.uintp(count)] = first
            kinds[np.uintp(count)] = table[np.uintp(first)]
            at += 1
        else:
            point, width = decode(data, at, end)
            points[np.uintp(count)] = point
            kinds[np.uintp(count)] = table[np.uintp(point)]
            at += width
        count += 1
    return count


@compiled
def split_english(
    points: ReadOnly[np.uint32],
    kinds: ReadOnly[np.uint32],
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
    at = begin
    while at < end:
        if value(kinds, at) & SPACE:
            at += 1
            continue
        first, kind = at, 0
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
        if is_whole(found):
            count = append_word(points, kinds, first, at, key, found, every, exceptions, tokens, count)
        elif is_whole(before) and is_cut_off(points, kinds, first, at, exceptions):
            last = at - 1
            count = append_word(
                points, kinds, first, last, key_before, before, every_before, exceptions, tokens, count
            )
            count = append(points, kinds, last, at, tokens, count)
        else:
            previous = count
            count = split_run(points, kinds, first, at, exceptions, tokens, count, spare)
            if count > previous + 1:
                count = join_exceptions(points, kinds, exceptions, tokens, previous, count, spare)
    return count


@compiled
def is_whole(found: int) -> bool:
    """Whether a run with these flags among its characters is one token, or an exception."""
    return found != 0 and not found & MARK and (not found & DIGIT or not found & LETTER)


@compiled
def is_cut_off(
    points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], first: int, last: int, exceptions: Exceptions
) -> bool:
    """Whether the mark behind a whole run is cut, and nothing else: a short way for most marks of prose.

    That is so unless both are an exception, such as `Mr.`, or the mark is a full stop that stays.
    """
    point, kind = value(points, last - 1), value(kinds, last - 1)
    if not (kind & CLOSING or point == STOP) or may_be_exception(points, first, last, exceptions):
        return False
    return point != STOP or stops_to_cut(points, kinds, first, last) == 1


@compiled
def append_word(  # noqa: PLR0913
    points: ReadOnly[np.uint32],
    kinds: ReadOnly[np.uint32],
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
    if may_be_exception(points, first, last, exceptions):
        cuts = find_key(finished(key), exceptions)
        if cuts != NO_CUTS:
            return append_cut(points, kinds, first, cuts, tokens, count)
    return append_known(first, last, finished(key), some, every, tokens, count)


@compiled
def split_run(
    points: ReadOnly[np.uint32],
    kinds: ReadOnly[np.uint32],
    first: int,
    last: int,
    exceptions: Exceptions,
    tokens: Tokens,
    count: int,
    spare: npt.NDArray[np.uint32],
) -> int:
    """Cuts marks off both ends of a run until there are none, or an exception is left."""
    cut, cuts = 0, find_exception(points, first, last, exceptions)
    while cuts == NO_CUTS and first < last:
        opening, closing, cuts = marks_at_ends(points, kinds, first, last, exceptions)
        if opening + closing == 0:
            break
        if opening > 0:
            count = append(points, kinds, first, first + opening, tokens, count)
            first += opening
        if closing > 0:
            spare[np.uintp(cut)] = last
            cut += 1
            last -= closing
        if cuts == NO_CUTS:
            cuts = find_exception(points, first, last, exceptions)
    if cuts != NO_CUTS:
        count = append_cut(points, kinds, first, cuts, tokens, count)
    elif first < last:
        count = split_inside(points, kinds, first, last, tokens, count)
    for place in range(cut - 1, -1, -1):
        count = append(points, kinds, last, value(spare, place), tokens, count)
        last = value(spare, place)
    return count


@compiled
def marks_at_ends(
    points: ReadOnly[np.uint32],
    kinds: ReadOnly[np.uint32],
    first: int,
    last: int,
    exceptions: Exceptions,
) -> tuple[int, int, int]:
    """Characters to cut from both ends of a run; from one only, if that leaves an exception, whose cuts are third."""
    opening = opening_length(points, kinds, first, last)
    if opening > 0:
        cuts = find_exception(points, first + opening, last, exceptions)
        if cuts != NO_CUTS:
            return opening, 0, cuts
    closing = end_length(points, kinds, first + opening, last, exceptions)
    if closing > 0:
        cuts = find_exception(points, first, last - closing, exceptions)
        if cuts != NO_CUTS:
            return 0, closing, cuts
    return opening, closing, NO_CUTS


@compiled
def end_length(
    points: ReadOnly[np.uint32],
    kinds: ReadOnly[np.uint32],
    first: int,
    last: int,
    exceptions: Exceptions,
) -> int:
    """Characters to cut from the end of a run that may be empty: a mark, or a unit behind a digit."""
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
    points: ReadOnly[np.uint32],
    kinds: ReadOnly[np.uint32],
    first: int,
    last: int,
    tokens: Tokens,
    count: int,
) -> int:
    """A run without marks at its ends: whole if it is a URL, else cut where there is an infix."""
    begin, end = next_infix(points, kinds, first, first, last)
    if begin == last or is_url(points, kinds, first, last):
        return append(points, kinds, first, last, tokens, count)
    start = first
    while begin < last:
        if begin != first:
            if begin > start:
                count = append(points, kinds, start, begin, tokens, count)
            count = append(points, kinds, begin, end, tokens, count)
            start = end
        begin, end = next_infix(points, kinds, end, first, last)
    if start < last:
        count = append(points, kinds, start, last, tokens, count)
    return count


@compiled
def join_exceptions(
    points: ReadOnly[np.uint32],
    kinds: ReadOnly[np.uint32],
    exceptions: Exceptions,
    tokens: Tokens,
    begin: int,
    count: int,
    spare: npt.NDArray[np.uint32],
) -> int:
    """Tokens of one run that make an exception together, such as `:` and `)`, become what that is cut into.

    Of several that overlap the one of most tokens counts, then the first. One that loses isn't replaced, but still
    keeps its tokens from others.
    """
    longest = find_joined(points, exceptions, tokens, begin, count, spare)
    if longest == 0:
        return count
    for length in range(LONGEST_EXCEPTION, 1, -1):
        if not longest >> length & 1:
            continue
        for token in range(begin, count - length + 1):
            place = token - begin
            if not value(spare, place) >> length & 1:
                continue
            free = not (value(spare, place) | value(spare, place + length - 1)) & _TAKEN
            for taken in range(place, place + length):
                spare[np.uintp(taken)] = value(spare, taken) | _TAKEN
            if free:
                spare[np.uintp(place)] = value(spare, place) | length << _CHOSEN
    return replace_joined(points, kinds, exceptions, tokens, begin, count, spare)


@compiled
def find_joined(
    points: ReadOnly[np.uint32],
    exceptions: Exceptions,
    tokens: Tokens,
    begin: int,
    count: int,
    spare: npt.NDArray[np.uint32],
) -> int:
    """Writes how many tokens from each one on make an exception, a bit for each number. Returns all these bits."""
    begins, pairs, found = tokens[BEGINS], exceptions[PAIRS], 0
    for token in range(begin, count):
        spare[np.uintp(token - begin)] = 0
    for token in range(begin, count - 1):
        pair = pair_of(value(points, value(begins, token)), value(points, value(begins, token + 1)))
        if pairs[np.uintp(pair)]:
            lengths = joined_lengths(points, exceptions, tokens, token, count)
            spare[np.uintp(token - begin)] = lengths
            found |= lengths
    return found


@compiled
def joined_lengths(
    points: ReadOnly[np.uint32],
    exceptions: Exceptions,
    tokens: Tokens,
    token: int,
    count: int,
) -> int:
    """How many tokens from one on make an exception: a bit for each number."""
    begins, ends = tokens[BEGINS], tokens[ENDS]
    begin = value(begins, token)
    lengths, boundaries, end = 0, np.uint64(0), token
    while end < count and value(ends, end) - begin <= LONGEST_EXCEPTION:
        boundaries = boundaries << np.uint64(CUT_BITS) | np.uint64(value(ends, end) - value(begins, end))
        end += 1
        if end - token > 1:
            key = joined_key(hash_points(points, begin, value(ends, end - 1)), boundaries)
            if find_key(key, exceptions) != NO_CUTS:
                lengths |= 1 << end - token
    return lengths


@compiled
def replace_joined(
    points: ReadOnly[np.uint32],
    kinds: ReadOnly[np.uint32],
    exceptions: Exceptions,
    tokens: Tokens,
    begin: int,
    count: int,
    spare: npt.NDArray[np.uint32],
) -> int:
    """Replaces the tokens that `join_exceptions` chose, by no more than there were. Returns the new number."""
    begins, ends, flags, hashes = tokens
    out, token = begin, begin
    while token < count:
        length = value(spare, token - begin) >> _CHOSEN & CUT_MASK
        if length > 0:
            first, last = value(begins, token), value(ends, token + length - 1)
            cuts = find_exception(points, first, last, exceptions)
            out = append_cut(points, kinds, first, cuts, tokens, out)
            token += length
        else:
            begins[np.uintp(out)] = begins[np.uintp(token)]
            ends[np.uintp(out)] = ends[np.uintp(token)]
            flags[np.uintp(out)] = flags[np.uintp(token)]
            hashes[np.uintp(out)] = hashes[np.uintp(token)]
            out += 1
            token += 1
    return out


@compiled
def append(
    points: ReadOnly[np.uint32],
    kinds: ReadOnly[np.uint32],
    first: int,
    last: int,
    tokens: Tokens,
    count: int,
) -> int:
    """One more token, which isn't empty."""
    some, every, key = 0, ALL_FLAGS, FIRST_KEY
    for at in range(first, last):
        kind = value(kinds, at)
        some |= kind
        every &= kind
        key = absorb(key, points[np.uintp(at)])
    return append_known(first, last, finished(key), some, every, tokens, count)


@compiled
def append_known(
    first: int, last: int, key: np.uint64, some: int, every: int, tokens: Tokens, count: int
) -> int:
    """One more token, of this hash, with characters of which some, or all, have these flags.

    It has the flag LETTER if a character has it; SYMBOL and PUNCTUATION if all do; SENTENCE_END if its only one does.
    """
    alone = SENTENCE_END if last - first == 1 else 0
    begins, ends, flags, hashes = tokens
    begins[np.uintp(count)] = first
    ends[np.uintp(count)] = last
    flags[np.uintp(count)] = some & LETTER | every & (SYMBOL | PUNCTUATION | alone)
    hashes[np.uintp(count)] = key
    return count + 1


@compiled
def append_cut(
    points: ReadOnly[np.uint32],
    kinds: ReadOnly[np.uint32],
    first: int,
    cuts: int,
    tokens: Tokens,
    count: int,
) -> int:
    """The tokens of an exception."""
    while cuts > 0:
        last = first + (cuts & CUT_MASK)
        count = append(points, kinds, first, last, tokens, count)
        first = last
        cuts >>= CUT_BITS
    return count


@compiled
def find_exception(points: ReadOnly[np.uint32], first: int, last: int, exceptions: Exceptions) -> int:
    """The cuts of an exception, or NO_CUTS where the characters are none."""
    if not may_be_exception(points, first, last, exceptions):
        return NO_CUTS
    return find_key(hash_points(points, first, last), exceptions)


@compiled
def may_be_exception(points: ReadOnly[np.uint32], first: int, last: int, exceptions: Exceptions) -> bool:
    """Whether an exception of this length begins and ends as these characters do: few others get by."""
    length = last - first
    if not 0 < length <= LONGEST_EXCEPTION:
        return False
    begin = value(exceptions[SHAPES], begin_shape(value(points, first)))
    end = value(exceptions[SHAPES], end_shape(value(points, last - 1)))
    return (begin & end) >> length & 1 != 0


@compiled
def begin_shape(point: int) -> int:
    """Where the lengths of exceptions stand that begin with a character: a bit each, in SHAPES entries in all."""
    return point & 127


@compiled
def end_shape(point: int) -> int:
    """Where the lengths of those stand that end with it."""
    return point & 127 | 128


@compiled
def find_key(key: np.uint64, exceptions: Exceptions) -> int:
    """What the table has for a hash, or NO_CUTS."""
    keys, cuts = exceptions[KEYS], exceptions[CUTS]
    slot = key & np.uint64(keys.size - 1)
    while keys[np.uintp(slot)] != np.uint64(0):
        if keys[np.uintp(slot)] == key:
            return value(cuts, int(slot))
        slot = slot + np.uint64(1) & np.uint64(keys.size - 1)
    return NO_CUTS


@compiled
def hash_points(points: ReadOnly[np.uint32], first: int, last: int) -> np.uint64:
    """64 bits that depend on the characters from `first` up to `last`: the hash of a token.

    Fast; who wants collisions can make them.
    """
    key = FIRST_KEY
    for at in range(first, last):
        key = absorb(key, points[np.uintp(at)])
    return finished(key)


@compiled
def absorb(key: np.uint64, point: np.uint32) -> np.uint64:
    """The state of a hash with one more character."""
    return (key ^ np.uint64(point)) * MULTIPLIER


@compiled
def finished(key: np.uint64) -> np.uint64:
    """The hash of a state, of whose low bits each depends on all characters."""
    return mix(key)


@compiled
def joined_key(key: np.uint64, boundaries: np.uint64) -> np.uint64:
    """The hash of characters that are cut into tokens of certain lengths."""
    return mix(key ^ JOINED_SALT ^ mix(boundaries))


@compiled
def pair_of(first: int, second: int) -> int:
    """A number below 2^14 for two characters that begin neighbouring tokens."""
    return (first & 127) << 7 | second & 127
