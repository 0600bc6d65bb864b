"""Partitions of rows beside plain Python, and bounds of ranges that share rows evenly."""

import bisect
import datetime as dt
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from beam_etl.kernels.partition import hash_partition
from beam_etl.kernels.partition_bounds import even_bounds, sample_rows, with_bounds
from beam_etl.kernels.partition_paths import NULL_PARTITION
from beam_etl.kernels.partition_request import parse_partitioning
from beam_etl.kernels.partition_rows import named_for, partition_rows
from beam_etl.kernels.partitioning import Level, Partitioning

RANDOM = np.random.default_rng(3)
ROWS = 500
UTC = dt.timezone.utc


def with_nulls(values: list[Any]) -> list[Any]:
    return [None if place % 17 == 5 else value for place, value in enumerate(values)]


TIMES = [dt.datetime(1969, 12, 30, tzinfo=UTC) + dt.timedelta(minutes=37 * i) for i in range(ROWS)]
BATCH = pa.record_batch(
    {
        "time": pa.array(with_nulls(TIMES), pa.timestamp("us", "UTC")),
        "paris": pa.array(with_nulls(TIMES), pa.timestamp("ns", "Europe/Paris")),
        "date": pa.array(with_nulls([time.date() for time in TIMES]), pa.date32()),
        "lang": pa.array(
            with_nulls([["de", "en", "zh", ""][i % 4] for i in range(ROWS)])
        ).dictionary_encode(),
        "words": pa.array(with_nulls(RANDOM.integers(0, 90, ROWS).tolist()), pa.int32()),
        "price": pa.array(with_nulls(RANDOM.normal(size=ROWS).tolist())),
        "url": pa.array(with_nulls([f"http://{i % 90}.org/" for i in range(ROWS)])),
    }
)


def ranges(bounds: list[Any]) -> Callable[[Any], str]:
    return lambda value: f"{bisect.bisect_right(bounds, value):05d}"


def month(value: Any) -> str:
    return f"{value:%Y-%m}"


CASES: dict[str, tuple[Level, Callable[[Any], str]]] = {
    "hour": (Level(function="time", columns=("time",), unit="hour"), lambda value: f"{value:%Y-%m-%d-%H}"),
    "hour elsewhere": (
        Level(function="time", columns=("paris",), unit="hour"),
        lambda value: f"{value.astimezone(UTC):%Y-%m-%d-%H}",
    ),
    "day of a time": (
        Level(function="time", columns=("time",), unit="day"),
        lambda value: f"{value:%Y-%m-%d}",
    ),
    "day": (Level(function="time", columns=("date",), unit="day"), str),
    "month": (Level(function="time", columns=("date",), unit="month"), month),
    "value": (Level(function="value", columns=("lang",)), str),
    "number": (Level(function="value", columns=("words",)), str),
    "date": (Level(function="value", columns=("date",)), str),
    "range": (Level(function="range", columns=("words",), bounds=(10, 11, 70)), ranges([10, 11, 70])),
    "range of floats": (Level(function="range", columns=("price",), bounds=(-0.5, 1)), ranges([-0.5, 1])),
    "range of text": (Level(function="range", columns=("url",), bounds=("http://5",)), ranges(["http://5"])),
    "range of times": (
        Level(function="range", columns=("time",), bounds=("1970-01-05T00:00:00Z",)),
        ranges([dt.datetime(1970, 1, 5, tzinfo=UTC)]),
    ),
}


@pytest.mark.parametrize(("level", "text"), CASES.values(), ids=CASES)
def test_each_row_is_in_the_partition_that_python_tells(level: Level, text: Callable[[Any], str]) -> None:
    numbers, folders = partition_rows(BATCH, Partitioning(by=(level,)))
    assert folders == sorted(set(folders))
    values = BATCH.column(level.columns[0])
    values = values.cast(pa.timestamp("us", values.type.tz)) if level.columns == ("paris",) else values
    expected = [
        f"{level.name}={NULL_PARTITION if value is None else text(value)}" for value in values.to_pylist()
    ]
    assert [folders[number] for number in numbers] == expected


def test_levels_are_combined_and_a_bucket_is_the_hash_that_shuffles_use() -> None:
    partitioning = parse_partitioning(["time:date:month", "hash:url+lang:7", "value:lang"])
    numbers, folders = partition_rows(BATCH, partitioning)
    buckets = hash_partition(BATCH, ("url", "lang"), 7)
    for row, number in enumerate(numbers):
        months, bucket, lang = (folder.split("=")[1] for folder in folders[number].split("/"))
        date, language = BATCH.column("date")[row].as_py(), BATCH.column("lang")[row].as_py()
        assert months == (NULL_PARTITION if date is None else month(date))
        assert int(bucket) == buckets[row]
        assert lang == (NULL_PARTITION if language is None else language)


@pytest.mark.parametrize(
    "items",
    [
        ["time:words:day"],
        ["time:date:hour"],
        ["value:price"],
        ["value:time"],
        ["hash:absent:4"],
        ["hash:time+url:x"],
    ],
    ids=str,
)
def test_what_a_column_cannot_be_partitioned_by_is_told(items: list[str]) -> None:
    with pytest.raises((TypeError, ValueError), match="words|date|price|time|absent|partitioning"):
        named_for(parse_partitioning(items), BATCH.schema)


def test_folders_of_days_are_named_as_the_column_whose_values_they_are() -> None:
    names = named_for(
        parse_partitioning(["time:date:day", "time:time:day", "hash:url:2"]), BATCH.schema
    ).names
    assert names == ("date", "time_day", "url_bucket")
    with pytest.raises(ValueError, match="'url_bucket', as a column is"):
        named_for(parse_partitioning(["hash:url:2"]), BATCH.schema.append(pa.field("url_bucket", pa.int8())))


SKEWED = {
    "even": list(range(8000)),
    "a third is one value": [7] * 3000 + list(range(6000)),
    "the smallest is frequent": [0] * 5000 + list(range(1, 5001)),
    "text": [f"{i:05d}" for i in range(8000)],
}


@pytest.mark.parametrize("values", SKEWED.values(), ids=SKEWED)
def test_ranges_share_the_rows_evenly_but_for_a_value_that_has_more_than_its_share(values: list[Any]) -> None:
    bounds = even_bounds(pa.array(values), 8)
    sizes = Counter(bisect.bisect_right(bounds, value) for value in values)
    most = max(Counter(values).values())
    others = sorted(sizes.values())[:-1] if most > len(values) / 8 else list(sizes.values())
    rest = sum(others) / len(others)
    assert len(sizes) >= 5
    assert all(size <= max(1.5 * rest, most) for size in others)
    assert max(sizes.values()) <= max(1.5 * rest, most + rest)


def test_few_values_have_few_ranges() -> None:
    assert even_bounds(pa.array([1, 1, 2, None]), 8) == [2]
    assert even_bounds(pa.array([None, None], pa.int64()), 8) == []
    assert even_bounds(pa.array([float("nan")] * 3 + [1.0, 2.0]), 2) == [2.0]


def test_the_sample_and_so_the_bounds_do_not_depend_on_batches() -> None:
    addresses = pa.array(np.arange(9000, dtype=np.uint64) * 977)
    batch = pa.record_batch({"address": addresses, "words": pa.array(RANDOM.integers(0, 10**6, 9000))})
    whole = [sample_rows(batch, ("words",), 0.2)]
    parts = [sample_rows(batch.slice(at, 700), ("words",), 0.2) for at in range(8400, -1, -700)]
    assert 1500 < whole[0].num_rows < 2100
    found = [with_bounds(parse_partitioning(["range:words:6"]), samples) for samples in (whole, parts)]
    assert found[0] == found[1]
    assert len(found[0].by[0].bounds or ()) == 5
