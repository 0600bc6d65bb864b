"""Keys of a join: the type in which two columns are compared, and their order."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.hashing import Hashes, hash_rows, hash_values
from beam_etl.kernels.utf8 import is_byte_string

_SIGN, _LARGEST = np.uint64(1 << 63), np.uint64(2**64 - 1)


def key_type(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The type that holds the keys of both sides, value for value; None where there is none.

    Integers, floats, dates, times of one zone, decimals, strings and bytes are widened among themselves. Strings aren't
    bytes, integers aren't floats, and uint64 goes with no signed integer. A dictionary is what it has as values, a UUID
    and the like what it is stored as.
    """
    one, other = _plain(left), _plain(right)
    if pa.types.is_null(one) or pa.types.is_null(other):
        one = other = other if pa.types.is_null(one) else one
    if one == other:
        return one if _has_stable_hash(one) else None
    for belongs, widen in _FAMILIES:
        if belongs(one) and belongs(other):
            return widen(one, other)
    return None


def hashes_alike(left: pa.DataType, right: pa.DataType) -> bool:
    """Whether equal values of both types have equal hashes, as they are stored (see hashing)."""
    one, other = _plain(left), _plain(right)
    return one == other or any(
        belongs(one) and belongs(other)
        for belongs in (pa.types.is_integer, pa.types.is_floating, _is_string, _is_binary)
    )


def valid_keys(keys: list[pa.Array]) -> np.ndarray | None:
    """bool[rows]: whether no column of a key is null; None where none is, in any row."""
    valid = None
    for column in keys:
        if column.null_count:
            present = column.is_valid().to_numpy(zero_copy_only=False)
            valid = present if valid is None else valid & present
    return valid


def comparable(column: pa.Array) -> pa.Array:
    """Values that Arrow compares as keys are compared, in a type whose Python values are in the same order.

    Floats become integers of the same order: -0.0 equals 0.0, and a NaN equals a NaN and is larger than all numbers.
    Strings become bytes, times integers.
    """
    kind = column.type
    if pa.types.is_floating(kind):
        bits = (column.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False) + 0.0).view(np.uint64)
        nan = column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
        ordered = np.where(nan, _LARGEST, np.where(bits & _SIGN, ~bits, bits | _SIGN))
        return pa.array(ordered, mask=column.is_null().to_numpy(zero_copy_only=False))
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        return column.cast(pa.int32())
    if pa.types.is_temporal(kind):
        return column.cast(pa.int64())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.binary() if pa.types.is_string(kind) else pa.large_binary())
    return column


def ascends(keys: list[pa.Array]) -> bool:
    """Whether rows ascend by these columns of `comparable`, the first one first, nulls last."""
    rows = len(keys[0])
    undecided = np.ones(max(rows - 1, 0), np.bool_)
    for column in (part for key in keys for part in _without_nulls(key)):
        before, after = column.slice(0, rows - 1), column.slice(1)
        if (undecided & pc.greater(before, after).to_numpy(zero_copy_only=False)).any():
            return False
        undecided &= pc.equal(before, after).to_numpy(zero_copy_only=False)
    return True


def _without_nulls(column: pa.Array) -> list[pa.Array]:
    """Columns in the same order, without a null."""
    if len(column) < 2 or column.null_count == len(column):
        return []
    if not column.null_count:
        return [column]
    return [column.is_null(), column.fill_null(column.drop_null()[0])]


def key_hashes(keys: list[pa.Array]) -> tuple[Hashes, bool]:
    """A hash of each row's key, and whether different keys have different hashes for certain.

    XXH64 of 8 bytes is one to one: each of its steps can be undone.
    """
    kind = keys[0].type
    is_word = not (is_byte_string(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_decimal(kind))
    return hash_rows(keys), len(keys) == 1 and is_word


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else kind


def _has_stable_hash(kind: pa.DataType) -> bool:
    try:
        hash_values(pa.nulls(0, kind))
    except TypeError:
        return False
    return True


def _integers(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    signed = [pa.types.is_signed_integer(kind) for kind in (one, other)]
    if signed[0] == signed[1]:
        return max(one, other, key=lambda kind: kind.bit_width)
    unsigned = other if signed[0] else one
    wanted = max(2 * unsigned.bit_width, one.bit_width, other.bit_width)
    return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(wanted)


def _floats(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    return max(one, other, key=lambda kind: kind.bit_width)


def _decimals(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    scale = max(one.scale, other.scale)
    precision = scale + max(one.precision - one.scale, other.precision - other.scale)
    if precision > 76:
        return None
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


_UNITS = ("s", "ms", "us", "ns")


def _timestamps(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one.tz != other.tz:
        return None
    return pa.timestamp(max(one.unit, other.unit, key=_UNITS.index), one.tz)


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )


_FAMILIES: tuple[
    tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType, pa.DataType], pa.DataType | None]], ...
] = (
    (pa.types.is_integer, _integers),
    (pa.types.is_floating, _floats),
    (_is_string, lambda one, other: pa.large_string()),
    (_is_binary, lambda one, other: pa.large_binary()),
    (pa.types.is_date, lambda one, other: pa.date64()),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_decimal, _decimals),
)
