"""Numbers of 7 bits a byte, the lowest bits first; the last byte of each is below 128 (LEB128, as in Parquet)."""

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.compiled import ReadOnly, compiled

LONGEST = 10
"""Bytes of a number of 64 bits."""


@compiled
def write(number: int, out: npt.NDArray[np.uint8], at: int) -> int:
    """Writes a number that isn't negative from a place on, which needs room for LONGEST bytes. The place behind it."""
    while number >= 0x80:
        out[np.uintp(at)] = number & 0x7F | 0x80
        number >>= 7
        at += 1
    out[np.uintp(at)] = number
    return at + 1


@compiled
def read(data: ReadOnly[np.uint8], at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it."""
    byte = np.int64(data[np.uintp(at)])
    at += 1
    number, shift = byte & 0x7F, 7
    while byte >= 0x80:
        byte = np.int64(data[np.uintp(at)])
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
    return number, at
