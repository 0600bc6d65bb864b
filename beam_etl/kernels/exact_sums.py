"""Sums that don't depend on the order: integers as two halves of 96 bits, doubles as integers by exponent."""

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Integers = npt.NDArray[np.int64]

_HALF = 32
_HALF_MASK = (1 << _HALF) - 1
_INT64_HIGH = 1 << (63 - _HALF)
_DOUBLE_INTEGERS = 1 << 53

WIDE = pa.decimal128(38, 0)
"""Of a column of integer sums, one of which doesn't fit into int64."""

BIN_BITS = 24
"""A double is cut where multiples of so many bits of its exponent are. So many summands of less than twice
2^BIN_BITS fit into int64: 2^38."""

_PIECES = 4
_MANTISSA_BITS = 53
NAN, INFINITE, MINUS_INFINITE = 1000, 1001, 1002
"""Bins that count what is no finite number."""

_DENSE_BINS = 8
_DENSE_ROWS = 1 << 16


def halves(values: pa.Array) -> tuple[Integers, Integers]:
    """Integers, with nulls as 0, as high * 2^32 + low, 0 <= low < 2^32."""
    filled = pc.fill_null(values, 0)
    if pa.types.is_uint64(values.type):
        unsigned = filled.to_numpy(zero_copy_only=False)
        return (unsigned >> np.uint64(_HALF)).astype(np.int64), (unsigned & np.uint64(_HALF_MASK)).astype(
            np.int64
        )
    return carried(np.zeros(len(values), np.int64), filled.cast(pa.int64()).to_numpy(zero_copy_only=False))


def carried(high: Integers, low: Integers) -> tuple[Integers, Integers]:
    """The same number with the low half from 0 to 2^32."""
    return high + (low >> _HALF), low & _HALF_MASK


def sums_fit(values: pa.Array) -> bool:
    """Whether the sum of any of these integers fits into int64."""
    limits = pc.min_max(values)
    least, most = (limits[name].as_py() or 0 for name in ("min", "max"))
    return max(-least, most) * len(values) < 1 << 63


def whole_sums(high: Integers, low: Integers, valid: Integers) -> pa.Array:
    """Sums as int64, or as WIDE if one of them doesn't fit; null where `valid` is 0."""
    fits = (high >= -_INT64_HIGH) & (high < _INT64_HIGH)
    if fits.all():
        return pa.array((high << _HALF) + low, mask=valid == 0)
    pairs = zip(high.tolist(), low.tolist(), valid.tolist(), strict=True)
    exact = [Decimal((upper << _HALF) + lower) if count else None for upper, lower, count in pairs]
    return pa.array(exact, WIDE)


def whole_means(high: Integers, low: Integers, valid: Integers) -> pa.Array:
    """Sums over counts, correctly rounded: float64, null where the count is 0."""
    small = (high >= -(_DOUBLE_INTEGERS >> _HALF)) & (high < _DOUBLE_INTEGERS >> _HALF)
    counts = np.maximum(valid, 1)
    means = ((np.where(small, high, 0) << _HALF) + low) / counts
    for place in np.flatnonzero(~small).tolist():
        means[place] = ((int(high[place]) << _HALF) + int(low[place])) / int(counts[place])
    return pa.array(means, mask=valid == 0)


def binned(values: npt.NDArray[np.float64]) -> Iterator[tuple[int, int, dict[int, Integers]]]:
    """Doubles as integers that add up to them, each times 2^(BIN_BITS * bin).

    Returns:
      Of slices, which hold many rows where there are few bins: begin, end, and by bin int64[end - begin].
    """
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(values)
        mantissa, exponent = np.frexp(np.where(finite, values, 0.0))
    bins = (exponent - _MANTISSA_BITS) // BIN_BITS
    step = max(len(values), 1) if len(np.unique(bins)) <= _DENSE_BINS else _DENSE_ROWS
    whole = (mantissa * 2.0**_MANTISSA_BITS).astype(np.int64)
    shift = (exponent - _MANTISSA_BITS) - bins * BIN_BITS
    for begin in range(0, len(values), step):
        part = slice(begin, begin + step)
        found = _dense(whole[part], shift[part].astype(np.int64), bins[part])
        for number, is_such in (
            (NAN, np.isnan(values[part])),
            (INFINITE, values[part] == np.inf),
            (MINUS_INFINITE, values[part] == -np.inf),
        ):
            if is_such.any():
                found[number] = is_such.astype(np.int64)
        yield begin, min(begin + step, len(values)), found


def _dense(whole: Integers, shift: Integers, bins: npt.NDArray[np.int32]) -> dict[int, Integers]:
    sign, size = np.sign(whole), np.abs(whole)
    mask = (1 << BIN_BITS) - 1
    found: dict[int, Integers] = {}
    used = np.unique(bins[whole != 0]).tolist()
    carry = np.zeros(len(whole), np.int64)
    for piece in range(_PIECES):
        moved = ((size & mask) << shift) + carry
        size = size >> BIN_BITS
        signed = sign * (moved & mask)
        carry = moved >> BIN_BITS
        for number in used:
            at = bins == number
            target = found.setdefault(number + piece, np.zeros(len(whole), np.int64))
            target[at] += signed[at]
    return {number: pieces for number, pieces in found.items() if pieces.any()}


def float_sum(pieces: Mapping[int, int]) -> float:
    """The sum of doubles, correctly rounded as `math.fsum`, from the sum of their pieces by bin."""
    finite = {number: piece for number, piece in pieces.items() if number < NAN}
    up, down = pieces.get(INFINITE, 0), pieces.get(MINUS_INFINITE, 0)
    if pieces.get(NAN, 0) or (up and down):
        return math.nan
    if up or down:
        return math.inf if up else -math.inf
    if not finite:
        return 0.0
    least = min(finite)
    total = sum(piece << (BIN_BITS * (number - least)) for number, piece in finite.items())
    power = BIN_BITS * least
    try:
        return total / (1 << -power) if power < 0 else float(total << power)
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def float_sums(starts: Sequence[int], bins: Sequence[int], pieces: Sequence[int], groups: int) -> list[float]:
    """`float_sum` of each group.

    Args:
      starts: for each row, its group, ascending.
      bins, pieces: of rows.
      groups: how many; one without rows has the sum 0.
    """
    found: list[dict[int, int]] = [{} for _ in range(groups)]
    for group, number, piece in zip(starts, bins, pieces, strict=True):
        found[group][number] = piece
    return [float_sum(pieces_of) for pieces_of in found]
