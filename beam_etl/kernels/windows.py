"""Windows of event time: which rows are in which, and which rows come too late for them.

All times are int64 microseconds since 1970 in UTC, all durations microseconds. A window is named by a number: window n
starts at `offset + n * period` and ends `size` later.
"""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl import schema

Times = npt.NDArray[np.int64]
Time = TypeVar("Time", int, Times)

FIXED, SLIDING = "fixed", "sliding"
ACCUMULATING, DISCARDING = "accumulating", "discarding"
MILLISECOND = 1000
SECOND = 1000 * MILLISECOND

FIRST_TIME = int(datetime.datetime(1000, 1, 1, tzinfo=datetime.timezone.utc).timestamp()) * SECOND
LAST_TIME = int(datetime.datetime(9000, 1, 1, tzinfo=datetime.timezone.utc).timestamp()) * SECOND
"""Times outside are no document's: mostly seconds that were read as milliseconds, or the reverse."""

MAX_SIZE = 3660 * 86_400 * SECOND
"""Ten years: windows end where every engine can still tell a time."""

NO_CLOCK = FIRST_TIME - 2 * MAX_SIZE
"""A clock that closes no window of a usable time."""

MAX_WINDOWS = 1000
"""Sliding windows that a row may be in: each batch names all of its own."""


@dataclass(frozen=True, kw_only=True)
class Firing:
    """When a window gives out a pane before or after its end: exactly one of the two."""

    every: int | None = None
    """So long after the first element that no pane has, in microseconds of processing time."""
    count: int | None = None
    """Whenever a partition has so many more elements: slices, each what one bundle sends to it."""

    def __post_init__(self) -> None:
        if (self.every is None) == (self.count is None) or (self.every or self.count or 0) < 1:
            raise ValueError(f"a pane is given out after a time or after a count, at least 1, got {self!r}")


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """The windows of a pipeline, and when their panes are given out.

    Args:
      kind: FIXED or SLIDING.
      size: of a window.
      period: from one window's start to the next one's; of fixed windows their size.
      offset: windows start at multiples of `period` and this much later.
      allowed_lateness: rows are taken until the clock is so far behind their window's end.
      early_firing, late_firing: panes besides the one on time; without late_firing, each late slice gives one.
      accumulation: a pane holds all of its window so far (ACCUMULATING), or what no pane held before (DISCARDING).

    Raises:
      ValueError: a duration is out of range or no whole number of milliseconds, which engines count in; gaps between
        windows; no such kind.
    """

    kind: str = FIXED
    size: int
    period: int
    offset: int = 0
    allowed_lateness: int = 0
    early_firing: Firing | None = None
    late_firing: Firing | None = None
    accumulation: str = ACCUMULATING

    def __post_init__(self) -> None:
        durations = (self.size, self.period, self.offset, self.allowed_lateness)
        if any(duration % MILLISECOND for duration in durations):
            raise ValueError(
                f"engines count in milliseconds: size, period, offset and lateness need whole ones, got {durations} us"
            )
        if not 0 < self.period <= self.size <= min(MAX_SIZE, MAX_WINDOWS * self.period):
            raise ValueError(
                f"a window is at least as long as its period, at most {MAX_WINDOWS} periods and at most ten years, "
                f"got size {format_duration(self.size)} and period {format_duration(self.period)}"
            )
        if self.kind not in (FIXED, SLIDING) or (self.kind == FIXED and self.period != self.size):
            raise ValueError(f"windows are {FIXED}, a period each, or {SLIDING}, got {self!r}")
        if not 0 <= self.allowed_lateness <= MAX_SIZE:
            raise ValueError(f"allowed lateness is 0 to ten years, got {self.allowed_lateness} us")
        if self.accumulation not in (ACCUMULATING, DISCARDING):
            raise ValueError(f"panes are {ACCUMULATING} or {DISCARDING}, got {self.accumulation!r}")
        object.__setattr__(self, "offset", self.offset % self.period)

    def bounds(self, number: int) -> tuple[int, int]:
        """Start and end of window `number`."""
        start = self.offset + number * self.period
        return start, start + self.size

    def newest(self, time: Time) -> Time:
        """The number of the last window that holds `time`, or of each of several."""
        return (time - self.offset) // self.period


class Cut(NamedTuple):
    """Rows of one batch that share their windows."""

    rows: pa.RecordBatch
    """In their order, with all columns."""
    first: int
    """Number of the first window that they are in."""
    open: int
    """Number of the first one that they don't come too late for: `last + 1` where there is none."""
    last: int
    """Number of the last window that they are in."""

    def open_windows(self) -> range:
        """Those that take the rows."""
        return range(self.open, self.last + 1)

    def closed_windows(self) -> range:
        """Those that the rows come too late for."""
        return range(self.first, self.open)


def usable_times(times: pa.Array) -> npt.NDArray[np.bool_]:
    """Which rows have a time that a document can have: not null, in the years 1000 to 8999. bool[rows]."""
    values = as_microseconds(times, FIRST_TIME - 1)
    return (values >= FIRST_TIME) & (values < LAST_TIME)


def as_microseconds(times: pa.Array, null: int) -> Times:
    """timestamp[us, UTC] as int64[rows], nulls as `null`."""
    return np.asarray(times.cast(pa.int64()).fill_null(null).to_numpy(zero_copy_only=False), np.int64)


def clocks(batch: pa.RecordBatch) -> Times:
    """schema.CLOCK as int64[rows], in the bounds of usable times; null, before a split's first time, is below them."""
    return np.clip(as_microseconds(batch.column(schema.CLOCK), NO_CLOCK), NO_CLOCK, LAST_TIME)


def window_numbers(times: Times, spec: WindowSpec) -> tuple[Times, Times]:
    """The first and the last window of each time: int64[rows] both, equal for fixed windows."""
    last = (times - spec.offset) // spec.period
    first = (times - spec.size - spec.offset) // spec.period + 1
    return first, last


def judge_lateness(first: Times, last: Times, clock: Times, spec: WindowSpec) -> Times:
    """Where lateness is judged: the first window of each row that it isn't too late for.

    A window is closed for a row when its end and the allowed lateness are at or below the row's clock.

    Args:
      first, last: int64[rows], as of `window_numbers`.
      clock: int64[rows], as of `clocks`.
      spec: the windows.

    Returns:
      int64[rows], from `first` to `last + 1`, which means that all are closed.
    """
    closed = (clock - spec.allowed_lateness - spec.size - spec.offset) // spec.period
    return np.clip(closed + 1, first, last + 1)


def cut_by_window(batch: pa.RecordBatch, spec: WindowSpec) -> Iterator[Cut]:
    """A batch cut so that the rows of each part share their windows, and which of them are open.

    Args:
      batch: rows with a usable `time`. Where it has schema.CLOCK, lateness is judged by that, and a null clock closes
        nothing; without, nothing is too late.
      spec: the windows.

    Returns:
      One Cut for all rows of the same windows, in the order of windows. Sliding windows cut by period, and where the
      size isn't a multiple of it, once more in between.
    """
    if batch.num_rows == 0:
        return
    times = as_microseconds(batch.column(schema.TIME), FIRST_TIME)
    first, last = window_numbers(times, spec)
    opens = first
    if schema.CLOCK in batch.schema.names:
        opens = judge_lateness(first, last, clocks(batch), spec)
    order = np.lexsort((opens, first, last))
    keys = np.stack([first, opens, last])[:, order]
    starts = np.flatnonzero(np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)))
    if len(starts) == 1:
        yield Cut(batch, *keys[:, 0].tolist())
        return
    ordered = batch.take(pa.array(order))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), batch.num_rows], strict=True):
        yield Cut(ordered.slice(start, end - start), *keys[:, start].tolist())


def arrivals(cut: Cut, spec: WindowSpec) -> pa.RecordBatch:
    """How many rows of `cut` came before the end of each of their windows, by schema.CLOCK, after it, or too late.

    Returns:
      A row of schema.ARRIVALS for each window.
    """
    numbers, rows = np.arange(cut.first, cut.last + 1), cut.rows.num_rows
    late = np.zeros(len(numbers), np.int64)
    if spec.allowed_lateness:
        opens, last = np.int64(cut.open), np.int64(cut.last)
        ended = judge_lateness(opens, last, clocks(cut.rows) + spec.allowed_lateness, spec)
        late = (ended[:, None] > numbers).sum(axis=0)
    is_open = numbers >= cut.open
    counts = (rows - late, late, rows)
    starts = spec.offset + numbers * spec.period
    columns = [
        *(pa.array(times).cast(schema.UTC_TIME) for times in (starts, starts + spec.size)),
        *(
            pa.array(np.where(which, count, 0))
            for which, count in zip((is_open, is_open, ~is_open), counts, strict=True)
        ),
    ]
    return pa.record_batch(columns, schema=schema.ARRIVALS)


def too_late(cut: Cut, number: int, spec: WindowSpec) -> dict[int, str]:
    """Why each row of `cut` is none of the closed window `number`: its end, and how far the clock was behind it."""
    end = spec.bounds(number)[1]
    told = format_time(end)
    return {
        row: f"too late for the window that ended at {told}, by {late / SECOND:.3f} s"
        for row, late in enumerate((clocks(cut.rows) - end).tolist())
    }


def split_unusable(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch, dict[int, str]]:
    """Rows with a usable `time`, those without, and why each of the latter has none."""
    usable = usable_times(batch.column(schema.TIME))
    if usable.all():
        return batch, batch.slice(0, 0), {}
    unusable = batch.filter(pa.array(~usable))
    return batch.filter(pa.array(usable)), unusable, unusable_times(unusable.column(schema.TIME))


def unusable_times(times: pa.Array) -> dict[int, str]:
    """The rows without a usable time, and why."""
    return {
        row: f"no time in {times[row].cast(pa.int64()).as_py()} us: outside the years 1000 to 8999. "
        f"Does --time_unit fit the data?"
        if times[row].is_valid
        else "null time: no window has it"
        for row in np.flatnonzero(~usable_times(times)).tolist()
    }


def format_time(microseconds: int) -> str:
    """`2026-01-01T00:10:00Z`; with as many digits below the second as there are."""
    return f"{np.datetime64(microseconds, 'us').astype(datetime.datetime).isoformat()}Z"


def format_duration(microseconds: int) -> str:
    """`90m`, in the largest unit that it is a whole number of; `parse_duration` reads it."""
    for unit, size in reversed(UNITS.items()):
        if microseconds % size == 0 and (microseconds or unit == "s"):
            return f"{microseconds // size}{unit}"
    return f"{microseconds}us"


UNITS = {
    "us": 1,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86_400 * SECOND,
}
"""Units of durations as users write them."""
