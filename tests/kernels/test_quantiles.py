import random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.kernels.quantiles import (
    EXACT_BELOW,
    RELATIVE_ERROR,
    bucket_of,
    bucket_value,
    quantiles,
)

PERCENTS = np.array([0, 1, 10, 25, 50, 75, 90, 99, 100])
LARGEST = np.iinfo(np.int64).max

rng = np.random.default_rng(1)
VALUES = {
    "all equal": np.full(1000, 12345),
    "one": np.array([777_777]),
    "two, far apart": np.array([1, 10**12]),
    "zeros and ones": rng.integers(0, 2, 10_000),
    "small": rng.integers(0, EXACT_BELOW, 10_000),
    "uniform": rng.integers(0, 100_000, 10_000),
    "log-normal, as documents are": rng.lognormal(6, 1.5, 10_000).astype(np.int64),
    "heavy tail": (rng.pareto(0.7, 10_000) * 50).astype(np.int64),
    "two humps": np.concatenate([rng.poisson(20, 5000), rng.poisson(9000, 5000)]),
    "powers of two": 2 ** np.arange(63, dtype=np.int64),
    "the largest": np.array([LARGEST, LARGEST - 1, LARGEST - 2]),
}


def estimate(
    values: npt.NDArray[np.int64], groups: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.int64]:
    """Quantiles of groups 0, 1, ... by buckets that are filled one value at a time, in Python."""
    table: dict[tuple[int, int], list[int]] = {}
    of_group = [0] * len(values) if groups is None else groups.tolist()
    for key, value in zip(
        zip(of_group, bucket_of(values).tolist(), strict=True), values.tolist(), strict=True
    ):
        count, least, most = table.get(key, (0, value, value))
        table[key] = [count + 1, min(least, value), max(most, value)]
    keys = np.array(sorted(table))
    counts, least, most = np.array([table[key] for key in sorted(table)]).T
    starts = np.flatnonzero(np.diff(keys[:, 0], prepend=-1))
    return quantiles(starts, keys[:, 1], counts, least, most, PERCENTS)


def close(estimated: npt.NDArray[np.int64], exact: npt.NDArray[np.int64]) -> bool:
    """In whole numbers: near the largest int64 a float would hide the error."""
    allowed = round(1 / RELATIVE_ERROR)
    pairs = zip(estimated.ravel().tolist(), exact.ravel().tolist(), strict=True)
    return all(abs(one - other) * allowed <= other for one, other in pairs)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_quantiles_are_within_the_stated_error_of_numpy(values: npt.NDArray[np.int64]) -> None:
    exact = np.quantile(values, PERCENTS / 100, method="inverted_cdf").astype(np.int64)
    assert close(estimate(values)[0], exact)


@pytest.mark.parametrize("name", ["all equal", "zeros and ones", "small", "two, far apart"])
def test_quantiles_of_small_and_of_equal_values_are_exact(name: str) -> None:
    exact = np.quantile(VALUES[name], PERCENTS / 100, method="inverted_cdf")
    assert estimate(VALUES[name])[0].tolist() == exact.tolist()


def test_each_group_has_its_own_quantiles() -> None:
    parts = list(VALUES.values())
    groups = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    together = estimate(np.concatenate(parts), groups)
    assert together.tolist() == [estimate(part)[0].tolist() for part in parts]


@given(st.lists(st.integers(0, LARGEST), min_size=1, max_size=60))
def test_the_error_holds_for_any_values(values: list[int]) -> None:
    array = np.array(values)
    exact = np.quantile(array, PERCENTS / 100, method="inverted_cdf").astype(np.int64)
    assert close(estimate(array)[0], exact)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=40), st.randoms())
def test_no_order_of_the_values_changes_anything(values: list[int], shuffle: random.Random) -> None:
    other = list(values)
    shuffle.shuffle(other)
    assert estimate(np.array(other)).tolist() == estimate(np.array(values)).tolist()


def test_buckets_cover_all_counts_in_order() -> None:
    bounds = np.unique(np.concatenate([2 ** np.arange(63) + offset for offset in (-1, 0, 1)] + [[LARGEST]]))
    values = np.unique(np.concatenate([np.arange(200_000), bounds, rng.integers(0, LARGEST, 10_000)]))
    buckets = bucket_of(values)
    assert (np.diff(buckets.astype(np.int64)) >= 0).all()
    assert buckets[:EXACT_BELOW].tolist() == list(range(EXACT_BELOW))
    assert bucket_value(buckets[:EXACT_BELOW]).tolist() == list(range(EXACT_BELOW))
    assert set(buckets[:200_000].tolist()) == set(range(int(buckets[199_999]) + 1))
    assert close(bucket_value(buckets), values)
    assert 1 < buckets.max() < 2_100


def test_buckets_are_the_same_on_every_platform() -> None:
    values = np.array([0, 98, 99, 100, 101, 103, 104, 1000, 10**6, 10**9, 10**12, LARGEST])
    assert bucket_of(values).tolist() == [0, 98, 99, 99, 100, 100, 101, 212, 557, 903, 1248, 2050]


@pytest.mark.parametrize("values", [[-1], [5, -(2**40)]], ids=str)
def test_a_negative_value_is_no_count(values: list[int]) -> None:
    with pytest.raises(ValueError, match=f"only counts have buckets, got {min(values)}"):
        bucket_of(np.array(values))
