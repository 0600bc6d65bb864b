"""What is held back until there is enough of it: by a bundle, window by window, and before rows are combined."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import BoundedWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl.kernels.byte_size import byte_size
from beam_etl.transforms.batches import merge_batches
from beam_etl.transforms.metrics import StepMetrics

Merge: TypeAlias = Callable[[pa.RecordBatch], pa.RecordBatch]
"""A merge kernel: combines rows of equal key. Associative and commutative (`beam_etl.testing.check_merge` tests it)."""

ROW_BYTES = 64
"""Counted for each row besides its bytes, so that rows without bytes are bounded as well."""

PENDING_BYTES = 16 << 20
"""Rows that wait before they are combined. Larger saves little: merge kernels are linear."""


def combine_all(
    batches: Iterable[pa.RecordBatch], merge: Merge, finish: Merge | None = None
) -> Iterator[pa.RecordBatch]:
    """All rows combined, in one pass and bounded memory.

    Waits for as many bytes as were left by the last merge, and at least PENDING_BYTES, before it merges again: so the
    work stays linear where most keys are distinct, and memory is about three times the result.

    Args:
      batches: any number, in any order.
      merge: a merge kernel.
      finish: a kernel over the combined rows.

    Returns:
      One batch, of any size; none for no rows.
    """
    waiting: list[pa.RecordBatch] = []
    size = bound = 0
    for batch in batches:
        waiting.append(batch)
        size += byte_size(batch)
        if size > max(PENDING_BYTES, bound):
            waiting = [merge(merge_batches(waiting))]
            size = waiting[0].nbytes
            bound = 2 * size
    if waiting:
        combined = merge(merge_batches(waiting))
        yield combined if finish is None else finish(combined)


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
        size = byte_size(batch) + ROW_BYTES * batch.num_rows
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
