"""Looking up whether some characters are an exception: kernels over the table that `exception_table` builds."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.affixes import value
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.text_tokens import hash_points
from beam_etl.kernels.word_exceptions import LONGEST_EXCEPTION
from beam_etl.kernels.word_hash import mix

Exceptions: TypeAlias = tuple[
    npt.NDArray[np.uint64], npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint8]
]
"""The hash of each exception, 0 in a free slot; what it is cut into; how it may begin and end: exception_table."""
KEYS: Final = 0
CUTS: Final = 1
SHAPES: Final = 2
PAIRS: Final = 3

NO_CUTS = 0
"""Of what is no exception."""

SHAPE_COUNT = 256
"""See begin_shape."""

UNIT_SALT = np.uint64(0x5851F42D4C957F2D)
JOINED_SALT = np.uint64(0x14057B7EF767814F)
"""Tell the hash of a unit, and of tokens that make an exception together, from that of an exception."""


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
def joined_key(key: np.uint64, boundaries: np.uint64) -> np.uint64:
    """The hash of characters that are cut into tokens of certain lengths."""
    return mix(key ^ JOINED_SALT ^ mix(boundaries))


@compiled
def pair_of(first: int, second: int) -> int:
    """A number below 2^14 for two characters that begin neighbouring tokens."""
    return (first & 127) << 7 | second & 127
