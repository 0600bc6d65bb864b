"""Stored documents as a stream: in the order of their times, with a chosen disorder and speed."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.unbounded_source import UnboundedReader
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from beam_etl import schema
from beam_etl.io.formats import format_named
from beam_etl.io.formats.base import SPLIT_BYTES, limited
from beam_etl.io.read import HELD_REJECTS, Documents, unpack_files
from beam_etl.io.rejects import Reject
from beam_etl.io.splits import plan_splits, read_split
from beam_etl.io.streams.cursors import Piece
from beam_etl.io.streams.source import SECOND, Separate, StreamSource
from beam_etl.kernels.arrival import arrival_order, arrival_times
from beam_etl.kernels.process import once_per_process
from beam_etl.kernels.windows import as_microseconds
from beam_etl.transforms.batches import MAX_BYTES, RecordBatchCoder, merge_batches

MAX_REPLAYED_BYTES = 1 << 30
"""Documents of a replay are held in the memory of each process that plays them."""

LANE = "replay"
BATCH_ROWS = 1024
"""Of a piece: the watermark moves between pieces."""

PACE_SECONDS = 0.5
"""Between two batches of a split that is played in process at a speed."""

NEVER = -1
"""The time of documents without one: they arrive first, and are rejected."""


@dataclass(frozen=True, kw_only=True)
class ReplaySource(StreamSource):
    """Files as a stream. A position is a number of rows.

    Args:
      files: of `pack_files`.
      format: of all of them.
      name: of the input, for rejects of batches that are of several files.
      late_by: a document arrives up to so much later than its time, in microseconds.
      seed: of these delays.
      speed: seconds of event time that are played in a second; 0 plays as fast as they are taken.
      span: documents of a piece arrive within so many microseconds; 0 doesn't bound that.
    """

    files: bytes
    format: str
    name: str
    late_by: int = 0
    seed: int = 0
    speed: float = 0.0
    span: int = 0

    latest = None

    def open(self, position: Any) -> "_ReplayCursor":
        return _ReplayCursor(self, position)

    def load(self) -> "Replayed":
        """All documents in the order of arrival; loaded once a process, for all splits."""
        shared = replace(self, index=0, speed=0.0, span=0, disorder=0, idle_after=None)
        loaded: Replayed = once_per_process(_Loader, shared).get()()
        return loaded


class Replayed(NamedTuple):
    """Documents in the order of arrival, split by split."""

    documents: pa.RecordBatch
    arrivals: np.ndarray
    """int64[rows]."""
    bounds: list[int]
    """Where each split begins, and the end."""
    paths: list[str]
    """Of the files, by number."""
    rejects: list[Reject]


class _Loader:
    """What a process loads once."""

    def __init__(self, source: ReplaySource) -> None:
        files = unpack_files(source.files)
        known = limited(format_named(source.format), source.columns.limits)
        batches, rejects = [], []
        for split in (split for file in files for split in plan_splits(file, known, SPLIT_BYTES)):
            for found in read_split(split, known, source.columns, source.stored):
                if isinstance(found, Reject):
                    rejects.append(found)
                else:
                    batches.append(found)
        documents = (
            merge_batches(batches) if batches else schema.columns(schema.ADDRESS, schema.TIME).empty_table()
        )
        if not isinstance(documents, pa.RecordBatch):
            documents = pa.RecordBatch.from_pylist([], documents.schema)
        keys = documents.column(schema.ADDRESS).to_numpy()
        times = as_microseconds(documents.column(schema.TIME), NEVER)
        arrivals = arrival_times(times, keys, source.late_by, source.seed)
        order = arrival_order(arrivals, keys, source.splits)
        sizes = [len(range(split, len(order), source.splits)) for split in range(source.splits)]
        bounds = [0, *np.cumsum(sizes).tolist()]
        paths = [file.path for file in files]
        self._loaded = Replayed(documents.take(pa.array(order)), arrivals[order], bounds, paths, rejects)

    def __call__(self) -> Replayed:
        return self._loaded


class _ReplayCursor:
    def __init__(self, source: ReplaySource, position: Any) -> None:
        self._source = source
        self._loaded = source.load()
        self._stop = self._loaded.bounds[source.index + 1]
        first = {"row": 0, "reject": 0, "began": int(time.time() * SECOND)}
        self._position = dict(position or first)
        self._rejects = self._loaded.rejects if source.index == 0 else []

    def next(self) -> Piece | None:
        here = self._position
        if here["reject"] < len(self._rejects):
            some = self._rejects[here["reject"] : here["reject"] + HELD_REJECTS]
            here["reject"] += len(some)
            return Piece(LANE, None, some)
        start = self._loaded.bounds[self._source.index] + here["row"]
        stop = min(start + BATCH_ROWS, self._stop, self._due())
        if stop <= start:
            return None
        if self._source.span:
            arrivals = self._loaded.arrivals[start:stop]
            stop = start + int(np.searchsorted(arrivals, arrivals[0] + self._source.span, "right"))
        rows = self._loaded.documents.slice(start, stop - start)
        while rows.num_rows > 1 and rows.nbytes > MAX_BYTES:
            rows = rows.slice(0, rows.num_rows // 2)
        here["row"] += rows.num_rows
        return Piece(LANE, rows.replace_schema_metadata({schema.FILE_METADATA: self._path(rows)}), [])

    def position(self) -> dict[str, int]:
        return dict(self._position)

    def lanes(self) -> tuple[str]:
        return (LANE,)

    def at_end(self) -> tuple[()]:
        """A replay has no lane that waits for others: it ends."""
        return ()

    @property
    def finished(self) -> bool:
        rows = self._stop - self._loaded.bounds[self._source.index]
        return self._position["row"] == rows and self._position["reject"] >= len(self._rejects)

    def close(self) -> None:
        """Nothing is open."""

    def _due(self) -> int:
        """Behind the last row of this split whose time has come."""
        if not self._source.speed or not len(self._loaded.arrivals):
            return self._stop
        starts = [at for at in self._loaded.bounds[:-1] if at < len(self._loaded.arrivals)]
        first = min(int(self._loaded.arrivals[at]) for at in starts)
        now = first + (time.time() * SECOND - self._position["began"]) * self._source.speed
        start = self._loaded.bounds[self._source.index]
        return start + int(np.searchsorted(self._loaded.arrivals[start : self._stop], now, "right"))

    def _path(self, rows: pa.RecordBatch) -> str:
        numbers = np.unique(rows.column(schema.ADDRESS).to_numpy() >> np.uint64(schema.POSITION_BITS))
        return self._loaded.paths[int(numbers[0])] if len(numbers) == 1 else self._source.name


@dataclass(eq=False, kw_only=True)
class PlayInProcess(beam.PTransform):
    """A replay where no engine reads a source that doesn't end: as a TestStream. No shuffle.

    Input: the pipeline. Output: Documents, as ReadStream has them: the same batches, clocks and watermarks.

    Args:
      source: the replay. All of it is a part of the pipeline.
    """

    source: ReplaySource

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam takes a tuple of PCollections for a mistake
    def expand(self, pipeline: beam.Pipeline) -> Documents:
        span = int(self.source.speed * PACE_SECONDS * SECOND)
        stream = pipeline | "Play" >> play(replace(self.source, speed=0.0, span=span))
        paced = stream | "Pace" >> beam.ParDo(_Pace(self.source.speed)).with_output_types(pa.RecordBatch)
        return paced | "Separate" >> Separate()


def play(source: StreamSource) -> TestStream:
    """What a source that ends gives, as a TestStream: its splits in turn, the watermark the smallest of theirs."""
    coder = RecordBatchCoder()
    stream, reached = TestStream(coder=coder), MIN_TIMESTAMP
    readers: list[UnboundedReader] = [part.create_reader(None, None) for part in source.split(source.splits)]
    left = list(readers)
    while left:
        for reader in list(left):
            if reader.advance():
                own = coder.decode(
                    coder.encode(reader.get_current())
                )  # pickled, a slice would drag all along
                stream.add_elements([TimestampedValue(own, reader.get_current_timestamp())])
            elif reader.get_watermark() == MAX_TIMESTAMP:
                left.remove(reader)
            lowest = min(each.get_watermark() for each in readers)
            watermark = Timestamp(micros=lowest.micros // 1000 * 1000)  # what a TestStream can say
            if reached < watermark and lowest < MAX_TIMESTAMP:
                reached = watermark
                stream.advance_watermark_to(watermark)
    stream.advance_watermark_to_infinity()
    return stream


class _Pace(beam.DoFn):
    """Holds batches back until their time has come."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began: tuple[float, int] | None = None

    def process(self, element: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        if self._speed and element.num_rows:
            newest = int(as_microseconds(element.column(schema.TIME), NEVER).max())
            began, first = self._began = self._began or (time.monotonic(), newest)
            time.sleep(max(0.0, (newest - first) / SECOND / self._speed - (time.monotonic() - began)))
        yield element
