from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that

from beam_etl.kernels import hash_join
from beam_etl.kernels.join_rule import HOWS, INNER, OUTER, JoinError, JoinRule
from beam_etl.kernels.join_salts import HotKeys, KeySample, find_hot_keys
from beam_etl.observe.plan import plan
from beam_etl.transforms import join
from beam_etl.transforms.join import BROADCAST, LEFT_SIDE, RIGHT_SIDE, SHUFFLE, Join
from tests.beam import counters, run
from tests.joins import GRID, expected, pieces, rows_of, sides

EVERY_WAY = [(how, SHUFFLE, RIGHT_SIDE) for how in HOWS]
EVERY_WAY += [(how, BROADCAST, RIGHT_SIDE) for how in HOWS if how != OUTER] + [(INNER, BROADCAST, LEFT_SIDE)]
FEW_WAYS = [(OUTER, SHUFFLE, RIGHT_SIDE), ("anti", BROADCAST, RIGHT_SIDE), (INNER, BROADCAST, LEFT_SIDE)]

EXPECTED = 40 << 20
"""Bytes of which a shuffle makes five partitions."""


def check_rows(wanted: list[str]) -> Any:
    def check(batches: Iterable[pa.RecordBatch]) -> None:
        assert rows_of(batches) == wanted

    return check


def check_join(
    left: pa.Table, right: pa.Table, join_: Join, rows: int = 40, workers: int = 1
) -> beam.Pipeline:
    with run(f"--direct_num_workers={workers}") as pipeline:
        both = {
            name: pipeline | name >> beam.Create(pieces(table, rows)).with_output_types(pa.RecordBatch)
            for name, table in ((LEFT_SIDE, left), (RIGHT_SIDE, right))
        }
        joined = both | "Join" >> join_
        assert_that(joined.rows, check_rows(expected(left, right, join_.rule)), label="rows")
        assert_that(joined.failures, check_rows([]), label="failures")
    return pipeline


def join_of(left: pa.Table, right: pa.Table, **how: Any) -> Join:
    keys = tuple(name for name in left.column_names if name.startswith("k"))
    return Join(on=keys, left=left.schema, right=right.schema, expected_bytes=EXPECTED, **how)


@pytest.mark.parametrize(("how", "way", "held"), FEW_WAYS)
def test_rows_are_those_of_duckdb(how: str, way: str, held: str) -> None:
    left, right = sides(("int", "string"), seed=11)
    check_join(left, right, join_of(left, right, how=how, way=way, held=held))


@pytest.mark.long
@pytest.mark.parametrize("kinds", GRID, ids="+".join)
@pytest.mark.parametrize(("how", "way", "held"), EVERY_WAY)
@pytest.mark.parametrize(("rows", "workers"), [(1000, 1), (3, 2)])
def test_rows_do_not_depend_on_way_or_sharding(
    how: str, way: str, held: str, kinds: tuple[str, ...], rows: int, workers: int
) -> None:
    left, right = sides(kinds, seed=12)
    check_join(left, right, join_of(left, right, how=how, way=way, held=held), rows, workers)


@pytest.mark.parametrize(
    "how", [INNER, "left", *(pytest.param(how, marks=pytest.mark.long) for how in HOWS[2:])]
)
def test_rows_are_the_same_where_keys_are_spread(how: str) -> None:
    left, right = sides(("string",), seed=13)
    join_ = join_of(left, right, how=how)
    samples = [
        KeySample(tuple(pieces(table.select(["k0"]), 50)), 1000 * table.num_rows) for table in (left, right)
    ]
    join_.hot = find_hot_keys(*samples, join_.rule, most_bytes=6000)
    assert (max(join_.hot.left, default=1) > 1) == (how != OUTER)
    assert (max(join_.hot.right, default=1) > 1) == (how == INNER)
    check_join(left, right, join_)


def test_a_spread_key_has_a_share_of_its_rows_in_each_partition() -> None:
    left = pa.table({"k": [1] * 9000 + list(range(2, 1002)), "n": range(10_000)})
    right = pa.table({"k": [1, 2], "m": [1, 2]})
    rule = JoinRule(left=left.schema, right=right.schema, on=("k",))
    samples = [
        KeySample(tuple(pieces(table.select(["k"]), 500)), table.num_rows * 1000) for table in (left, right)
    ]
    hot = find_hot_keys(*samples, rule, most_bytes=1_000_000)
    assert (hot.left, hot.right) == ((9,), (1,))
    pipeline = run()
    shuffled = {
        LEFT_SIDE: pipeline | "left" >> beam.Create(pieces(left, 700)).with_output_types(pa.RecordBatch),
        RIGHT_SIDE: pipeline | "right" >> beam.Create(pieces(right, 700)).with_output_types(pa.RecordBatch),
    } | "Join" >> Join(on=("k",), left=left.schema, right=right.schema, hot=hot, expected_bytes=EXPECTED)
    assert_that(shuffled.rows, check_rows(expected(left, right, rule)))
    crossed = counters(pipeline, "Join/By key/Cut")
    assert crossed["rows_out"] == 10_000 + 2 + 8  # a copy of one row of the right side for each part


def test_rows_without_a_key_do_not_cross() -> None:
    left = pa.table({"k": pa.array([None] * 500 + [1], pa.int64()), "n": range(501)})
    right = pa.table({"k": pa.array([None, 1], pa.int64()), "m": [1, 2]})
    pipeline = run()
    both = {
        LEFT_SIDE: pipeline | "left" >> beam.Create(pieces(left, 100)).with_output_types(pa.RecordBatch),
        RIGHT_SIDE: pipeline | "right" >> beam.Create(pieces(right, 100)).with_output_types(pa.RecordBatch),
    }
    join_ = join_of(left, right, how=OUTER)
    joined = both | "Join" >> join_
    assert_that(joined.rows, check_rows(expected(left, right, join_.rule)))
    assert counters(pipeline, "Join/By key/Cut")["rows_out"] == 2


@pytest.mark.parametrize(
    ("limit", "memory", "message"),
    [
        (100, 1 << 40, "at most 100 are broadcast. Use --way=shuffle, or a larger --broadcast_bytes."),
        (1 << 20, 1000, "a quarter is used for it. Use --way=shuffle"),
    ],
    ids=["limit", "memory"],
)
def test_a_side_that_turns_out_large_is_a_verdict(
    limit: int, memory: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = sides(("int",), seed=14)
    monkeypatch.setattr(join, "worker_memory", lambda: memory)

    def check(failures: list[str]) -> None:
        assert len(failures) == 1
        assert message in failures[0]

    with run() as pipeline:
        both = {
            LEFT_SIDE: pipeline | "left" >> beam.Create(pieces(left, 50)).with_output_types(pa.RecordBatch),
            RIGHT_SIDE: pipeline
            | "right" >> beam.Create(pieces(right, 50)).with_output_types(pa.RecordBatch),
        }
        joined = both | "Join" >> join_of(left, right, way=BROADCAST, broadcast_bytes=limit)
        assert_that(joined.rows, check_rows([]), label="rows")
        assert_that(joined.failures, check, label="failures")


def test_a_key_that_can_not_be_held_is_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = (pa.table({"k": [1] * 100, name: range(100)}) for name in ("m", "n"))
    monkeypatch.setattr(hash_join, "MAX_HELD_BYTES", 1000)

    def check(failures: list[str]) -> None:
        (message,) = failures
        assert (
            "on the right side, of which 1,000 can be held. Join fewer columns, or leave out that key."
            in message
        )

    with run() as pipeline:
        both = {
            LEFT_SIDE: pipeline | "left" >> beam.Create(pieces(left, 50)).with_output_types(pa.RecordBatch),
            RIGHT_SIDE: pipeline
            | "right" >> beam.Create(pieces(right, 50)).with_output_types(pa.RecordBatch),
        }
        joined = both | "Join" >> join_of(left, right)
        assert_that(joined.failures, check, label="failures")


def test_a_broadcast_side_is_held_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = sides(("int",), seed=15)
    held = []
    honest = join.HeldSide
    monkeypatch.setattr(join, "HeldSide", lambda *args: held.append(1) or honest(*args))
    check_join(left, right, join_of(left, right, way=BROADCAST), rows=5, workers=2)
    assert held == [1]


@pytest.mark.parametrize(("way", "shuffles"), [(SHUFFLE, 1), (BROADCAST, 0)])
def test_shuffles(way: str, shuffles: int) -> None:
    left, right = sides(("int",), seed=16)
    pipeline = run()
    both = {
        name: pipeline | name >> beam.Create([]).with_output_types(pa.RecordBatch)
        for name in (LEFT_SIDE, RIGHT_SIDE)
    }
    both | "Join" >> join_of(left, right, way=way)
    assert len(plan(pipeline).shuffles) == shuffles


REFUSED = {
    "outer by broadcast": ({"how": OUTER, "way": BROADCAST}, "outer join keeps rows of the broadcast side"),
    "left held for a left join": (
        {"how": "left", "way": BROADCAST, "held": LEFT_SIDE},
        "broadcasts its right side",
    ),
    "another way": ({"way": "merge"}, "broadcast or shuffle"),
    "too much": ({"broadcast_bytes": 2 << 30}, "below 2 GiB"),
}


@pytest.mark.parametrize(("how", "message"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_is_refused(how: dict[str, Any], message: str) -> None:
    left, right = sides(("int",), seed=17)
    with pytest.raises((JoinError, ValueError), match=message):
        join_of(left, right, **how)


def test_no_key_is_hot_in_a_small_sample() -> None:
    rows = pa.record_batch({"k": [1] * 7})
    rule = JoinRule(left=rows.schema, right=rows.schema, on=("k",))
    sample = KeySample((rows,), 1 << 40)
    assert find_hot_keys(sample, sample, rule) == HotKeys()
