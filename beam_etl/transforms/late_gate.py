"""GateLateRows: windows for streams that no source of ours reads: lateness is judged by the engine's watermark."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms import trigger
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.window import IntervalWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import Duration, Timestamp
from apache_beam.utils.windowed_value import PaneInfo, PaneInfoTiming, WindowedValue

from beam_etl import schema
from beam_etl.kernels.rejecting import reject_documents
from beam_etl.kernels.windows import (
    FIRST_TIME,
    LAST_TIME,
    WindowSpec,
    cut_by_window,
    format_time,
    split_unusable,
)
from beam_etl.transforms.batches import Batches, split_batch, tagged
from beam_etl.transforms.documents import REJECTS
from beam_etl.transforms.metrics import RECORDS_REJECTED, StepMetrics
from beam_etl.transforms.shuffle import Partition, Shuffle
from beam_etl.transforms.windows import (
    STAGE,
    TOO_LATE,
    IntoWindows,
    WindowedDocuments,
    after_all,
    beam_window,
    beam_windows,
    smallest_time,
)

UNUSABLE = "unusable"
"""Tag of rejects without a usable time."""


@dataclass(eq=False, kw_only=True)
class GateLateRows(beam.PTransform):
    """As AssignWindows, for batches without schema.CLOCK: what the engine would drop is a reject. One shuffle.

    It is of all rows. Nothing in Beam tells a step the watermark, but a grouping tells whether it was before a window's
    end. So rows go through one whose windows end where the spec's stop to take rows, and which takes them for ever:
    what it gives out early is in time, all else is too late. (A timer for each window knows those that it was set for:
    of a first row that comes after all is over it would say so when the row has passed.)

    Input: unbounded batches of documents with `time`, in the global window; a batch's timestamp is its smallest time.
    Output: WindowedDocuments. Of sliding windows each has a copy of its rows. Rejects lie in windows that take rows for
    ever: they must not be grouped in others. Each partition keeps a little state for every window, for good.

    Args:
      spec: the windows.
      partitions: of the shuffle.

    Raises:
      ValueError: the input is bounded: nothing of it is late. Partitions below 1.
    """

    spec: WindowSpec
    partitions: int = 8

    def __post_init__(self) -> None:
        super().__init__()
        if self.partitions < 1:
            raise ValueError(f"partitions must be at least 1, got {self.partitions}")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, batches: Batches) -> WindowedDocuments:
        if batches.is_bounded:
            raise ValueError("nothing of a bounded input is late: use AssignWindows instead of GateLateRows")
        place = _IntoGate(_ByCutoff(self.spec), self.spec).with_output_types(
            pa.RecordBatch, **{UNUSABLE: pa.RecordBatch}
        )
        placed = batches | "By cutoff" >> place.with_outputs(UNUSABLE, main="rows")
        judge = beam.ParDo(_Judge(self.spec)).with_output_types(pa.RecordBatch, **{REJECTS: pa.RecordBatch})
        judged = (
            placed.rows
            | "Gate" >> Shuffle(by=(schema.TIME,), partitions=self.partitions, measured=False)
            | "Judge" >> judge.with_outputs(REJECTS, main="rows")
        )
        back = IntoWindows(_InItsWindow(self.spec), self.spec, bounded=False).with_output_types(
            pa.RecordBatch
        )
        rejects = (placed[UNUSABLE], judged[REJECTS]) | "Rejects" >> beam.Flatten()
        return WindowedDocuments(judged.rows | "Windows" >> back, rejects)


class _IntoGate(IntoWindows):
    """Into windows that end at the cutoff, take rows for ever, and give out each element at once."""

    def __init__(self, work: beam.DoFn, spec: WindowSpec) -> None:
        super().__init__(work, spec, bounded=False)
        self._into = Windowing(
            beam_windows(spec),  # of their kind; each element is given its own
            triggerfn=trigger.Repeatedly(trigger.AfterCount(1)),
            accumulation_mode=trigger.AccumulationMode.DISCARDING,
            allowed_lateness=Duration(micros=LAST_TIME - FIRST_TIME),
        )


class _ByCutoff(beam.DoFn):
    def __init__(self, spec: WindowSpec) -> None:
        self._spec = spec
        self._metrics = StepMetrics()

    def process(
        self, batch: pa.RecordBatch, timestamp: Timestamp = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        self._metrics.took_in(batch)
        yield from self._metrics.timed(self._outputs(batch, timestamp))

    def _outputs(self, batch: pa.RecordBatch, timestamp: Timestamp) -> Iterator[Any]:
        batch, unusable, reasons = split_unusable(batch)
        if reasons:
            rejects = reject_documents(unusable, reasons, STAGE)
            self._metrics.add(RECORDS_REJECTED, unusable.num_rows)
            time = after_all(timestamp)
            for part in split_batch(rejects):
                value = WindowedValue(part, Timestamp(micros=time), (self._window(self._spec.newest(time)),))
                yield beam.pvalue.TaggedOutput(UNUSABLE, value)
        for cut in cut_by_window(batch, self._spec):
            for number in cut.open_windows():
                yield WindowedValue(cut.rows, smallest_time(cut.rows), (self._window(number),))

    def _window(self, number: int) -> IntervalWindow:
        start, end = self._spec.bounds(number)
        return IntervalWindow(Timestamp(micros=start), Timestamp(micros=end + self._spec.allowed_lateness))


class _Judge(beam.DoFn):
    def __init__(self, spec: WindowSpec) -> None:
        self._spec = spec
        self._metrics = StepMetrics()

    def process(
        self,
        partition: Partition,
        window: IntervalWindow = beam.DoFn.WindowParam,
        pane: PaneInfo = beam.DoFn.PaneInfoParam,
    ) -> Iterator[Any]:
        if pane.timing == PaneInfoTiming.EARLY:
            yield from partition[1]
            return
        end = format_time(window.end.micros - self._spec.allowed_lateness)
        reason = f"too late for the window that ended at {end}, by the watermark"
        for batch in partition[1]:
            self._metrics.add(TOO_LATE, batch.num_rows)
            self._metrics.add(RECORDS_REJECTED, batch.num_rows)
            yield from tagged(
                REJECTS, [reject_documents(batch, dict.fromkeys(range(batch.num_rows), reason), STAGE)]
            )


class _InItsWindow(beam.DoFn):
    """From the gate's window into the spec's."""

    def __init__(self, spec: WindowSpec) -> None:
        self._spec = spec

    def process(
        self, batch: pa.RecordBatch, window: IntervalWindow = beam.DoFn.WindowParam
    ) -> Iterator[WindowedValue]:
        number = self._spec.newest(window.start.micros)
        for part in split_batch(batch):
            yield WindowedValue(part, smallest_time(part), (beam_window(self._spec, number),))
