"""Which key most of a partition belongs to, from some of its rows."""

import datetime
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from beam_etl.kernels.hot_keys import FIRST_BYTES, FIRST_ROWS, KeySample, keys_at

ROWS = 50_000


def batches(domains: list[str | None], texts: list[str], rows: int) -> list[pa.RecordBatch]:
    whole = pa.record_batch({"domain": domains, "text": texts})
    return [whole.slice(start, rows) for start in range(0, whole.num_rows, rows)]


def sampled(parts: list[pa.RecordBatch], by: tuple[str, ...] = ("domain",)) -> KeySample:
    sample = KeySample(by)
    for part in parts:
        sample.add(part)
    return sample


@pytest.mark.parametrize("rows", [100, 4096, ROWS], ids=lambda rows: f"batches of {rows}")
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_a_hot_key_is_named_with_about_its_rows(rows: int, share: float) -> None:
    drawn = random.Random(7)
    domains: list[str | None] = [
        "hot.example" if drawn.random() < share else f"site{drawn.randrange(1000)}" for _ in range(ROWS)
    ]
    sample = sampled(batches(domains, ["x"] * ROWS, rows))
    assert sample.rows == ROWS
    found = sample.hottest_by_rows()
    assert found is not None
    assert found[0] == "domain='hot.example'"
    assert found[1] == pytest.approx(share * ROWS, rel=0.4)


def test_a_key_of_few_large_rows_is_hot_by_bytes_alone() -> None:
    parts = []
    for _ in range(200):
        parts += batches([f"site{n}" for n in range(200)], ["x"] * 200, 200)
        parts += batches(["large.example"], ["x" * 100_000], 1)
    sample = sampled(parts)
    assert sample.hottest_by_rows() is None
    found = sample.hottest_by_bytes()
    assert found is not None
    assert found[0] == "domain='large.example'"


def test_no_key_is_named_where_none_has_a_quarter_or_the_partition_is_small() -> None:
    even = sampled(batches([f"site{n % 20}" for n in range(ROWS)], ["x"] * ROWS, 5000))
    assert (even.hottest_by_rows(), even.hottest_by_bytes()) == (None, None)
    small = sampled(batches(["a"] * (FIRST_ROWS - 1), ["x"] * (FIRST_ROWS - 1), 100))
    assert small.bytes < FIRST_BYTES
    assert small.hottest_by_rows() is None


KEYS: dict[str, tuple[Any, str]] = {
    "text": ("Zoë", "key='Zoë'"),
    "control characters": ("a\x1b[31m\n", r"key='a\x1b[31m\n'"),
    "null": (None, "key=null"),
    "number": (7, "key=7"),
    "bytes": (b"\x00\xff", r"key=b'\x00\xff'"),
    "date": (datetime.date(2026, 1, 2), "key='2026-01-02'"),
    "long": ("x" * 1000, "key='" + "x" * 99 + "..."),
}


@pytest.mark.parametrize(("value", "text"), KEYS.values(), ids=KEYS)
def test_a_key_is_told_in_a_line(value: Any, text: str) -> None:
    rows = pa.record_batch({"key": [value] * FIRST_ROWS, "other": [1] * FIRST_ROWS})
    assert sampled([rows], ("key",)).hottest_by_rows() == (text, FIRST_ROWS)
    both = sampled([rows], ("key", "other")).hottest_by_rows()
    assert both == (f"{text}, other=1", FIRST_ROWS)


def test_batches_without_the_key_are_counted_and_not_looked_at() -> None:
    other = pa.record_batch({"other": range(FIRST_ROWS)})
    sample = sampled([other, pa.record_batch({"key": ["k"] * FIRST_ROWS})], ("key",))
    assert sample.rows == 2 * FIRST_ROWS
    assert sample.hottest_by_rows() == ("key='k'", 2 * FIRST_ROWS)
    assert sampled([other], ()).hottest_by_rows() is None


def test_keys_that_python_has_no_value_for_are_told() -> None:
    values = pa.array([1_700_000_000_123_456_789], pa.timestamp("ns"))
    assert keys_at(pa.record_batch({"t": values}), ["t"], np.array([0])) == [
        ("2023-11-14 22:13:20.123456789",)
    ]
