"""The skew that a run tells of is that of its partitions, counted by themselves."""

from collections import Counter
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from beam_etl.kernels import partition
from beam_etl.kernels.partition import hash_partition
from beam_etl.observe.skew import ShuffleSkew
from beam_etl.pipelines.shuffle_skews import shuffle_skews
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.shuffle import Attach, Attachment, Shuffle
from tests.beam import run

ROWS = 40_000
PARTITIONS = 32
DOMAINS = ["hot.example" if n % 10 else f"site{n % 900}.example" for n in range(ROWS)]
TABLE = pa.record_batch({"domain": DOMAINS, "row": pa.array(range(ROWS), pa.int64())})
PIECES = [TABLE.slice(start, 2000) for start in range(0, ROWS, 2000)]
BY_DOMAIN = Shuffle(by=("domain",), partitions=PARTITIONS)


def sizes() -> Counter[int]:
    return Counter(hash_partition(TABLE, ("domain",), PARTITIONS).tolist())


def read_twice(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    assert sum(batch.num_rows for batch in batches) == sum(batch.num_rows for batch in batches)
    yield from batches


def skews_of(pipeline: beam.Pipeline) -> dict[str, ShuffleSkew]:
    result = pipeline.run()
    result.wait_until_finish()
    return {skew.label: skew for skew in shuffle_skews(result.metrics())}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_largest_partition_and_its_hot_key_are_told(workers: int) -> None:
    pipeline = run(f"--direct_num_workers={workers}")
    (pipeline | beam.Create(PIECES) | "Group" >> BY_DOMAIN | "Read" >> MapPartitions(kernel=read_twice))
    found = skews_of(pipeline)["Group"]
    assert (found.partitions, found.rows.total, found.rows.largest) == (
        PARTITIONS,
        ROWS,
        max(sizes().values()),
    )
    assert found.ratio(found.rows) == pytest.approx(max(sizes().values()) / (ROWS / PARTITIONS))
    assert found.bytes.largest > 0.85 * found.bytes.total
    assert found.rows.hot_key == "domain='hot.example'"
    assert found.rows.hot == pytest.approx(ROWS * 0.9, rel=0.2)
    (warning, *_) = found.warnings()
    assert "domain='hot.example'" in warning


def test_an_even_shuffle_names_no_key() -> None:
    pipeline = run()
    (
        pipeline
        | beam.Create(PIECES)
        | "Group" >> Shuffle(by=("row",), partitions=4)
        | MapPartitions(kernel=iter)
    )
    found = skews_of(pipeline)["Group"]
    assert found.ratio(found.rows) < 1.1
    assert (found.rows.hot_key, list(found.warnings())) == (None, [])


def test_of_two_hops_the_partitions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "GATHER_BYTES", 1 << 16)
    shuffle = Shuffle(by=("domain",), partitions=500, expected_bytes=1 << 30)
    assert shuffle.plan.hops == 2
    pipeline = run()
    pipeline | beam.Create(PIECES) | "Group" >> shuffle | MapPartitions(kernel=iter)
    numbers = Counter(hash_partition(TABLE, ("domain",), 500).tolist())
    found = skews_of(pipeline)
    assert list(found) == ["Group"]
    assert (found["Group"].partitions, found["Group"].rows.largest) == (500, max(numbers.values()))


def test_windows_have_partitions_of_their_own() -> None:
    pipeline = run()
    (
        pipeline
        | beam.Create(list(enumerate(PIECES)))
        | beam.MapTuple(lambda second, piece: TimestampedValue(piece, second))
        | beam.WindowInto(FixedWindows(10))
        | "Group" >> BY_DOMAIN
        | MapPartitions(kernel=iter)
    )
    found = skews_of(pipeline)["Group"]
    assert found.rows.total == ROWS
    assert found.rows.largest == max(
        Counter(hash_partition(TABLE.slice(start, ROWS // 2), ("domain",), PARTITIONS).tolist()).most_common(
            1
        )[0][1]
        for start in (0, ROWS // 2)
    )


def split_rows(rows: int, hot: int) -> pa.RecordBatch:
    return pa.record_batch(
        {"split": pa.array(np.where(np.arange(rows) % 5, hot, np.arange(rows) % 50), pa.uint64())}
    )


def test_elements_with_many_rows_are_told() -> None:
    pipeline = run()
    elements = pipeline | "Splits" >> beam.Create([(n, f"split {n}") for n in range(50)]).with_output_types(
        tuple[int, str]
    )
    rows = pipeline | "Rows" >> beam.Create([split_rows(50_000, hot=7)])
    read = beam.Map(len_of)
    Attachment(elements, rows) | "Attach" >> Attach(by=("split",)) | read
    found = skews_of(pipeline)["Attach"]
    assert found.partitions == 50
    assert found.rows.largest == 40_001  # and the element itself
    assert found.rows.hot_key == "split=7"


def len_of(found: tuple[str, Iterable[pa.RecordBatch]]) -> int:
    return sum(batch.num_rows for batch in found[1])
