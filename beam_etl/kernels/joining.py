"""Tokens that were cut apart but make an exception together, such as a face of several marks."""

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.affixes import value
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.exception_lookup import (
    NO_CUTS,
    PAIRS,
    Exceptions,
    find_exception,
    find_key,
    joined_key,
    pair_of,
)
from beam_etl.kernels.text_tokens import (
    BEGINS,
    CUT_BITS,
    CUT_MASK,
    ENDS,
    POINTS,
    Text,
    Tokens,
    append_cut,
    hash_points,
)
from beam_etl.kernels.word_exceptions import LONGEST_EXCEPTION

_CHOSEN = 16
_TAKEN = 1 << 31
"""Of a token, above the lengths of exceptions that begin with it: the one chosen, and that it belongs to one."""


@compiled
def join_exceptions(
    text: Text,
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
    points = text[POINTS]
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
    return replace_joined(text, exceptions, tokens, begin, count, spare)


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
    text: Text,
    exceptions: Exceptions,
    tokens: Tokens,
    begin: int,
    count: int,
    spare: npt.NDArray[np.uint32],
) -> int:
    """Replaces the tokens that `join_exceptions` chose, by no more than there were. Returns the new number."""
    points = text[POINTS]
    begins, ends, flags, hashes = tokens
    out, token = begin, begin
    while token < count:
        length = value(spare, token - begin) >> _CHOSEN & CUT_MASK
        if length > 0:
            first, last = value(begins, token), value(ends, token + length - 1)
            cuts = find_exception(points, first, last, exceptions)
            out = append_cut(text, first, cuts, tokens, out)
            token += length
        else:
            begins[np.uintp(out)] = begins[np.uintp(token)]
            ends[np.uintp(out)] = ends[np.uintp(token)]
            flags[np.uintp(out)] = flags[np.uintp(token)]
            hashes[np.uintp(out)] = hashes[np.uintp(token)]
            out += 1
            token += 1
    return out
