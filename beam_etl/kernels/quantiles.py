"""Quantiles of counts, from how many values fall into each of some 2,000 log-spaced buckets.

As DDSketch does, for integers of 0 and more: merging adds integers, so the result doesn't depend on any
order, and the error is relative to the value. The bounds are computed in integers, so no platform's logarithm
moves a value to another bucket.

Source: Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees", Proceedings of the VLDB Endowment 12 (2019).
"""

from functools import cache

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

_PARTS = 100

RELATIVE_ERROR = 1 / _PARTS
"""A quantile differs from the exact one by at most this part of it. Below EXACT_BELOW it doesn't differ."""

EXACT_BELOW = 99
"""Values below this have a bucket each."""


def bucket_of(values: npt.NDArray[np.integer]) -> npt.NDArray[np.int16]:
    """The bucket of each value: int16, ascending with the value, and the value itself below EXACT_BELOW.

    Raises:
      ValueError: a value is negative.
    """
    if len(values) and values.min() < 0:
        raise ValueError(f"only counts have buckets, got {values.min()}")
    return np.searchsorted(_bounds()[1], values.astype(np.int64, copy=False)).astype(np.int16)


def bucket_value(buckets: npt.NDArray[np.integer]) -> Integers:
    """A value that differs from all values of the bucket by at most RELATIVE_ERROR of them: int64."""
    return _bounds()[0][buckets]


def quantiles(
    starts: Integers,
    buckets: npt.NDArray[np.integer],
    counts: Integers,
    least: Integers,
    most: Integers,
    percents: Integers,
) -> Integers:
    """Quantiles of groups of values: the smallest value that so many percent of its group don't exceed.

    That is NumPy's `inverted_cdf`, to within RELATIVE_ERROR.

    Args:
      starts: int64[groups], the first row of each group; ascending, the first 0.
      buckets: [rows], ascending within each group.
      counts: int64[rows], values in the bucket, 1 or more.
      least, most: int64[rows], the smallest and largest of them. Where they are equal, the answer is exact.
      percents: int64[n], 0 to 100.

    Returns:
      int64[groups, n].
    """
    below = np.concatenate([[0], np.cumsum(counts)])
    ends = np.append(starts[1:], len(counts))
    inside = below[ends] - below[starts]
    ranks = np.maximum(1, -(-inside[:, None] * percents[None, :] // 100))
    rows = np.searchsorted(below[1:], below[starts][:, None] + ranks, side="left")
    return np.clip(bucket_value(buckets)[rows], least[rows], most[rows])


@cache
def _bounds() -> tuple[Integers, Integers]:
    """Each bucket's value and its largest member.

    A bucket that begins at v has the value v(1 + e) and ends at v(1 + e) / (1 - e), both rounded down, with
    e = RELATIVE_ERROR: neither end is further than e of itself from the value.
    """
    largest = np.iinfo(np.int64).max
    values, ends = [0], [0]
    while ends[-1] < largest:
        begin = ends[-1] + 1
        value = min(begin * (_PARTS + 1) // _PARTS, largest)
        values.append(value)
        ends.append(min(value * _PARTS // (_PARTS - 1), largest))
    return np.array(values), np.array(ends)
