"""The characters of one text, and its tokens: arrays that kernels fill and read."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.affixes import value
from beam_etl.kernels.characters import LETTER, PUNCTUATION, SENTENCE_END, SYMBOL
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.utf8 import decode
from beam_etl.kernels.word_hash import MULTIPLIER, mix

Text: TypeAlias = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]
"""The code points of a text, and their flags (characters.py)."""
POINTS: Final = 0
FLAGS: Final = 1

Tokens: TypeAlias = tuple[
    npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint64]
]
"""Begin and end of each token in a text, in characters; its flags; its hash. Room for one a character."""
BEGINS: Final = 0
ENDS: Final = 1
KINDS: Final = 2
HASHES: Final = 3

CUT_BITS = 4
CUT_MASK = (1 << CUT_BITS) - 1
"""What an exception is cut into: the lengths of its tokens, the first one in the lowest bits."""

FIRST_KEY = np.uint64(0x6A09E667F3BCC909)
"""The state of a hash of no characters."""
ALL_FLAGS = -1


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
def append(
    text: Text,
    first: int,
    last: int,
    tokens: Tokens,
    count: int,
) -> int:
    """One more token, which isn't empty."""
    points, kinds = text
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
    text: Text,
    first: int,
    cuts: int,
    tokens: Tokens,
    count: int,
) -> int:
    """The tokens of an exception."""
    while cuts > 0:
        last = first + (cuts & CUT_MASK)
        count = append(text, first, last, tokens, count)
        first = last
        cuts >>= CUT_BITS
    return count


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
