"""Dense numbers for sparse keys: what arrays are indexed by where documents are named by 64-bit values."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.compiled import ReadOnly, compiled

Keys = npt.NDArray[np.uint64]
Codes = npt.NDArray[np.int64]
Value = TypeVar("Value", bound=np.generic)

MAX_ENTRIES = 0xFFFF_FFFE
"""Slots hold 32 bits. So many entries take some 80 GB: more than a process should hold."""

_LOAD = 0.65
"""Largest part of the slots in use: linear probing looks at two slots on average then."""

_GROWTH = 1.25
"""Values grow by this factor: little is held in reserve, and each value is copied five times at most."""

_FIRST_BITS = 10


class Numbering:
    """Codes 0, 1, 2... for distinct uint64 keys, in the order first seen. Any value is allowed as a key.

    An open-addressing table of codes beside the keys in their order. It holds at most 23 bytes an entry (8 of the
    key, 2 in reserve, 6 to 13 of slots), and 31 while it grows; below 1,000 entries, 12 KiB. Not for several threads
    at once.

    Source: Knuth, The Art of Computer Programming, volume 3, section 6.4, algorithm L (linear probing); the slot is
    the top of a product, as in "multiplicative hashing" there.
    """

    def __init__(self) -> None:
        self._slots: npt.NDArray[np.uint32] = np.zeros(1 << _FIRST_BITS, np.uint32)  # code + 1; 0: free
        self._values: Keys = np.empty(int(_LOAD * (1 << _FIRST_BITS)), np.uint64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def values(self) -> Keys:
        """uint64[len]: the key of each code. A view; it doesn't see what is added later."""
        view = self._values[: self._count]
        view.flags.writeable = False
        return view

    @property
    def nbytes(self) -> int:
        """Bytes held, reserve included."""
        return self._slots.nbytes + self._values.nbytes

    def add(self, values: Keys) -> Codes:
        """Codes of keys; those not seen before get the next ones.

        Args:
          values: uint64[n], contiguous.

        Returns:
          int64[n].

        Raises:
          ValueError: more than MAX_ENTRIES distinct keys.
        """
        codes = np.empty(len(values), np.int64)
        done = 0
        while True:
            limit = min(len(self._values), int(_LOAD * len(self._slots)))
            done, self._count = _add(self._slots, self._values, values, codes, done, self._count, limit)
            if done == len(values):
                return codes
            self._grow()

    def find(self, values: Keys) -> Codes:
        """Codes of keys, -1 for those that were never added: int64[n] for uint64[n]."""
        return _find(self._slots, self._values, values)

    def _grow(self) -> None:
        if self._count >= MAX_ENTRIES:
            raise ValueError(f"one table numbers at most {MAX_ENTRIES:,} keys")
        if self._count == len(self._values):
            grown = np.empty(min(int(self._count * _GROWTH) + 1, MAX_ENTRIES), np.uint64)
            grown[: self._count] = self._values
            self._values = grown
        if self._count == int(_LOAD * len(self._slots)):
            size = 2 * len(self._slots)
            del self._slots  # before the new ones: the keys are enough to fill those
            self._slots = np.zeros(size, np.uint32)
            _fill(self._slots, self._values, self._count)


def with_room(values: npt.NDArray[Value], size: int, fill: int) -> npt.NDArray[Value]:
    """An array with room for at least `size` values, `fill` in those that are new. It grows by a quarter: seldom."""
    if size <= len(values):
        return values
    grown = np.full(max(size, int(len(values) * _GROWTH)), fill, values.dtype)
    grown[: len(values)] = values
    return grown


def find_sorted(table: Keys, keys: Keys) -> tuple[Codes, Codes]:
    """Keys that are in a table: their rows, int64[m], and their places in the table, int64[m].

    Args:
      table: uint64[n], ascending. Of a key that is there more than once, the first place is told.
      keys: uint64[k].
    """
    place = np.searchsorted(table, keys)
    rows = np.flatnonzero(place < len(table))
    rows = rows[table[place[rows]] == keys[rows]]
    return rows, place[rows]


@compiled
def _first_slot(key: np.uint64, shift: np.uint64) -> int:
    """Mixed: addresses differ in few bits, and hashes whose low bits are a band's number have those in common."""
    mixed = (key ^ (key >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.int64(mixed >> shift)  # type: ignore[return-value, unused-ignore]  # as NumPy types it


@compiled
def _shift(slots: ReadOnly[np.uint32]) -> np.uint64:
    """Bits to drop from a product, so that as many remain as number the slots."""
    shift = 64
    while 1 << (64 - shift) < slots.shape[0]:
        shift -= 1
    return np.uint64(shift)


@compiled
def _add(
    slots: npt.NDArray[np.uint32],
    values: npt.NDArray[np.uint64],
    keys: ReadOnly[np.uint64],
    codes: npt.NDArray[np.int64],
    start: int,
    count: int,
    limit: int,
) -> tuple[int, int]:
    """Writes codes from `start` on, until the keys or the room end: (keys done, entries)."""
    shift = _shift(slots)
    mask = slots.shape[0] - 1
    for row in range(start, keys.shape[0]):
        key = keys[row]
        at = _first_slot(key, shift)
        while True:
            code = np.int64(slots[at]) - 1
            if code < 0:
                if count == limit:
                    return row, count
                slots[at] = count + 1
                values[count] = key
                codes[row] = count
                count += 1
                break
            if values[code] == key:
                codes[row] = code
                break
            at = (at + 1) & mask
    return keys.shape[0], count


@compiled
def _find(slots: ReadOnly[np.uint32], values: ReadOnly[np.uint64], keys: ReadOnly[np.uint64]) -> Codes:
    codes = np.empty(keys.shape[0], np.int64)
    shift = _shift(slots)
    mask = slots.shape[0] - 1
    for row in range(keys.shape[0]):
        key = keys[row]
        at = _first_slot(key, shift)
        while True:
            code = np.int64(slots[at]) - 1
            if code < 0 or values[code] == key:
                codes[row] = code
                break
            at = (at + 1) & mask
    return codes


@compiled
def _fill(slots: npt.NDArray[np.uint32], values: ReadOnly[np.uint64], count: int) -> None:
    """Puts the first `count` values into empty slots."""
    shift = _shift(slots)
    mask = slots.shape[0] - 1
    for code in range(count):
        at = _first_slot(values[code], shift)
        while slots[at] != 0:
            at = (at + 1) & mask
        slots[at] = code + 1
