"""Equal keys of one document are found with a hash table that is reused from document to document."""

import secrets
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.compiled import ReadOnly, compiled

Groups: TypeAlias = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64]]
"""The slots, each 0 or one more than the place of a key; and a secret number, by which keys are put into slots.

Who writes a text chooses its words, and so their hashes. The secret is another in each process, so that no choice
brings many keys into one slot. Only the time depends on it: what is found doesn't.
"""
SLOTS: Final = 0

SLOTS_A_KEY = 2

_HALF = np.uint64(32)
_SECRET_BITS = 64


def make_groups(most: int) -> Groups:
    """A table for up to `most` keys at a time: 8 bytes each."""
    secret = secrets.randbits(_SECRET_BITS) | 1
    return np.empty(SLOTS_A_KEY * most, np.uint32), np.array([secret], np.uint64)


@compiled
def begin_run(groups: Groups, most: int) -> int:
    """Forgets all keys. Returns the size of a table for `most` keys: a small part of the whole stays in the cache."""
    slots, size = groups[SLOTS], SLOTS_A_KEY * most
    for slot in range(size):
        slots[np.uintp(slot)] = 0
    return size


@compiled
def first_place(groups: Groups, size: int, keys: ReadOnly[np.uint64], place: int) -> int:
    """The place of this run where a key occurred first: `place` itself, or one that was asked before."""
    slots, secret = groups
    key = keys[np.uintp(place)]
    slot = (key * secret[0] >> _HALF) * np.uint64(size) >> _HALF  # odd multiples, Dietzfelbinger et al. 1997
    while slots[np.uintp(slot)] != 0:
        other = int(slots[np.uintp(slot)]) - 1
        if keys[np.uintp(other)] == key:
            return other
        slot += np.uint64(1)
        if slot == np.uint64(size):
            slot = np.uint64(0)
    slots[np.uintp(slot)] = place + 1
    return place
