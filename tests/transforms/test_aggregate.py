from collections import Counter

import apache_beam as beam
import duckdb
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from beam_etl.testing import check_kernel, check_merge, run_once, sorted_rows
from beam_etl.transforms.aggregate import SALT, Aggregate, salted
from beam_etl.transforms.batches import Kernel
from beam_etl.transforms.gathering import combine_all
from tests.beam import counters, run

ROWS = 20_000
SALES = pa.record_batch(
    {
        "shop": ["hot" if i % 10 else f"shop {i % 700}" for i in range(ROWS)],
        "amount": pa.array(range(ROWS), pa.int64()),
    }
)
PIECES = [SALES.slice(start, 500) for start in range(0, ROWS, 500)]


def sum_amounts(batch: pa.RecordBatch) -> pa.RecordBatch:
    sums = pa.Table.from_batches([batch]).group_by("shop", use_threads=False).aggregate([("amount", "sum")])
    return sums.rename_columns(["shop", "amount"]).combine_chunks().to_batches()[0]


def oracle() -> list[tuple[str, int]]:
    sales = pa.Table.from_batches([SALES])  # noqa: F841 - read by DuckDB
    return duckdb.sql("select shop, sum(amount)::bigint from sales group by shop order by shop").fetchall()


def as_rows(batch: pa.RecordBatch) -> list[tuple[str, int]]:
    return [(row["shop"], row["amount"]) for row in batch.to_pylist()]


@pytest.mark.parametrize("partitions", [1, 16])
@pytest.mark.parametrize("workers", [1, 2])
def test_sums_equal_those_of_a_database(partitions: int, workers: int) -> None:
    aggregate = Aggregate(by=("shop",), merge=sum_amounts, partitions=partitions)
    with run(f"--direct_num_workers={workers}") as pipeline:
        sums = pipeline | beam.Create(PIECES) | aggregate | beam.FlatMap(as_rows)
        assert_that(sums, equal_to(oracle()))


@pytest.mark.parametrize("workers", [1, 2])
def test_salted_sums_equal_those_of_a_database(workers: int) -> None:
    aggregate = Aggregate(by=("shop",), merge=sum_amounts, salts=8)
    with run(f"--direct_num_workers={workers}") as pipeline:
        sums = pipeline | beam.Create(PIECES) | aggregate | beam.FlatMap(as_rows)
        assert_that(sums, equal_to(oracle()))


def test_salts_spread_what_bundles_are_left_with_of_a_key() -> None:
    salts = [batch_salt(salted(sum_amounts(piece), salts=8)) for piece in PIECES]
    assert len(set(salts)) > 4
    assert max(Counter(salts).values()) < len(PIECES) / 2
    with pytest.raises(ValueError, match="2 salts at least, got 1"):
        Aggregate(by=("shop",), merge=sum_amounts, salts=1)


def batch_salt(batch: pa.RecordBatch) -> int:
    (salt,) = set(batch[SALT].to_pylist())
    return int(salt)


def test_a_hot_key_crosses_as_one_row_a_bundle() -> None:
    pipeline = run()
    pipeline | beam.Create(PIECES, reshuffle=False) | "Sum" >> Aggregate(by=("shop",), merge=sum_amounts)
    assert counters(pipeline, "Sum/Combine in bundle")["rows_out"] == len(oracle())


def test_windows_are_combined_apart() -> None:
    with run() as pipeline:
        sums = (
            pipeline
            | beam.Create(list(enumerate(PIECES)))
            | beam.MapTuple(lambda second, piece: TimestampedValue(piece, second))
            | beam.WindowInto(FixedWindows(20))
            | Aggregate(by=("shop",), merge=sum_amounts)
            | beam.FlatMap(as_rows)
            | beam.Filter(lambda row: row[0] == "hot")
            | beam.Map(lambda row: row[1])
        )
        half = ROWS // 2
        expected = [sum(i for i in rows if i % 10) for rows in (range(half), range(half, ROWS))]
        assert_that(sums, equal_to(expected))


def test_combining_in_bounded_memory_gives_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_etl.transforms.gathering.PENDING_BYTES", 1000)
    combined = list(combine_all(iter(PIECES), sum_amounts))
    assert sorted(row for batch in combined for row in as_rows(batch)) == oracle()


def count_shops(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch({"shop": ["all"], "amount": [batch.num_rows]})


def test_finishing_sees_all_rows_of_a_partition_however_many() -> None:
    many = pa.record_batch({"shop": [f"shop {i}" for i in range(40_000)], "amount": [1] * 40_000})
    with run() as pipeline:
        aggregate = Aggregate(by=("shop",), merge=sum_amounts, finish=count_shops, partitions=1)
        counted = pipeline | beam.Create([many, many]) | aggregate | beam.FlatMap(as_rows)
        assert_that(counted, equal_to([("all", 40_000)]))


def test_the_check_of_merge_kernels_passes_good_ones_and_finds_bad_ones() -> None:
    check_merge(sum_amounts, PIECES[:5])

    def first_wins(batch: pa.RecordBatch) -> pa.RecordBatch:
        firsts = (
            pa.Table.from_batches([batch])
            .group_by("shop", use_threads=False)
            .aggregate([("amount", "first")])
        )
        return firsts.rename_columns(["shop", "amount"]).to_batches()[0]

    with pytest.raises(AssertionError, match="the opposite order"):
        check_merge(first_wins, PIECES[:5])


def unsteady(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch({"hash": [hash(shop) for shop in batch["shop"].to_pylist()]})


def first_row(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.slice(0, 1)


def wide_when_large(batch: pa.RecordBatch) -> pa.RecordBatch:
    kind = pa.float64() if batch.num_rows > 5 else pa.float32()
    return pa.record_batch({"amount": batch["amount"].cast(kind)})


def with_nan(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.append_column("share", pa.array([float("nan")] * batch.num_rows))


def test_the_check_of_kernels_passes_good_ones() -> None:
    check_kernel(with_nan, PIECES[0])


BAD_KERNELS = {
    "hashes": (unsteady, "another hash seed"),
    "first row": (first_row, "batches of 1 rows gives other rows"),
    "types": (wide_when_large, "batches of 1 rows gives other columns.*double.*float"),
}


@pytest.mark.parametrize(("kernel", "what"), BAD_KERNELS.values(), ids=BAD_KERNELS.keys())
def test_the_check_of_kernels_finds_bad_ones(kernel: Kernel, what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        check_kernel(kernel, PIECES[0])


def test_the_check_of_kernels_lets_rows_depend_on_the_batch_where_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("beam_etl.testing._run_elsewhere", run_once)  # the other process is tested above
    check_kernel(sum_amounts, PIECES[0], row_wise=False)
    with pytest.raises(AssertionError, match="batches of 1 rows"):
        check_kernel(sum_amounts, PIECES[0])


def narrow_sums(batch: pa.RecordBatch) -> pa.RecordBatch:
    return sum_amounts(batch).cast(pa.schema([("shop", pa.string()), ("amount", pa.float32())]))


def test_the_check_of_merge_kernels_knows_nan_and_types() -> None:
    parts = [pa.record_batch({"shop": ["a"], "amount": [value]}) for value in (float("nan"), 1.0, 2.0)]
    check_merge(sum_amounts, parts)
    with pytest.raises(AssertionError, match="merge gives other columns.*double.*float"):
        check_merge(narrow_sums, parts)


def test_sorted_rows_do_not_depend_on_order() -> None:
    assert sorted_rows(PIECES[0]) == sorted_rows(PIECES[0].take(pa.array(range(499, -1, -1))))
