"""What each partition of a shuffle was: rows, bytes and the key that has most of it, as Beam metrics."""

from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa

from beam_etl.kernels.hot_keys import KeySample
from beam_etl.transforms.clock import Stopwatch
from beam_etl.transforms.metrics import (
    DECODE_MICROSECONDS,
    HOT_BY_BYTES,
    HOT_BY_ROWS,
    MICROSECONDS,
    PARTITIONS,
    StepMetrics,
)

SIZES = "Sizes"
"""The step behind a grouping that counts, under the shuffle's label."""


class MeasurePartitions(beam.DoFn):
    """Passes partitions on, and counts each when what follows has read it: nothing is held or read for it.

    Of a bundle only the keys of its largest partitions are named: one by rows, one by bytes.

    Args:
      by: the shuffle's key columns.
      partitions: how many the shuffle has; None where each is sure to be seen.
    """

    def __init__(self, by: tuple[str, ...], partitions: int | None) -> None:
        self._by = by
        self._partitions = partitions
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._by_rows: KeySample | None = None
        self._by_bytes: KeySample | None = None

    def process(
        self, partition: tuple[int, Iterable[pa.RecordBatch]]
    ) -> Iterator[tuple[int, Iterable[pa.RecordBatch]]]:
        sample = KeySample(self._by)
        measured = _Measured(partition[1], sample)
        yield partition[0], measured
        self._metrics.saw_partition(sample.rows, sample.bytes)  # what follows has read it by now
        self._metrics.add(DECODE_MICROSECONDS, measured.decoding // 1000)
        self._metrics.add(MICROSECONDS, measured.looking // 1000)
        if self._by_rows is None or sample.rows > self._by_rows.rows:
            self._by_rows = sample
        if self._by_bytes is None or sample.bytes > self._by_bytes.bytes:
            self._by_bytes = sample

    def finish_bundle(self) -> None:
        if self._partitions is not None:
            self._metrics.observe(PARTITIONS, self._partitions)
        with self._metrics.timing():
            hottest = (
                (HOT_BY_ROWS, self._by_rows and self._by_rows.hottest_by_rows()),
                (HOT_BY_BYTES, self._by_bytes and self._by_bytes.hottest_by_bytes()),
            )
        for namespace, found in hottest:
            if found:
                self._metrics.saw_hot_key(namespace, *found)


class _Measured:
    """The batches of a partition, measured when they are first read.

    Attributes:
      decoding: nanoseconds of fetching and decoding them, each time that they were read.
      looking: nanoseconds of measuring them.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], sample: KeySample) -> None:
        self._batches = batches
        self._sample: KeySample | None = sample
        self.decoding = self.looking = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        sample, self._sample = self._sample, None
        batches = iter(self._batches)
        while True:
            watch = Stopwatch()
            batch = next(batches, None)
            self.decoding += watch.stop()
            if batch is None:
                return
            if sample is not None:
                watch = Stopwatch()
                sample.add(batch)
                self.looking += watch.stop()
            yield batch
