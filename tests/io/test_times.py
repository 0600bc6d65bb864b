"""Dates and times against the standard library."""

import datetime

import pyarrow as pa
import pytest

from beam_etl.io.times import read_dates, read_times

UTC = datetime.timezone.utc

TEXTS = {
    "2026-02-03T04:05:06Z": "2026-02-03T04:05:06+00:00",
    "2026-02-03 04:05:06Z": "2026-02-03T04:05:06+00:00",
    "2026-02-03t04:05:06z": "2026-02-03T04:05:06+00:00",
    "2026-02-03T04:05:06": "2026-02-03T04:05:06+00:00",
    "2026-02-03T04:05": "2026-02-03T04:05:00+00:00",
    " 2026-02-03T04:05:06Z\n": "2026-02-03T04:05:06+00:00",
    "2026-02-03T23:30:00-05:30": "2026-02-04T05:00:00+00:00",
    "2026-02-03T01:30:00+0200": "2026-02-02T23:30:00+00:00",
    "2026-02-03T01:30:00+02": "2026-02-02T23:30:00+00:00",
    "2026-02-03 01:30:00 +02:00": "2026-02-02T23:30:00+00:00",
    "2026-02-03T04:05:06.5Z": "2026-02-03T04:05:06.500000+00:00",
    "2026-02-03T04:05:06.123456Z": "2026-02-03T04:05:06.123456+00:00",
    "2026-02-03T04:05:06.123456999+01:00": "2026-02-03T03:05:06.123456+00:00",
    "1969-12-31T23:59:59.999999Z": "1969-12-31T23:59:59.999999+00:00",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59Z": "9999-12-31T23:59:59+00:00",
    "2024-02-29": "2024-02-29T00:00:00+00:00",
}
"""What is read, and the same in the one form of the standard library."""

NOT_TIMES = [
    "2026-02-30",
    "2026-13-01T00:00:00Z",
    "yesterday",
    "03.02.2026",
    "1770091506",
    "2026",
    "2026-02-03T25:00:00",
]


def test_iso_8601_text_is_read_in_utc() -> None:
    expected = [datetime.datetime.fromisoformat(text) for text in TEXTS.values()]
    times, bad = read_times(pa.array([*TEXTS, None, "", "  "]))
    assert (times.to_pylist(), bad) == ([*expected, None, None, None], [])
    dates, bad = read_dates(pa.array([*TEXTS, None, ""], pa.large_string()))
    assert (dates.to_pylist(), bad) == ([*(time.date() for time in expected), None, None], [])


def test_other_text_is_told_by_its_rows() -> None:
    texts = [text for pair in zip(list(TEXTS), NOT_TIMES, strict=False) for text in pair]
    times, bad = read_times(pa.array(texts))
    assert bad == list(range(1, 2 * len(NOT_TIMES), 2))
    assert [time is None for time in times.to_pylist()] == [row in bad for row in range(len(texts))]


MOMENT = datetime.datetime(2026, 2, 3, 23, 5, 6, 123000, UTC)


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (pa.timestamp("s"), MOMENT.replace(microsecond=0)),
        (pa.timestamp("ms"), MOMENT),
        (pa.timestamp("us"), MOMENT),
        (pa.timestamp("ns"), MOMENT),
        (pa.timestamp("ms", "UTC"), MOMENT),
        (pa.timestamp("us", "America/New_York"), MOMENT),
    ],
    ids=str,
)
def test_timestamps_are_read_in_utc(type_: pa.DataType, expected: datetime.datetime) -> None:
    stored = pa.array([expected if type_.tz else expected.replace(tzinfo=None), None], type_)
    times, bad = read_times(stored)
    assert (times.to_pylist(), bad) == ([expected, None], [])
    assert read_dates(stored)[0].to_pylist() == [expected.date(), None]


def test_timestamps_outside_the_range_are_told() -> None:
    times, bad = read_times(pa.array([0, 10**15, -(10**15)], pa.timestamp("s")))
    assert (times.null_count, bad) == (2, [1, 2])


@pytest.mark.parametrize("type_", [pa.date32(), pa.date64()], ids=str)
def test_dates_stay_dates(type_: pa.DataType) -> None:
    day = datetime.date(2026, 2, 3)
    dates, bad = read_dates(pa.array([day, None], type_))
    assert (dates.type, dates.to_pylist(), bad) == (pa.date32(), [day, None], [])


NUMBERS = {
    "seconds": ("s", pa.array([1_770_073_200, -1, None]), [1_770_073_200 * 10**6, -(10**6), None]),
    "seconds, narrow": ("s", pa.array([100, -1, None], pa.int8()), [100 * 10**6, -(10**6), None]),
    "seconds, floats": ("s", pa.array([1.5, -0.25, None]), [1_500_000, -250_000, None]),
    "milliseconds": ("ms", pa.array([1_770_073_200_123, 0, None]), [1_770_073_200_123_000, 0, None]),
    "microseconds, unsigned": ("us", pa.array([7, 2**63 - 1, None], pa.uint64()), [7, 2**63 - 1, None]),
    "nanoseconds": ("ns", pa.array([1999, -1, None]), [1, -1, None]),
}


@pytest.mark.parametrize(("unit", "stored", "expected"), NUMBERS.values(), ids=NUMBERS.keys())
def test_numbers_count_from_1970(unit: str, stored: pa.Array, expected: list[int | None]) -> None:
    times, bad = read_times(stored, unit)
    assert (times.cast(pa.int64()).to_pylist(), bad) == (expected, [])


def test_numbers_that_no_time_has_are_told() -> None:
    floats = pa.array([float("nan"), float("inf"), -1e300, 1.0, None])
    for stored, expected in ((floats, [0, 1, 2]), (pa.array([2**63, 1], pa.uint64()), [0])):
        times, bad = read_times(stored, "s")
        assert bad == expected
        assert times.is_null().to_pylist() == [
            row in bad or stored[row].as_py() is None for row in range(len(stored))
        ]


@pytest.mark.parametrize("type_", [pa.date32(), pa.date64()], ids=str)
def test_a_date_is_its_midnight_in_utc(type_: pa.DataType) -> None:
    times, bad = read_times(pa.array([datetime.date(2026, 2, 3), None], type_))
    assert (times.to_pylist(), bad) == (
        [datetime.datetime(2026, 2, 3, tzinfo=datetime.timezone.utc), None],
        [],
    )
    _, bad = read_times(pa.array([2**31 - 1], pa.int32()).cast(pa.date32()))
    assert bad == [0]
