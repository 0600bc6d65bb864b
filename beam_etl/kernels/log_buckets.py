"""Buckets of numbers whose width is a fixed part of the number: for quantiles of any numbers, with a stated error.

A bucket is what doubles have in common in their sign, exponent and highest bits, so no logarithm is computed. As in
DDSketch, counts are added up, which depends on no order. (`quantiles` has more exact values, for counts of 0 and more.)
"""

import numpy as np
import pyarrow as pa

from beam_etl.kernels.sorting import floats_of, ordered_floats

_DROPPED_BITS = 45
"""Of a mantissa of 52 bits; 7 are kept."""

RELATIVE_ERROR = 2.0**-8
"""The value of a bucket differs from a number in it by at most this part of the number; of integers below 256 by 0."""


def log_buckets(values: pa.Array) -> pa.Array:
    """The bucket of each number: int64, ascending with the number, nulls kept.

    Args:
      values: integers or floats. Those beyond 2^53 are rounded to doubles first.
    """
    return _shifted(ordered_floats(values.cast(pa.float64(), safe=False)))


def _shifted(ordered: pa.Array) -> pa.Array:
    bits = ordered.fill_null(0).to_numpy(zero_copy_only=False) >> _DROPPED_BITS
    return pa.array(bits, mask=ordered.is_null().to_numpy(zero_copy_only=False))


def bucket_values(buckets: pa.Array, kind: pa.DataType) -> pa.Array:
    """A number of the type `kind` for each bucket; see RELATIVE_ERROR."""
    numbers = buckets.fill_null(0).to_numpy(zero_copy_only=False)
    low = floats_of(pa.array(numbers << _DROPPED_BITS)).to_numpy(zero_copy_only=False)
    high = floats_of(pa.array(((numbers + 1) << _DROPPED_BITS) - 1)).to_numpy(zero_copy_only=False)
    if pa.types.is_integer(kind):
        low, high = np.ceil(low), np.floor(high)
    with np.errstate(invalid="ignore"):
        middle = low / 2 + high / 2
    ends = np.where(numbers >= 0, low, high)  # infinities and NaN begin their buckets
    values = np.where(np.isfinite(low) & np.isfinite(high) & (numbers != 0), middle, ends)
    if pa.types.is_integer(kind):
        least, most = _integer_limits(kind)
        largest = float(most) if float(most) <= most else np.nextafter(float(most), 0)
        values = np.floor(np.clip(values, float(least), largest))
    return pa.array(values, mask=buckets.is_null().to_numpy(zero_copy_only=False), from_pandas=False).cast(
        kind
    )


def _integer_limits(kind: pa.DataType) -> tuple[int, int]:
    """The smallest and the largest number of an integer type."""
    signed = bool(pa.types.is_signed_integer(kind))
    bits = kind.bit_width - signed
    return (-(1 << bits) if signed else 0), (1 << bits) - 1
