"""What a bundle holds back, window by window, until there is enough of it to be worth sending."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import BoundedWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl.transforms.metrics import StepMetrics

ROW_BYTES = 64
"""Counted for each row besides its bytes, so that rows without bytes are bounded as well."""


class _Gathered:
    """The batches of one window in this bundle, their bytes, and their smallest timestamp."""

    def __init__(self, timestamp: Timestamp) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.size = 0
        self.timestamp = timestamp


class GatherBatches(beam.DoFn):
    """Gathers a bundle's batches by window and gives them to `release`, which a subclass writes.

    The fullest window is released when all windows together hold more than `bound` bytes, every window when the
    bundle ends. What is released carries the smallest timestamp of its batches, so that no watermark passes it. The
    time of `release` is counted.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._metrics = StepMetrics()

    def release(self, batches: list[pa.RecordBatch]) -> Iterable[Any]:
        """The elements that stand for these batches of one window; a TaggedOutput goes to its output."""
        raise NotImplementedError

    def start_bundle(self) -> None:
        self._windows: dict[BoundedWindow, _Gathered] = {}
        self._size = 0

    def process(
        self,
        batch: pa.RecordBatch,
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        window: BoundedWindow = beam.DoFn.WindowParam,
    ) -> Iterator[Any]:
        self._metrics.took_in(batch)
        gathered = self._windows.get(window)
        if gathered is None:
            gathered = self._windows[window] = _Gathered(timestamp)
        size = batch.nbytes + ROW_BYTES * batch.num_rows
        gathered.batches.append(batch)
        gathered.size += size
        gathered.timestamp = min(gathered.timestamp, timestamp)
        self._size += size
        while self._size > self._bound:
            yield from self._send(max(self._windows, key=lambda held: self._windows[held].size))

    def finish_bundle(self) -> Iterator[Any]:
        for window in sorted(self._windows, key=lambda held: held.max_timestamp()):
            yield from self._send(window)

    def _send(self, window: BoundedWindow) -> Iterator[Any]:
        gathered = self._windows.pop(window)
        self._size -= gathered.size
        for out in self._metrics.timed(iter(self.release(gathered.batches))):
            if isinstance(out, beam.pvalue.TaggedOutput):
                value = WindowedValue(out.value, gathered.timestamp, (window,))
                yield beam.pvalue.TaggedOutput(out.tag, value)
            else:
                yield WindowedValue(out, gathered.timestamp, (window,))
