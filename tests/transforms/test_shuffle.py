from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from beam_etl import schema
from beam_etl.kernels import partition
from beam_etl.transforms.batches import RecordBatchCoder, merge_batches
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.shuffle import Distribute, Gather, Rebalance, Shuffle, _by_address
from tests.beam import counters, run

ROWS = 3000
TABLE = pa.record_batch(
    {
        "key": [None if i % 50 == 0 else f"key {i % 31}" for i in range(ROWS)],
        "row": range(ROWS),
    }
)
PIECES = [TABLE.slice(start, 100) for start in range(0, ROWS, 100)]


def rows_of(partition: tuple[int, Iterable[pa.RecordBatch]]) -> tuple[int, list[tuple[Any, int]]]:
    number, batches = partition
    rows = merge_batches(list(batches)).to_pylist()
    return number, sorted(((row["key"], row["row"]) for row in rows), key=repr)


def by_key(rows: Iterable[tuple[Any, int]]) -> dict[Any, list[int]]:
    groups: dict[Any, list[int]] = {}
    for key, row in rows:
        groups.setdefault(key, []).append(row)
    return groups


EVERY_GROUP = by_key((row["key"], row["row"]) for row in TABLE.to_pylist())


def check_groups(partitions: list[tuple[int, list[tuple[Any, int]]]]) -> None:
    """Each key's rows are all in one partition, none lost, none doubled."""
    seen: dict[Any, list[int]] = {}
    for _, rows in partitions:
        for key, found in by_key(rows).items():
            assert key not in seen, f"{key!r} is in two partitions"
            seen[key] = sorted(found)
    assert seen == EVERY_GROUP


@pytest.mark.parametrize("partitions", [1, 7, 500])
@pytest.mark.parametrize("workers", [1, 2])
def test_rows_of_equal_keys_meet(partitions: int, workers: int) -> None:
    with run(f"--direct_num_workers={workers}") as pipeline:
        shuffled = pipeline | beam.Create(PIECES) | Shuffle(by=("key",), partitions=partitions)
        assert_that(shuffled | beam.Map(rows_of), check_groups)


def test_two_hops_give_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "GATHER_BYTES", 1 << 16)
    shuffle = Shuffle(by=("key",), partitions=500, expected_bytes=1 << 30)
    assert shuffle.plan.hops == 2
    with run() as pipeline:
        assert_that(pipeline | beam.Create(PIECES) | shuffle | beam.Map(rows_of), check_groups)


def test_small_batches_cross_as_one_slice_a_partition() -> None:
    pipeline = run()
    (
        pipeline
        | beam.Create(PIECES, reshuffle=False)
        | "Shuffle" >> Shuffle(by=("key",), partitions=5)
        | beam.Map(rows_of)
    )
    crossed = counters(pipeline, "Shuffle/Cut")
    assert crossed["rows_out"] == ROWS
    assert crossed["elements_out"] == 5


def test_large_slices_are_cut_at_four_mebibytes_encoded() -> None:
    texts = pa.record_batch({"key": ["k"] * 24, "text": ["x" * (1 << 20)] * 24})
    coder = RecordBatchCoder()

    def encoded(part: tuple[int, Iterable[pa.RecordBatch]]) -> list[int]:
        return [len(coder.encode(batch)) for batch in part[1]]

    with run() as pipeline:
        sizes = pipeline | beam.Create([texts]) | Shuffle(by=("key",), partitions=1) | beam.FlatMap(encoded)
        assert_that(sizes, lambda found: check_sizes(found))


def check_sizes(found: list[int]) -> None:
    assert sum(found) > 24 << 20
    assert max(found) <= 4 << 20


def test_windows_stay_and_slices_carry_their_smallest_time() -> None:
    def at(piece: int) -> TimestampedValue:
        return TimestampedValue(PIECES[piece], piece)

    def with_window(
        part: tuple[int, Iterable[pa.RecordBatch]], window: Any = beam.DoFn.WindowParam
    ) -> tuple[int, int]:
        return int(window.start), sum(batch.num_rows for batch in part[1])

    with run() as pipeline:
        shuffled = (
            pipeline
            | beam.Create([3, 12, 1, 25, 14])
            | beam.Map(at)
            | beam.WindowInto(FixedWindows(10))
            | Shuffle(by=(), partitions=1)
        )
        assert_that(shuffled | beam.Map(with_window), equal_to([(0, 200), (10, 200), (20, 100)]))


def test_gathered_batches_are_sent_at_the_smallest_time_of_their_window() -> None:
    from beam_etl.transforms.gathering import GatherBatches

    class Count(GatherBatches):
        def release(self, batches: list[pa.RecordBatch]) -> list[int]:
            return [len(batches)]

    def with_time(count: int, time: Timestamp = beam.DoFn.TimestampParam) -> tuple[int, int]:
        return count, int(time)

    with run() as pipeline:
        counted = (
            pipeline
            | beam.Create([8, 3, 12], reshuffle=False)
            | beam.Map(lambda second: TimestampedValue(PIECES[0], second))
            | beam.WindowInto(FixedWindows(10))
            | beam.ParDo(Count(1 << 30))
            | beam.Map(with_time)
        )
        assert_that(counted, equal_to([(2, 3), (1, 12)]))


def test_a_partition_can_be_ordered() -> None:
    def rows(part: tuple[int, Iterable[pa.RecordBatch]]) -> list[tuple[Any, int]]:
        return [(row["key"], row["row"]) for batch in part[1] for row in batch.to_pylist()]

    shuffle = Shuffle(by=("key",), partitions=1, order_by=("key", "row"))
    expected = sorted(
        ((k, r) for k, found in EVERY_GROUP.items() for r in found), key=lambda x: (x[0] is None, x)
    )
    with run() as pipeline:
        assert_that(pipeline | beam.Create(PIECES[::-1]) | shuffle | beam.Map(rows), equal_to([expected]))


def test_a_kernel_over_partitions_sees_each_partition_once() -> None:
    def sizes(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        yield pa.record_batch({"rows": [sum(batch.num_rows for batch in batches)]})

    with run() as pipeline:
        made = (
            pipeline | beam.Create(PIECES) | Shuffle(by=("row",), partitions=4) | MapPartitions(kernel=sizes)
        )
        assert_that(made | beam.Map(lambda batch: batch["rows"][0].as_py()), lambda found: check_total(found))


def check_total(found: list[int]) -> None:
    assert len(found) == 4
    assert sum(found) == ROWS


def test_one_file_feeds_all_partitions() -> None:
    batch = TABLE.append_column(schema.ADDRESS, pa.array(range(ROWS), pa.uint64()))
    pieces = [batch.slice(start, 50) for start in range(0, ROWS, 50)]
    pipeline = run()
    with pipeline:
        keyed = pipeline | beam.Create(pieces) | beam.FlatMap(_by_address, partitions=4)
        sizes = keyed | beam.Keys() | beam.combiners.Count.PerElement() | beam.Values()
        assert_that(sizes, check_spread)
        spread = pipeline | "Again" >> beam.Create(pieces) | Rebalance(partitions=4)
        rows = spread | beam.FlatMap(lambda found: found["row"].to_pylist())
        assert_that(rows, equal_to(list(range(ROWS))), label="rows")


def check_spread(found: list[int]) -> None:
    assert len(found) == 4
    assert min(found) > 5


def test_elements_are_handed_out_once_each_and_gathered_into_one_list() -> None:
    names = [f"file {i}" for i in range(20)] + ["file 0"]
    with run() as pipeline:
        handed = pipeline | beam.Create(names) | Distribute()
        assert_that(handed, equal_to(names))
        assert_that(handed | Gather() | beam.Map(sorted), equal_to([sorted(names)]), label="gathered")
        nothing = pipeline | "Nothing" >> beam.Create([]) | "Gather none" >> Gather()
        assert_that(nothing, equal_to([[]]), label="none")
