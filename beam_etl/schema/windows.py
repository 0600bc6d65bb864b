"""Windows of time, and what stands on rows of a stream on their way to the sink."""

import pyarrow as pa

from beam_etl.schema.documents import UTC_TIME

WINDOW_START = "window_start"
WINDOW_END = "window_end"
WINDOW = pa.schema(
    [pa.field(WINDOW_START, UTC_TIME, nullable=False), pa.field(WINDOW_END, UTC_TIME, nullable=False)]
)
"""The window that a row of a result belongs to: from its start, up to its end, which is the next one's."""

ON_TIME, LATE, TOO_LATE = "on_time", "late", "too_late"
ARRIVALS = pa.schema(
    [*WINDOW, *(pa.field(name, pa.int64(), nullable=False) for name in (ON_TIME, LATE, TOO_LATE))]
)
"""How many of a window's rows came before its end by their clock, after it, and too late. A window has several rows, to
be added up."""

CLOCK = "beam_etl.clock"
"""timestamp[us, UTC], only between a stream's source and its windows: the clock of the row's split before the row."""
PARTITION = "beam_etl.partition"
"""int64, only up to the sink: the partition of the shuffle that an accumulating result comes from."""
PANE = "beam_etl.pane"
TIMING = "beam_etl.timing"
FIRING = pa.schema(
    [pa.field(PANE, pa.int64(), nullable=False), pa.field(TIMING, pa.string(), nullable=False)]
)
"""Only up to the sink: which firing of its window and partition a row is of, from 0, and whether that was early, on
time or late."""
