"""Sets of 64-bit hashes: an ascending array, and where a hash is in it."""

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.hashing import Hashes

_WINDOW = 16
"""Hashes around the place where one should be that are looked at first: they spread evenly, so few lie elsewhere."""


def places_in(hashes: Hashes, values: Hashes) -> npt.NDArray[np.int64]:
    """Where each value is among the hashes.

    Args:
      hashes: uint64, ascending, of at most 2^32. Evenly spread ones are found with one or two reads of memory; others
        take a binary search.
      values: uint64[n].

    Returns:
      int64[n]: a place in `hashes`, or -1.
    """
    found = np.empty(values.size, np.int64)
    _places(hashes, values, found)
    return found


@compiled
def _places(hashes: ReadOnly[np.uint64], values: ReadOnly[np.uint64], found: npt.NDArray[np.int64]) -> None:
    for row in range(values.size):
        found[row] = place_in(hashes, values[row])


@compiled
def place_in(hashes: ReadOnly[np.uint64], value: np.uint64) -> int:
    """The place of a value, or -1; see places_in."""
    if hashes.size == 0:
        return -1
    share = (value >> np.uint64(32)) * np.uint64(hashes.size) >> np.uint64(32)
    low = high = np.int64(share)
    step = _WINDOW
    while low > 0 and hashes[np.uintp(low)] > value:
        low = max(low - step, 0)
        step *= 2
    step = _WINDOW
    while high < hashes.size - 1 and hashes[np.uintp(high)] < value:
        high = min(high + step, hashes.size - 1)
        step *= 2
    while low < high:
        middle = (low + high) // 2
        if hashes[np.uintp(middle)] < value:
            low = middle + 1
        else:
            high = middle
    return int(low) if hashes[np.uintp(low)] == value else -1
