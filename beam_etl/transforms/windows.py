"""Windows: batches cut so that their rows share them, too-late rows as rejects, and a result's window as columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.transforms import trigger
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.window import FixedWindows, GlobalWindows, IntervalWindow, SlidingWindows
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration, Timestamp
from apache_beam.utils.windowed_value import PaneInfo, PaneInfoTiming, WindowedValue

from beam_etl import schema
from beam_etl.kernels.disorder import disorder_counts
from beam_etl.kernels.partition import split_by_number
from beam_etl.kernels.rejecting import reject_documents
from beam_etl.kernels.windows import (
    ACCUMULATING,
    FIRST_TIME,
    FIXED,
    LAST_TIME,
    NO_CLOCK,
    SECOND,
    Cut,
    Firing,
    WindowSpec,
    arrivals,
    as_microseconds,
    clocks,
    cut_by_window,
    split_unusable,
    too_late,
)
from beam_etl.transforms.batches import Batches, merge_batches, split_batch
from beam_etl.transforms.documents import REJECTS
from beam_etl.transforms.metrics import RECORDS_REJECTED, StepMetrics

ARRIVALS = "arrivals"
"""Tag of output."""

STAGE = "windows"
"""What rejects have in the column `stage`."""

ON_TIME, LATE, TOO_LATE = "rows_on_time", "rows_late", "rows_too_late"
"""Counters of rows, in each window that they are in: before its end by the clock, after it, after the lateness."""

TIMINGS = {
    PaneInfoTiming.EARLY: "early",
    PaneInfoTiming.ON_TIME: "on time",
    PaneInfoTiming.LATE: "late",
    PaneInfoTiming.UNKNOWN: "unknown",
}
"""schema.TIMING; unknown where nothing was grouped."""


class WindowedDocuments(NamedTuple):
    """What AssignWindows gives."""

    documents: Batches
    """In their windows, without schema.CLOCK."""
    rejects: Batches
    """schema.REJECT: a row for each window that a document came too late for, and documents without a usable time."""
    arrivals: Batches | None = None
    """schema.ARRIVALS, in windows as rejects are; None where nobody has a clock."""


@dataclass(eq=False, kw_only=True)
class AssignWindows(beam.PTransform):
    """Batches cut so that their rows share their windows; what comes too late is rejected here. No shuffle.

    Lateness is judged by schema.CLOCK alone, which the source wrote: a runner drops late rows without a trace, and
    never one that passes here, since its watermark is at no time ahead of a clock. Without that column, as in batch,
    nothing is too late. Of sliding windows a row goes to those that are still open and is a reject of each other one:
    rows times windows are what goes on and what is rejected.

    Input: batches of documents with `time`, in the global window. Output: WindowedDocuments. A batch has its smallest
    time as timestamp; rejects have their clock, and lie in the newest window that it is in. A bounded input is grouped
    once a window, whatever the firings.

    Args:
      spec: the windows.
      max_disorder: microseconds that the source takes off its largest time for its clock: to count how far behind the
        largest one rows were.
    """

    spec: WindowSpec
    max_disorder: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, batches: Batches) -> WindowedDocuments:
        assign = IntoWindows(_Assign(self.spec, self.max_disorder), self.spec, batches.is_bounded)
        out = batches | "Assign" >> assign.with_output_types(
            pa.RecordBatch, **{REJECTS: pa.RecordBatch, ARRIVALS: pa.RecordBatch}
        ).with_outputs(REJECTS, ARRIVALS, main="batches")
        return WindowedDocuments(out.batches, out[REJECTS], out[ARRIVALS])


@dataclass(eq=False, kw_only=True)
class WindowRejects(beam.PTransform):
    """Rejects of the source in the newest window of their timestamp, to be flattened with AssignWindows'. No shuffle.

    Input: batches of schema.REJECT, a stream's stamped with the clock of their split. Output: the same.
    """

    spec: WindowSpec

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, rejects: Batches) -> Batches:
        assign = IntoWindows(_InNewestWindow(self.spec), self.spec, rejects.is_bounded)
        return rejects | "Assign" >> assign.with_output_types(pa.RecordBatch)


@dataclass(eq=False, kw_only=True)
class AddWindows(beam.PTransform):
    """Each batch with the window that it is in, as first columns (schema.WINDOW). No shuffle.

    Args:
      firings: schema.FIRING is added as well, at the end: which pane of its window it is of.
    """

    firings: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, batches: Batches) -> Batches:
        return batches | "Add" >> beam.ParDo(_AddWindows(self.firings)).with_output_types(pa.RecordBatch)


@dataclass(eq=False, kw_only=True)
class LeaveWindows(beam.PTransform):
    """Everything in the global window: for what publishes a batch run's tables as a whole. No shuffle."""

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # batches, or reasons against publishing them
    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[Any]:
        into = beam.WindowInto(GlobalWindows())
        return elements | "Into global" >> into.with_output_types(elements.element_type)


def windowing(spec: WindowSpec, bounded: bool) -> Windowing:
    """Beam's windowing strategy of a spec. Of bounded input each window is one pane, which accumulates nothing."""
    if bounded:
        return Windowing(beam_windows(spec))
    keeps = spec.accumulation == ACCUMULATING
    return Windowing(
        beam_windows(spec),
        triggerfn=beam_trigger(spec),
        accumulation_mode=trigger.AccumulationMode.ACCUMULATING
        if keeps
        else trigger.AccumulationMode.DISCARDING,
        allowed_lateness=Duration(micros=spec.allowed_lateness),
    )


def beam_windows(spec: WindowSpec) -> FixedWindows | SlidingWindows:
    """Beam's windows of a spec."""
    size, offset = Duration(micros=spec.size), Timestamp(micros=spec.offset)
    if spec.kind == FIXED:
        return FixedWindows(size, offset)
    return SlidingWindows(size, Duration(micros=spec.period), offset)


def beam_trigger(spec: WindowSpec) -> trigger.TriggerFn:
    """When a stream's windows give out panes."""
    if spec.early_firing is None and spec.late_firing is None and not spec.allowed_lateness:
        return trigger.DefaultTrigger()
    late = spec.late_firing or Firing(count=1)
    return trigger.AfterWatermark(
        early=None if spec.early_firing is None else _firing(spec.early_firing), late=_firing(late)
    )


def accumulates(elements: beam.PCollection[Any]) -> bool:
    """Whether panes hold again what earlier ones of their window held: to group them again would count that twice."""
    return bool(elements.windowing.accumulation_mode == trigger.AccumulationMode.ACCUMULATING)


class IntoWindows(beam.ParDo):
    """A ParDo whose elements are WindowedValues in the windows of a spec, as a WindowInto would make them.

    WindowInto would ask only for an element's timestamp; here rows leave out the windows that are closed for them.
    """

    def __init__(self, work: beam.DoFn, spec: WindowSpec, bounded: bool) -> None:
        super().__init__(work)
        self._into = windowing(spec, bounded)

    def get_windowing(self, inputs: Any) -> Windowing:
        """That of what goes out."""
        del inputs
        return self._into


def beam_window(spec: WindowSpec, number: int) -> IntervalWindow:
    """Window `number` as Beam's."""
    start, end = spec.bounds(number)
    return IntervalWindow(Timestamp(micros=start), Timestamp(micros=end))


def _firing(firing: Firing) -> trigger.TriggerFn:
    if firing.count is not None:
        return trigger.AfterCount(firing.count)
    assert firing.every is not None
    return trigger.AfterProcessingTime(-(-firing.every // SECOND))  # an engine is told of whole seconds only


class _Assign(beam.DoFn):
    def __init__(self, spec: WindowSpec, max_disorder: int) -> None:
        self._spec = spec
        self._max_disorder = max_disorder
        self._metrics = StepMetrics()

    def process(
        self, batch: pa.RecordBatch, timestamp: Timestamp = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        self._metrics.took_in(batch)
        yield from self._metrics.timed(self._outputs(batch, timestamp))

    def _outputs(self, batch: pa.RecordBatch, timestamp: Timestamp) -> Iterator[Any]:
        batch, unusable, reasons = split_unusable(batch)
        if reasons:
            yield from self._reject(unusable, reasons, timestamp)
        if schema.CLOCK in batch.schema.names:
            for name, count in disorder_counts(batch, self._max_disorder).items():
                self._metrics.add(name, count)
        cuts = list(cut_by_window(batch, self._spec))
        for cut in cuts:
            yield from self._place(cut, timestamp)
        if cuts and schema.CLOCK in batch.schema.names:
            yield self._count(batch, cuts, timestamp)

    def _place(self, cut: Cut, timestamp: Timestamp) -> Iterator[Any]:
        rows, windows = cut.rows, [beam_window(self._spec, number) for number in cut.open_windows()]
        if schema.CLOCK in rows.schema.names:
            for number in cut.closed_windows():
                yield from self._reject(rows, too_late(cut, number, self._spec), timestamp)
            rows = rows.drop_columns([schema.CLOCK])
        if windows:
            for part in split_batch(rows):
                self._metrics.gave_out(part)
                yield WindowedValue(part, smallest_time(part), tuple(windows))

    def _count(self, batch: pa.RecordBatch, cuts: list[Cut], timestamp: Timestamp) -> Any:
        """What came for each window: in the newest one that the clock before the batch is in, so never late itself."""
        told = merge_batches([arrivals(cut, self._spec) for cut in cuts])
        for counter, name in ((ON_TIME, schema.ON_TIME), (LATE, schema.LATE), (TOO_LATE, schema.TOO_LATE)):
            self._metrics.add(counter, pc.sum(told.column(name)).as_py())
        clock = int(clocks(batch).min())
        time = after_all(timestamp) if clock == NO_CLOCK else max(clock, FIRST_TIME)
        window = (beam_window(self._spec, self._spec.newest(time)),)
        return beam.pvalue.TaggedOutput(ARRIVALS, WindowedValue(told, Timestamp(micros=time), window))

    def _reject(
        self, rows: pa.RecordBatch, reasons: Mapping[int, str], timestamp: Timestamp
    ) -> Iterator[Any]:
        """Each row at its own clock."""
        self._metrics.add(RECORDS_REJECTED, rows.num_rows)
        rejects = reject_documents(rows, reasons, STAGE)
        fallback = after_all(timestamp)
        clock = np.full(rows.num_rows, fallback)
        if schema.CLOCK in rows.schema.names:
            told = clocks(rows)
            clock = np.where(told == NO_CLOCK, fallback, np.maximum(told, FIRST_TIME))
        numbers, which = np.unique(self._spec.newest(clock), return_inverse=True)
        for place, some in split_by_number(rejects, which.astype(np.uint32)):
            first = Timestamp(micros=int(clock[which == place].min()))
            window = (beam_window(self._spec, int(numbers[place])),)
            for part in split_batch(some):
                yield beam.pvalue.TaggedOutput(REJECTS, WindowedValue(part, first, window))


class _InNewestWindow(beam.DoFn):
    def __init__(self, spec: WindowSpec) -> None:
        self._spec = spec

    def process(
        self, batch: pa.RecordBatch, timestamp: Timestamp = beam.DoFn.TimestampParam
    ) -> Iterator[WindowedValue]:
        time = after_all(timestamp)
        window = beam_window(self._spec, self._spec.newest(time))
        yield WindowedValue(batch, Timestamp(micros=time), (window,))


def smallest_time(batch: pa.RecordBatch) -> Timestamp:
    """The timestamp of a batch, none of whose times is null."""
    return Timestamp(micros=int(as_microseconds(batch.column(schema.TIME), LAST_TIME).min()))


def after_all(timestamp: Timestamp) -> int:
    """A time that a window can have. What has none, as batch input, or a split before its first time, gets 1970."""
    return 0 if timestamp == MIN_TIMESTAMP else min(max(timestamp.micros, FIRST_TIME), LAST_TIME)


class _AddWindows(beam.DoFn):
    def __init__(self, firings: bool) -> None:
        self._firings = firings

    def process(
        self,
        batch: pa.RecordBatch,
        window: IntervalWindow = beam.DoFn.WindowParam,
        pane: PaneInfo = beam.DoFn.PaneInfoParam,
    ) -> Iterator[pa.RecordBatch]:
        told = (window.start.micros, window.end.micros)
        fields = list(zip(schema.WINDOW, told, strict=True))
        after = (
            list(zip(schema.FIRING, (pane.index, TIMINGS[pane.timing]), strict=True)) if self._firings else []
        )
        columns = [
            pa.repeat(pa.scalar(value, field.type), batch.num_rows) for field, value in [*fields, *after]
        ]
        named = pa.schema(
            [*schema.WINDOW, *batch.schema, *(field for field, _ in after)], batch.schema.metadata
        )
        yield pa.record_batch([*columns[:2], *batch.columns, *columns[2:]], schema=named)
