"""Equal keys of one document get one number: a hash table that is reused from document to document."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.compiled import compiled

Groups: TypeAlias = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.uint64]]
"""The slots' keys; the slots' stamps, each a run's number in the high half and a group's in the low one; and one
number, that of the last run. What an earlier run left in a slot is free, so that nothing is ever cleared."""
LAST_RUN: Final = 2

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def make_groups(most: int) -> Groups:
    """A table for up to `most` keys at a time."""
    slots = 1 << max(4, (2 * most - 1).bit_length())
    return np.zeros(slots, np.uint64), np.zeros(slots, np.uint64), np.zeros(1, np.uint64)


@compiled
def begin_run(groups: Groups, most: int) -> int:
    """Forgets all keys. Returns the mask of a table for `most` keys: a small part of the whole stays in the cache."""
    groups[LAST_RUN][0] += np.uint64(1)
    slots = 16
    while slots < 2 * most:
        slots *= 2
    return slots - 1


@compiled
def group_of(groups: Groups, mask: int, key: np.uint64, next_group: int) -> int:
    """The group of an equal key of this run, or `next_group`, which then is this key's."""
    keys, stamps, last_run = groups
    run = last_run[0] << _HALF
    slot = key & np.uint64(mask)
    while stamps[np.uintp(slot)] >= run:
        if keys[np.uintp(slot)] == key:
            return int(stamps[np.uintp(slot)] & _LOW)
        slot = slot + np.uint64(1) & np.uint64(mask)
    keys[np.uintp(slot)] = key
    stamps[np.uintp(slot)] = run | np.uint64(next_group)
    return next_group
