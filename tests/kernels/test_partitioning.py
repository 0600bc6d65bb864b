"""What a manifest says of partitions, which of two tables lie together, and folders that any value can have."""

import json

import pytest

from beam_etl.kernels.partition_paths import NULL_PARTITION, PartitionNameError, folder_of, values_of
from beam_etl.kernels.partitioning import Level, Partitioning, co_partitioned, hashed

DAY = Level(function="time", columns=("time",), unit="day")
LANGUAGE = Level(function="value", columns=("lang",))
WORDS = Level(function="range", columns=("words",), bounds=(10, 200))


@pytest.mark.parametrize(
    "partitioning",
    [
        hashed(("url",), 16, order=("url",)),
        Partitioning(by=(DAY, LANGUAGE, WORDS)),
        Partitioning(by=(LANGUAGE,), split=True),
        Partitioning(by=(Level(function="time", columns=("date",), unit="day", name="date"),)),
    ],
    ids=["hash", "several", "split", "named"],
)
def test_what_stands_in_json_is_read_back(partitioning: Partitioning) -> None:
    assert Partitioning.from_json(json.loads(json.dumps(partitioning.to_json()))) == partitioning


@pytest.mark.parametrize(
    "arguments",
    [
        {"function": "list", "columns": ("a",)},
        {"function": "hash", "columns": ("a",)},
        {"function": "hash", "columns": ("a",), "partitions": 0},
        {"function": "hash", "columns": (), "partitions": 4},
        {"function": "time", "columns": ("a",), "unit": "week"},
        {"function": "value", "columns": ("a", "b")},
        {"function": "value", "columns": ("a",), "unit": "day"},
        {"function": "hash", "columns": ("a",), "partitions": 4, "version": 2},
    ],
    ids=lambda arguments: "-".join(map(str, arguments.values())),
)
def test_a_level_that_means_nothing_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"partitions|takes|units|needs"):
        Level(**arguments)  # type: ignore[arg-type]


KEPT = [
    (hashed(("domain",), 8), ("domain",), True),
    (hashed(("domain",), 8), ("domain", "url"), True),
    (hashed(("domain", "lang"), 8), ("domain",), False),
    (Partitioning(by=(DAY, LANGUAGE)), ("lang",), False),
    (Partitioning(by=(DAY, LANGUAGE)), ("lang", "time"), True),
    (Partitioning(by=(LANGUAGE,), split=True), ("lang",), False),
]


@pytest.mark.parametrize(("partitioning", "columns", "kept"), KEPT)
def test_rows_with_equal_columns_are_together(
    partitioning: Partitioning, columns: tuple[str, ...], kept: bool
) -> None:
    assert partitioning.keeps_together(columns) is kept


WITH_DAY = Partitioning(by=(DAY, Level(function="hash", columns=("url",), partitions=4)))
LYING = [
    (hashed(("url",), 8), hashed(("url",), 8), ("url",), ("url",), 8),
    (hashed(("url",), 4), hashed(("page",), 12), ("url",), ("page",), 4),
    (hashed(("url",), 4), hashed(("url",), 6), ("url",), ("url",), None),
    (hashed(("url",), 4), WITH_DAY, ("url",), ("url",), 4),
    (hashed(("url",), 4), hashed(("url",), 4), ("url", "lang"), ("url", "lang"), 4),
    (hashed(("url",), 4), hashed(("lang",), 4), ("url", "lang"), ("url", "lang"), None),
    (hashed(("a", "b"), 4), hashed(("b", "a"), 4), ("a", "b"), ("a", "b"), None),
    (hashed(("a", "b"), 4), hashed(("a", "b"), 4), ("a",), ("a",), None),
    (hashed(("url",), 4), None, ("url",), ("url",), None),
    (hashed(("url",), 4), Partitioning(by=(LANGUAGE,)), ("url",), ("url",), None),
]


@pytest.mark.parametrize(("left", "right", "left_on", "right_on", "partitions"), LYING)
def test_tables_lie_together_where_equal_keys_meet_in_buckets_of_one_number(
    left: Partitioning,
    right: Partitioning | None,
    left_on: tuple[str, ...],
    right_on: tuple[str, ...],
    partitions: int | None,
) -> None:
    found = co_partitioned(left, right, left_on, right_on)
    assert (found and found.partitions) == partitions


HOSTILE = [
    "..",
    "../../etc",
    "a/b",
    "",
    " ",
    ".",
    "_x",
    "%2F",
    "a=b",
    NULL_PARTITION,
    "\x00",
    "Ω\u202e",
    "*?[",
    "\\",
]


@pytest.mark.parametrize("value", [*HOSTILE, None], ids=repr)
def test_any_value_is_one_folder_and_read_back(value: str | None) -> None:
    for level in (LANGUAGE, Level(function="value", columns=("_a/b=c",))):
        partitioning = Partitioning(by=(DAY, level))
        folder = folder_of(partitioning, ("2026-01-02", value))
        path = f"documents/{folder}/part-0.parquet"
        assert values_of(partitioning, path) == ("2026-01-02", value)
        day, below = folder.split("/")
        assert day == "time_day=2026-01-02"
        assert below[0] not in "._/"
        assert below.isascii()
        assert below.isprintable()


def test_a_value_too_long_for_a_folder_is_told() -> None:
    with pytest.raises(PartitionNameError, match="lang: a value of 90 characters.*hash"):
        folder_of(Partitioning(by=(LANGUAGE,)), ["語" * 90])


def test_a_table_of_numbered_files_needs_no_folders() -> None:
    assert values_of(hashed(("url",), 8), "postings/part-00003-run-attempt.parquet") == ("00003",)
    with pytest.raises(ValueError, match="no partition by lang"):
        values_of(Partitioning(by=(LANGUAGE,)), "documents/part-00003-run-attempt.parquet")
