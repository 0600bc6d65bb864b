"""Streams in tests: batches with clocks and watermarks on a TestStream, and what windows and panes came of them."""

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from beam_etl import schema
from beam_etl.kernels.windows import MILLISECOND, as_microseconds
from beam_etl.transforms.batches import Batches, RecordBatchCoder

MINUTE = 60_000_000
"""In microseconds, as all times and durations here."""

NO_TIME = -(2**62)


class Arrival(NamedTuple):
    """A batch as its split reads it: rows in the order read."""

    batch: pa.RecordBatch
    split: int = 0


class Event(NamedTuple):
    """What a TestStream says next: a batch with its timestamp, a watermark, or both in this order."""

    batch: pa.RecordBatch | None
    watermark: int | None = None
    """None leaves it as it is."""


def documents(times: Sequence[int | None], **columns: Any) -> pa.RecordBatch:
    """Documents with these times, ids `d0`, `d1`, ... where none are given, and other columns."""
    given = {schema.ID: [f"d{row}" for row in range(len(times))], **columns}
    typed = {
        name: pa.array(values, schema.DOCUMENT.field(name).type)
        if name in schema.DOCUMENT.names
        else pa.array(values)
        for name, values in given.items()
    }
    return pa.record_batch({**typed, schema.TIME: pa.array(times, schema.UTC_TIME)})


def cut(batch: pa.RecordBatch, rows: int) -> Iterator[Arrival]:
    """A batch as arrivals of so many rows at most, of one split."""
    for start in range(0, batch.num_rows, rows):
        yield Arrival(batch.slice(start, rows))


def with_clocks(arrivals: Iterable[Arrival], max_disorder: int) -> list[Event]:
    """What a source makes of them: the column schema.CLOCK, and the smallest clock of all splits as watermark.

    A split's clock is its largest time so far without `max_disorder`. Written row by row, apart from the suite's own.
    """
    arrivals = list(arrivals)
    largest: dict[int, int | None] = dict.fromkeys({arrival.split for arrival in arrivals})
    events = []
    for batch, split in arrivals:
        clocks: list[int | None] = []
        for time in batch.column(schema.TIME).cast(pa.int64()).to_pylist():
            seen = largest[split]
            clocks.append(None if seen is None else seen - max_disorder)
            if time is not None:
                largest[split] = time if seen is None else max(seen, time)
        told = batch.append_column(schema.CLOCK, pa.array(clocks, schema.UTC_TIME))
        known = [seen for seen in largest.values() if seen is not None]
        reached = min(known) - max_disorder if len(known) == len(largest) else None
        events.append(Event(told, reached))
    return events


def test_stream(events: Iterable[Event]) -> TestStream:
    """The TestStream that says these events, and then goes to the end of time."""
    stream, reached = TestStream(coder=RecordBatchCoder()), None
    for batch, watermark in events:
        if batch is not None:
            times = as_microseconds(batch.column(schema.TIME), NO_TIME)
            usable = times[times != NO_TIME]
            first = _whole(int(usable.min())) if len(usable) else MIN_TIMESTAMP
            stream.add_elements([TimestampedValue(batch, first)])
        if watermark is not None and (reached is None or watermark > reached):
            reached = watermark
            stream.advance_watermark_to(_whole(watermark))
    stream.advance_watermark_to_infinity()
    return stream


test_stream.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


def _whole(microseconds: int) -> Timestamp:
    """In whole milliseconds, as engines have times and a TestStream wants them, never later."""
    return Timestamp(micros=microseconds // MILLISECOND * MILLISECOND)


def row_stream(events: Iterable[Event]) -> TestStream:
    """The same rows and watermarks with an element a row (a dict), each with its own time, as any pipeline has them."""
    stream, reached = TestStream(), None
    for batch, watermark in events:
        rows = [] if batch is None else batch.drop_columns([schema.CLOCK]).to_pylist()
        if rows:
            stream.add_elements([TimestampedValue(row, _whole(micros(row[schema.TIME]))) for row in rows])
        if watermark is not None and (reached is None or watermark > reached):
            reached = watermark
            stream.advance_watermark_to(_whole(watermark))
    stream.advance_watermark_to_infinity()
    return stream


class Pane(NamedTuple):
    """Which firing rows are of."""

    window: tuple[int, int]
    """Start and end."""
    pane: int
    """From 0, of its window and partition."""
    timing: str


def play(
    events: Iterable[Event] | TestStream, build: Callable[[Batches], dict[str, beam.PCollection[Any]]]
) -> dict[str, list[Any]]:
    """Runs what `build` makes of a stream on BundleBasedDirectRunner; what each of its outputs gave, in order.

    Batches are given as rows (dicts), everything else as it is.
    """
    stream = events if isinstance(events, TestStream) else test_stream(events)
    options = PipelineOptions(["--streaming"])
    pipeline = beam.Pipeline(runner=BundleBasedDirectRunner(), options=options)
    return keep(pipeline, build(pipeline | "Stream" >> stream))


def keep(pipeline: beam.Pipeline, outputs: dict[str, beam.PCollection[Any]]) -> dict[str, list[Any]]:
    """Runs an in-process pipeline; what each of its outputs gave, as `play` does."""
    run = uuid.uuid4().hex
    try:
        with pipeline:
            for name, output in outputs.items():
                _ = output | f"Keep {name}" >> beam.Map(_keep, key=(run, name))
        return {name: _kept.get((run, name), []) for name in outputs}
    finally:
        for key in [key for key in _kept if key[0] == run]:
            del _kept[key]


_kept: dict[tuple[str, str], list[Any]] = {}
_lock = threading.Lock()


def _keep(element: Any, key: tuple[str, str]) -> None:
    rows = element.to_pylist() if isinstance(element, pa.RecordBatch) else [element]
    with _lock:
        _kept.setdefault(key, []).extend(rows)


def by_pane(rows: Iterable[dict[str, Any]]) -> dict[Pane, list[dict[str, Any]]]:
    """Rows of AddWindows(firings=True), without its columns, by the pane that they are of."""
    found: dict[Pane, list[dict[str, Any]]] = {}
    for row in rows:
        rest = dict(row)
        window = (micros(rest.pop(schema.WINDOW_START)), micros(rest.pop(schema.WINDOW_END)))
        pane = Pane(window, rest.pop(schema.PANE), rest.pop(schema.TIMING))
        found.setdefault(pane, []).append(rest)
    return found


def final_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of accumulating panes those that nothing supersedes, with their windows, without what only panes have."""
    rows = list(rows)
    last: dict[tuple[Any, ...], int] = {}
    for row in rows:
        place = (row[schema.WINDOW_START], row[schema.WINDOW_END], row[schema.PARTITION])
        last[place] = max(last.get(place, 0), row[schema.PANE])
    transient = (schema.PARTITION, *schema.FIRING.names)
    return [
        {name: value for name, value in row.items() if name not in transient}
        for row in rows
        if row[schema.PANE] == last[row[schema.WINDOW_START], row[schema.WINDOW_END], row[schema.PARTITION]]
    ]


def micros(time: Any) -> int:
    """A datetime in microseconds since 1970."""
    return int(np.datetime64(time.replace(tzinfo=None), "us").astype(np.int64))
