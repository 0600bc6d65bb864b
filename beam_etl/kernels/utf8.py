"""UTF-8 as Arrow holds it: the bytes of a text column, and single characters of them inside a kernel."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.compiled import ReadOnly, compiled

REPLACEMENT = 0xFFFD
"""Stands for a byte that isn't UTF-8: no letter, and nothing composes with it."""

STRIDE = 32
"""Bytes that are looked at together while they are ASCII: the widest vector that most processors have."""

SPACE = r"\s\v\x1c-\x1f\x{85}\pZ"
"""What str.split cuts at, between the brackets of a pattern, where Arrow's own class has ASCII's."""


@dataclass(frozen=True)
class Utf8:
    """The bytes of n texts: text i is `data[begin[i]:end[i]]`. A null is an empty text."""

    data: npt.NDArray[np.uint8]
    begin: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]


def utf8(text: pa.Array) -> Utf8:
    """The bytes of a string array (see large_string), of large_string without a copy."""
    text = large_string(text)
    _, offsets, data = text.buffers()
    if not len(text):
        return Utf8(np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64))
    edges = np.frombuffer(offsets, np.int64, len(text) + 1, text.offset * np.dtype(np.int64).itemsize)
    begin, end = edges[:-1], edges[1:]
    if text.null_count:  # a null may have bytes below it
        end = np.where(text.is_null().to_numpy(zero_copy_only=False), begin, end)
    letters = np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
    return Utf8(letters, begin, end)


def is_byte_string(kind: pa.DataType) -> bool:
    """Strings or bytes of any length, in any of Arrow's forms."""
    checks = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
    )
    return any(check(kind) for check in checks)


def large_string(text: pa.Array) -> pa.LargeStringArray:
    """A string array of any kind, dictionary-encoded too, as large_string.

    Raises:
      TypeError: the array is of no string type. The message names its type.
    """
    if pa.types.is_dictionary(text.type):
        text = text.dictionary_decode()
    if pa.types.is_string(text.type) or pa.types.is_string_view(text.type):
        text = text.cast(pa.large_string())
    if not pa.types.is_large_string(text.type):
        raise TypeError(f"text must be a string array, not {text.type}")
    return text


@compiled
def byte(data: ReadOnly[np.uint8], at: int) -> int:
    """The byte at a place. An unsigned index spares Numba's look for one that counts from the end."""
    return int(data[np.uintp(at)])


@compiled
def byte_before(data: ReadOnly[np.uint8], at: int, end: int) -> int:
    """The byte at a place, or 0 if the place isn't before `end`."""
    return byte(data, at) if at < end else 0


@compiled
def trails(data: ReadOnly[np.uint8], at: int) -> bool:
    """Whether the byte at a place is one that no character begins with."""
    return byte(data, at) & 0xC0 == 0x80


@compiled
def ascii_end(data: ReadOnly[np.uint8], at: int, end: int) -> int:
    """Where the ASCII bytes from a place on end: the place of the first other byte, or `end`."""
    while at + STRIDE <= end:
        together = 0
        for step in range(STRIDE):  # without a branch, so that it becomes one comparison of a vector
            together |= byte(data, at + step)
        if together >= 0x80:
            break
        at += STRIDE
    while at < end and byte(data, at) < 0x80:
        at += 1
    return at


@compiled
def decode(data: ReadOnly[np.uint8], at: int, end: int) -> tuple[int, int]:
    """The code point at a place before `end`, and how many bytes it has. Reads nothing from `end` on.

    Where the bytes aren't UTF-8: (REPLACEMENT, 1).
    """
    first = byte(data, at)
    if first < 0x80:
        return first, 1
    second = byte_before(data, at + 1, end) ^ 0x80  # below 0x40 if it trails
    if second < 0x40:
        if 0xC2 <= first < 0xE0:
            return (first & 0x1F) << 6 | second, 2
        third = byte_before(data, at + 2, end) ^ 0x80
        if third < 0x40:
            if 0xE0 <= first < 0xF0:
                point = (first & 0x0F) << 12 | second << 6 | third
                if point >= 0x800 and not 0xD800 <= point < 0xE000:
                    return point, 3
            fourth = byte_before(data, at + 3, end) ^ 0x80
            if 0xF0 <= first < 0xF5 and fourth < 0x40:
                point = (first & 0x07) << 18 | second << 12 | third << 6 | fourth
                if 0x10000 <= point < 0x110000:
                    return point, 4
    return REPLACEMENT, 1


@compiled
def append(point: int, out: npt.NDArray[np.uint8], at: int) -> int:
    """Writes a code point from a place on, which needs room for 4 bytes. Returns the place behind it."""
    if point < 0x80:
        out[np.uintp(at)] = point
        return at + 1
    if point < 0x800:
        out[np.uintp(at)] = 0xC0 | point >> 6
    else:
        if point < 0x10000:
            out[np.uintp(at)] = 0xE0 | point >> 12
        else:
            out[np.uintp(at)] = 0xF0 | point >> 18
            at += 1
            out[np.uintp(at)] = 0x80 | point >> 12 & 0x3F
        at += 1
        out[np.uintp(at)] = 0x80 | point >> 6 & 0x3F
    out[np.uintp(at + 1)] = 0x80 | point & 0x3F
    return at + 2
