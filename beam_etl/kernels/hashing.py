"""A stable 64-bit hash of values: the same in any process, on any platform, for any encoding of the same values.

XXH64 with seed 0 (Yann Collet, xxHash specification, version 0.1.1) of the canonical bytes of a value:

| type | bytes |
|---|---|
| string, binary, their large, view and fixed-size forms | the bytes themselves |
| integers, booleans, date, time, timestamp, duration | the value as 8 bytes, little-endian two's complement |
| floats | the IEEE 754 double, little-endian; -0.0 as 0.0, every NaN as the quiet NaN |
| decimals | their text in the scale of the column |
| null | no bytes: a constant of its own |
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.utf8 import is_byte_string

Hashes = npt.NDArray[np.uint64]

NULL_HASH = np.uint64(0x9AE16A3B2F90404F)
"""Hash of null. Any fixed number would do; it differs from the hash of every short value that was tried."""

_P1 = np.uint64(11400714785074694791)
_P2 = np.uint64(14029467366897019727)
_P3 = np.uint64(1609587929392839161)
_P4 = np.uint64(9650029242287828579)
_P5 = np.uint64(2870177450012600261)


def hash_values(array: pa.Array) -> Hashes:
    """XXH64 of each value.

    Args:
      array: any column of the types in the table above, or a dictionary of them.

    Returns:
      uint64[rows]. Equal values have equal hashes whatever the width of an integer or float, the form of a string, or
      whether the column is a dictionary.

    Raises:
      TypeError: a type that has no stable bytes, such as a list or a struct.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return hash_values(array.storage)
    if pa.types.is_dictionary(kind):
        return _hash_dictionary(array)
    if pa.types.is_null(kind):
        return np.full(len(array), NULL_HASH)
    if not len(array):  # a look at the type, for which no kernel is loaded
        return (np.empty(0, np.uint64) if _is_bytes(kind) else _canonical(array)).copy()
    return _set_nulls(_hash_bytes(array) if _is_bytes(kind) else _hash_words(_canonical(array)), array)


def hash_rows(columns: list[pa.Array]) -> Hashes:
    """One hash for each row of several columns: each column's hash with the hash so far as its seed.

    Args:
      columns: of equal length, at least one.

    Returns:
      uint64[rows]. Of one column, `hash_values` of it.
    """
    hashes = hash_values(columns[0])
    for column in columns[1:]:
        hashes = _xxh64_words(hash_values(column), hashes)
    return hashes


def _hash_dictionary(array: pa.DictionaryArray) -> Hashes:
    values = np.append(hash_values(array.dictionary), NULL_HASH)
    codes = array.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    codes[array.indices.is_null().to_numpy(zero_copy_only=False)] = len(values) - 1
    return values[codes]


def _set_nulls(hashes: Hashes, array: pa.Array) -> Hashes:
    if array.null_count:
        hashes[array.is_null().to_numpy(zero_copy_only=False)] = NULL_HASH
    return hashes


def _is_bytes(kind: pa.DataType) -> bool:
    return is_byte_string(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_decimal(kind)


def _hash_bytes(array: pa.Array) -> Hashes:
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.string())
    offsets, data = string_buffers(array)
    return _xxh64_strings(data, offsets)


def string_buffers(array: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Offsets int64[rows + 1] and bytes uint8[] of a column of strings or bytes, without a copy for large ones."""
    if not (pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)):
        array = array.cast(pa.large_binary())
    _, offsets, data = array.buffers()
    if len(array) == 0 or offsets is None:
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    window = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return window, np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)


def canonical_bytes(array: pa.Array) -> pa.LargeBinaryArray:
    """The bytes of the table above of each value: large_binary[rows], null where the value is null.

    Raises:
      TypeError: a type that has no stable bytes.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return canonical_bytes(array.storage)
    if pa.types.is_dictionary(kind):
        return canonical_bytes(array.dictionary_decode())
    if pa.types.is_decimal(kind):
        array = array.cast(pa.string())
    if pa.types.is_null(kind) or _is_bytes(array.type):
        return array.cast(pa.large_binary())
    return numbers_as_bytes(_canonical(array), mask=array.is_null() if array.null_count else None)


def numbers_as_bytes(numbers: Hashes, mask: pa.BooleanArray | None = None) -> pa.LargeBinaryArray:
    """Each number as 8 bytes, little-endian, null where the mask is true."""
    width = numbers.itemsize
    offsets = np.arange(0, width * len(numbers) + 1, width, dtype=np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(numbers, "<u8"))]
    array = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(numbers), buffers)
    return array if mask is None else pc.if_else(mask, pa.scalar(None, array.type), array)


def _canonical(array: pa.Array) -> Hashes:
    """Values as uint64 bit patterns."""
    kind = array.type
    if pa.types.is_floating(kind):
        floats = array.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False) + 0.0
        floats = np.where(np.isnan(floats), np.nan, floats)
        return floats.view(np.uint64)
    if pa.types.is_boolean(kind):
        array = array.cast(pa.int64())
    elif pa.types.is_date(kind) or pa.types.is_time32(kind):
        array = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(pa.int64())
    elif pa.types.is_temporal(kind):
        array = array.cast(pa.int64())
    elif not pa.types.is_integer(kind):
        raise TypeError(
            f"no stable hash for type {kind}: use a string, number, date or time as key, not {kind}"
        )
    if array.type != pa.uint64():
        return array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64)
    return array.fill_null(0).to_numpy(zero_copy_only=False)


def _hash_words(words: Hashes) -> Hashes:
    return _xxh64_words(np.ascontiguousarray(words), np.zeros(len(words), np.uint64))


@compiled
def _read8(data: ReadOnly[np.uint8], at: int) -> np.uint64:
    word = np.uint64(0)
    for i in range(8):
        word |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return word


@compiled
def _rotate(value: np.uint64, bits: int) -> np.uint64:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@compiled
def _round(lane: np.uint64, word: np.uint64) -> np.uint64:
    return _rotate(lane + word * _P2, 31) * _P1


@compiled
def _avalanche(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> np.uint64(33))) * _P2
    value = (value ^ (value >> np.uint64(29))) * _P3
    return value ^ (value >> np.uint64(32))


@compiled
def _stripes(data: ReadOnly[np.uint8], start: int, end: int) -> np.uint64:
    """The four lanes over all whole 32-byte stripes, merged."""
    a, b, c, d = _P1 + _P2, _P2, np.uint64(0), np.uint64(0) - _P1
    at = start
    while at + 32 <= end:
        a = _round(a, _read8(data, at))
        b = _round(b, _read8(data, at + 8))
        c = _round(c, _read8(data, at + 16))
        d = _round(d, _read8(data, at + 24))
        at += 32
    value = _rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)
    for lane in (a, b, c, d):
        value = (value ^ _round(np.uint64(0), lane)) * _P1 + _P4
    return value


@compiled
def _xxh64(data: ReadOnly[np.uint8], start: int, end: int) -> np.uint64:
    """XXH64 with seed 0 of data[start:end]."""
    size = end - start
    value = _stripes(data, start, end) if size >= 32 else _P5
    value += np.uint64(size)
    at = start + size // 32 * 32
    while at + 8 <= end:
        value = _rotate(value ^ _round(np.uint64(0), _read8(data, at)), 27) * _P1 + _P4
        at += 8
    if at + 4 <= end:
        word = np.uint64(0)
        for i in range(4):
            word |= np.uint64(data[at + i]) << np.uint64(8 * i)
        value = _rotate(value ^ (word * _P1), 23) * _P2 + _P3
        at += 4
    while at < end:
        value = _rotate(value ^ (np.uint64(data[at]) * _P5), 11) * _P1
        at += 1
    return _avalanche(value)


@compiled
def _xxh64_strings(data: ReadOnly[np.uint8], offsets: ReadOnly[np.int64]) -> Hashes:
    hashes = np.empty(offsets.shape[0] - 1, np.uint64)
    for row in range(hashes.shape[0]):
        hashes[row] = _xxh64(data, offsets[row], offsets[row + 1])
    return hashes


@compiled
def _xxh64_words(words: ReadOnly[np.uint64], seeds: ReadOnly[np.uint64]) -> Hashes:
    """XXH64 of each word's 8 bytes, with a seed each."""
    hashes = np.empty(words.shape[0], np.uint64)
    for row in range(words.shape[0]):
        value = seeds[row] + _P5 + np.uint64(8)
        value = _rotate(value ^ _round(np.uint64(0), words[row]), 27) * _P1 + _P4
        hashes[row] = _avalanche(value)
    return hashes
