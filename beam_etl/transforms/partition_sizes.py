"""What each partition of a shuffle was: rows, bytes and the key that has most of it, as Beam metrics."""

from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from beam_etl.kernels.hot_keys import KeySample
from beam_etl.transforms.metrics import NAMESPACE, StepMetrics

SIZES = "Sizes"
"""The step behind a grouping that counts, under the shuffle's label."""

PARTITION_ROWS, PARTITION_BYTES = "partition_rows", "partition_bytes"
"""Distributions over the partitions that had rows."""
PARTITIONS = "partitions"
"""A distribution, each of whose values is how many there are, empty ones too; none where only those with rows count."""

HOT_BY_ROWS, HOT_BY_BYTES = f"{NAMESPACE}.hot_key_rows", f"{NAMESPACE}.hot_key_bytes"
"""Namespaces of distributions that are named by a key: about how many rows or bytes of it one partition had."""


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
        yield partition[0], _Measured(partition[1], sample)
        self._metrics.observe(PARTITION_ROWS, sample.rows)  # the steps behind this one have read it by now
        self._metrics.observe(PARTITION_BYTES, sample.bytes)
        if self._by_rows is None or sample.rows > self._by_rows.rows:
            self._by_rows = sample
        if self._by_bytes is None or sample.bytes > self._by_bytes.bytes:
            self._by_bytes = sample

    def finish_bundle(self) -> None:
        if self._partitions is not None:
            self._metrics.observe(PARTITIONS, self._partitions)
        hottest = (
            (HOT_BY_ROWS, self._by_rows and self._by_rows.hottest_by_rows()),
            (HOT_BY_BYTES, self._by_bytes and self._by_bytes.hottest_by_bytes()),
        )
        for namespace, found in hottest:
            if found:
                Metrics.distribution(namespace, found[0]).update(found[1])


class _Measured:
    """The batches of a partition, measured when they are first read."""

    def __init__(self, batches: Iterable[pa.RecordBatch], sample: KeySample) -> None:
        self._batches = batches
        self._sample: KeySample | None = sample

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        sample, self._sample = self._sample, None
        if sample is None:
            return iter(self._batches)
        return self._read(sample)

    def _read(self, sample: KeySample) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            sample.add(batch)
            yield batch
