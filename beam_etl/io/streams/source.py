"""What all sources that don't end have in common: clocks, checkpoints, and batches with their rejects."""

import hashlib
import json
import os
import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.coders import Coder
from apache_beam.io.unbounded_source import (
    CheckpointMark,
    ReadFromUnboundedSource,
    UnboundedReader,
    UnboundedSource,
)
from apache_beam.transforms.window import TimestampedValue
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.io.read import REJECTS, Documents
from beam_etl.io.rejects import STAGE, reject_batches
from beam_etl.io.streams.cursors import PARKING, Cursor, Piece
from beam_etl.kernels.rejecting import reject_documents
from beam_etl.kernels.split_clock import UNKNOWN, SplitClock
from beam_etl.kernels.windows import unusable_times
from beam_etl.transforms.batches import RecordBatchCoder, merge_batches, split_batch
from beam_etl.transforms.metrics import RECORDS_REJECTED, ROWS_READ, StepMetrics, count_live

SECOND = 1_000_000
"""Microseconds."""

MAX_AHEAD = 86_400 * SECOND
"""A time further ahead of the time of day is no document's: it would move the clock past all others."""

BUNDLE_BATCHES = 64
"""Pieces after which a bundle ends: an engine checkpoints between bundles only."""

BUNDLE_SECONDS = 2.0
"""The same, as time."""

POLL_SECONDS = 0.5
"""Until a split that had nothing is looked at again."""

REJECTED = b"beam_etl.rejected"
"""Schema metadata key of what a reader gives: the rejects of the piece, an encoded batch. Both in one element, so that
a checkpoint never falls between them."""

CLOCK = b"beam_etl.clock"
"""Schema metadata key: the split's clock before the piece."""

Source = TypeVar("Source", bound="StreamSource")


class Mark(CheckpointMark):
    """Where a split goes on: the position of its cursor, and its clock."""

    def __init__(self, position: Any, clock: Any) -> None:
        self.position = position
        self.clock = clock


class MarkCoder(Coder):
    """A mark as JSON. Equal marks have equal bytes."""

    def encode(self, mark: Mark) -> bytes:
        return json.dumps([mark.position, mark.clock], sort_keys=True, separators=(",", ":")).encode()

    def decode(self, encoded: bytes) -> Mark:
        return Mark(*json.loads(encoded))

    def is_deterministic(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class StreamSource(UnboundedSource):
    """A stream of documents in `splits` splits, which are the same for as long as the stream is read.

    A subclass opens a cursor on a split. Elements are batches as `separate` takes them.

    Args:
      columns: what a document needs; `time` among it.
      stored: columns of the whole stream, where its records don't tell theirs.
      splits: how many.
      index: which one this is.
      disorder, idle_after: as of SplitClock.
      end: a path: once there is a file, splits end as if nothing more came, which closes all windows.
    """

    columns: Columns
    stored: pa.Schema | None = None
    splits: int = 1
    index: int = 0
    disorder: int = 0
    idle_after: int | None = None
    end: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.splits:
            raise ValueError(f"split {self.index} of {self.splits}")
        if schema.TIME not in self.columns.needed:
            raise ValueError(f"a stream needs the column {schema.TIME!r}, got {self.columns.needed!r}")

    @abstractmethod
    def open(self, position: Any) -> Cursor:
        """A cursor on this split from a position on; None is the beginning."""

    @property
    def latest(self) -> int | None:
        """A row with a later time is a reject; None where none is."""
        return int(time.time() * SECOND) + MAX_AHEAD

    def split(self: Source, desired_num_splits: int, options: Any = None) -> list[Source]:
        del desired_num_splits, options
        return [replace(self, index=index) for index in range(self.splits)]

    def create_reader(self, options: Any, checkpoint_mark: Mark | None) -> "StreamReader":
        del options
        return StreamReader(self, checkpoint_mark)

    def get_checkpoint_mark_coder(self) -> Coder:
        return MarkCoder()

    def default_output_coder(self) -> Coder:
        return RecordBatchCoder()


class StreamReader(UnboundedReader):
    """Reads a split piece by piece. Its clock is that behind the last piece."""

    def __init__(self, source: StreamSource, mark: Mark | None) -> None:
        self._source = source
        self._name = hashlib.sha256(repr(source).encode()).digest()
        self._mark = mark or Mark(None, None)
        self._cursor: Cursor | None = None
        self._clock = SplitClock(source.disorder, source.idle_after, self._mark.clock)
        self._current: tuple[pa.RecordBatch, int] | None = None
        self._finished = False

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        if self._source.end is not None and os.path.exists(self._source.end):
            self._finished = True
            self._cursor = self._cursor or PARKING.take(self._key())  # to be closed
            return False
        cursor = self._cursor = (
            self._cursor or PARKING.take(self._key()) or self._source.open(self._mark.position)
        )
        piece = cursor.next()
        self._clock.meet(cursor.lanes())
        self._finished = cursor.finished
        self._current = None if piece is None else self._element(piece)
        self._clock.look(cursor.at_end(), int(time.time() * SECOND))
        return piece is not None

    def get_current(self) -> pa.RecordBatch:
        assert self._current is not None
        return self._current[0]

    def get_current_timestamp(self) -> Timestamp:
        assert self._current is not None
        return Timestamp(micros=self._current[1])

    def get_watermark(self) -> Timestamp:
        if self._finished:
            return MAX_TIMESTAMP
        clock = self._clock.clock
        return MIN_TIMESTAMP if clock == UNKNOWN else Timestamp(micros=clock)

    def get_checkpoint_mark(self) -> Mark:
        """Behind the last piece. The cursor is left there for whoever goes on."""
        if self._cursor is not None:
            self._mark = Mark(self._cursor.position(), self._clock.to_json())
            if not self._finished:
                PARKING.leave(self._key(), self._cursor)
                self._cursor = None
        return self._mark

    def close(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None

    def _key(self) -> bytes:
        return self._name + json.dumps(self._mark.position, sort_keys=True).encode()

    def _element(self, piece: Piece) -> tuple[pa.RecordBatch, int]:
        """The piece as one batch, and its timestamp."""
        clock, rejected = self._clock.clock, list(reject_batches(piece.rejects))
        documents = piece.documents
        if documents is not None and (bad := _bad_times(documents.column(schema.TIME), self._source.latest)):
            rejected.append(reject_documents(documents, bad, STAGE))
            documents = documents.take(pa.array(np.delete(np.arange(documents.num_rows), list(bad))))
        stamp = 0 if clock == UNKNOWN else clock
        metadata = {CLOCK: str(stamp).encode()}
        if rejected:
            metadata[REJECTED] = RecordBatchCoder().encode(merge_batches(rejected))
        if documents is None or not documents.num_rows:
            return pa.RecordBatch.from_pylist([], pa.schema([], metadata)), stamp
        times = documents.column(schema.TIME).cast(pa.int64()).to_numpy()
        before = self._clock.read(piece.lane, times)
        column = pa.array(before, pa.int64(), mask=before == UNKNOWN).cast(schema.UTC_TIME)
        with_clock = documents.append_column(schema.CLOCK, column)
        own = with_clock.schema.metadata or {}
        return with_clock.replace_schema_metadata({**own, **metadata}), int(times.min())


def _bad_times(times: pa.Array, latest: int | None) -> dict[int, str]:
    """The rows whose time can't be their documents', and why."""
    bad = unusable_times(times)
    if latest is not None:
        ahead = pc.fill_null(pc.greater(times.cast(pa.int64()), latest), False).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(ahead).tolist():
            bad.setdefault(row, f"the time {times[row]} is more than a day ahead of the time of day")
    return bad


def separate(element: pa.RecordBatch) -> tuple[pa.RecordBatch | None, pa.RecordBatch | None, int]:
    """The documents of what a reader gave, its rejects, and the clock before both, which rejects are stamped with."""
    metadata = dict(element.schema.metadata)
    clock, encoded = int(metadata.pop(CLOCK)), metadata.pop(REJECTED, None)
    documents = element.replace_schema_metadata(metadata) if element.num_rows else None
    return documents, None if encoded is None else RecordBatchCoder().decode(encoded), clock


@dataclass(eq=False, kw_only=True)
class ReadStream(beam.PTransform):
    """All documents of a stream. No shuffle: splits are handed out.

    Input: the pipeline. Output: Documents, without splits. Batches have schema.CLOCK, in the global window; a batch is
    stamped with its smallest time, rejects with the clock of their split.
    """

    source: StreamSource

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam takes a tuple of PCollections for a mistake
    def expand(self, pipeline: beam.Pipeline) -> Documents:
        read = pipeline | "Read" >> ReadFromUnboundedSource(
            self.source, POLL_SECONDS, BUNDLE_BATCHES, BUNDLE_SECONDS
        )
        return read | "Separate" >> Separate()


@dataclass(eq=False, kw_only=True)
class Separate(beam.PTransform):
    """What a reader gives as Documents, counted. No shuffle."""

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]
    def expand(self, elements: beam.PCollection[pa.RecordBatch]) -> Documents:
        work = beam.ParDo(_Separate()).with_output_types(pa.RecordBatch, **{REJECTS: pa.RecordBatch})
        found = elements | "Separate" >> work.with_outputs(REJECTS, main="documents")
        return Documents(found.documents, found[REJECTS], None)


class _Separate(beam.DoFn):
    def __init__(self) -> None:
        self._metrics = StepMetrics()

    def process(self, element: pa.RecordBatch) -> Iterator[Any]:
        documents, rejects, clock = separate(element)
        if documents is not None:
            self._metrics.add(ROWS_READ, documents.num_rows)
            count_live(ROWS_READ, documents.num_rows)
            for part in split_batch(documents):
                self._metrics.gave_out(part)
                yield part
        if rejects is not None:
            self._metrics.add(RECORDS_REJECTED, rejects.num_rows)
            yield beam.pvalue.TaggedOutput(REJECTS, TimestampedValue(rejects, Timestamp(micros=clock)))
