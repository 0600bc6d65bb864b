"""What every step counts of itself, in one place: rows and bytes in and out, and the time."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.metrics.metric import MetricResults

from beam_etl.kernels.byte_size import byte_size
from beam_etl.transforms.clock import Stopwatch

NAMESPACE = "beam_etl"
ROWS_IN, ROWS_OUT, BYTES_IN, BYTES_OUT = "rows_in", "rows_out", "bytes_in", "bytes_out"
BYTES_READ, FILES_READ = "bytes_read", "files_read"
BYTES_READ_AGAIN = "bytes_read_again"
"""Stored bytes of splits that a second read is done with."""
ROWS_READ, RECORDS_REJECTED = "rows_read", "records_rejected"
"""Of reading: stored bytes and files that are done, documents passed on, records rejected."""
BYTES_SKIPPED = "bytes_skipped"
"""Stored bytes that a condition on rows spared, by what the file tells of them."""
READ_APART, READS_RETRIED, WRITES_RETRIED = "read_apart", "reads_retried", "writes_retried"
"""Transient errors of reading, after which it was tried again."""
REQUESTS_RETRIED = "requests_retried"
"""Requests to an object store that were made again."""
ELEMENTS_OUT, BYTES_CROSSED = "elements_out", "bytes_crossed"
"""Slices that cross a shuffle, and their bytes before they are encoded."""
UNPUBLISHED = "unpublished"
"""Datasets that a run decided not to publish."""
PARTITION_ROWS, PARTITION_BYTES = "partition_rows", "partition_bytes"
"""Distributions over the partitions that had rows."""
PARTITIONS = "partitions"
"""A distribution, each of whose values is how many there are, empty ones too; none where only those with rows count."""
HOT_BY_ROWS, HOT_BY_BYTES = f"{NAMESPACE}.hot_key_rows", f"{NAMESPACE}.hot_key_bytes"
"""Namespaces of distributions that are named by a key: about how many rows or bytes of it one partition had."""
MICROSECONDS = "microseconds"
"""Time inside the step's own code. Beam's counters are integers, so seconds travel as microseconds."""
ENCODE_MICROSECONDS, DECODE_MICROSECONDS = "encode_microseconds", "decode_microseconds"
"""Of a shuffle, beside that: encoding what is sent, and fetching and decoding what has come."""

Item = TypeVar("Item")

_live: Counter[str] = Counter()
_added: Counter[str] = Counter()
_lock = threading.Lock()


class StepMetrics:
    """The counters of one step, as Beam metrics of the namespace `beam_etl` under the step's name.

    Beam reports counters when a bundle ends, so what a person watches is counted in this process as well (`live`).
    """

    def __init__(self) -> None:
        self._counters: dict[str, Any] = {}
        self._distributions: dict[str, Any] = {}

    def add(self, name: str, value: int) -> None:
        """Adds `value` to the counter `name` of this step."""
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = Metrics.counter(NAMESPACE, name)
        counter.inc(value)
        with _lock:
            _added[name] += value

    def observe(self, name: str, value: int) -> None:
        """Adds `value` to the values whose number, sum, minimum and maximum are kept under `name`."""
        distribution = self._distributions.get(name)
        if distribution is None:
            distribution = self._distributions[name] = Metrics.distribution(NAMESPACE, name)
        distribution.update(value)

    def saw_partition(self, rows: int, size: int) -> None:
        """Counts a partition, once it is read."""
        self.observe(PARTITION_ROWS, rows)
        self.observe(PARTITION_BYTES, size)

    def saw_hot_key(self, namespace: str, key: str, value: int) -> None:
        """Names the key of a large partition: a metric of its own, so only of the largest in sight.

        Args:
          namespace: HOT_BY_ROWS or HOT_BY_BYTES.
          key: in words.
          value: about how many rows or bytes the partition has of it.
        """
        Metrics.distribution(namespace, key).update(value)

    def took_in(self, batch: pa.RecordBatch) -> None:
        """Counts a batch that came in."""
        self.add(ROWS_IN, batch.num_rows)
        self.add(BYTES_IN, byte_size(batch))

    def gave_out(self, batch: pa.RecordBatch) -> None:
        """Counts a batch that went out."""
        self.add(ROWS_OUT, batch.num_rows)
        self.add(BYTES_OUT, byte_size(batch))

    def timed(self, items: Iterator[Item]) -> Iterator[Item]:
        """The same items; the time spent making them is counted, the time spent on them downstream is not.

        Nor is what others count while they are made: the time of iterating over a partition, for one.
        """
        spent, done = 0, object()
        try:
            while True:
                watch = Stopwatch()
                item = next(items, done)
                spent += watch.stop()
                if item is done:
                    return
                yield item  # type: ignore[misc]
        finally:
            self.add(MICROSECONDS, spent // 1000)

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Counts the time inside. Nothing may be yielded from there: what is done with it would count as well."""
        watch = Stopwatch()
        yield
        self.add(MICROSECONDS, watch.stop() // 1000)


def totals(metrics: MetricResults) -> dict[str, int]:
    """Our counters over all steps of a run that ended; none where the engine doesn't tell."""
    found: Counter[str] = Counter()
    for counter in metrics.query(MetricsFilter().with_namespace(NAMESPACE))["counters"]:
        found[counter.key.metric.name] += counter.result
    return dict(found)


def added() -> dict[str, int]:
    """Our counters over all steps in this process so far, with bundles that were tried again.

    For BundleBasedDirectRunner, which tells of each counter what its first bundle added.
    """
    with _lock:
        return dict(_added)


def count_live(name: str, value: int) -> None:
    """Adds to a total of this process, for a progress display. Not a result: a retried bundle counts twice."""
    with _lock:
        _live[name] += value


def live(name: str) -> int:
    """The total of this process so far."""
    return _live[name]


def reset_live() -> None:
    """Forgets the totals: a new job starts in this process."""
    with _lock:
        _live.clear()
        _added.clear()
