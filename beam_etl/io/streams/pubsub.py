"""Pub/Sub, where the runner reads it: its messages as batches. It has no splits, so its documents have no clock."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow, GlobalWindows, TimestampedValue
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.io.formats.base import FileEntry
from beam_etl.io.read import REJECTS, Documents
from beam_etl.io.rejects import STAGE, Reject, reject_batches
from beam_etl.io.streams.values import Message, Values, read_values
from beam_etl.kernels.rejecting import reject_documents
from beam_etl.kernels.windows import as_microseconds, split_unusable
from beam_etl.transforms.batches import MAX_BYTES, MAX_ROWS, Batches
from beam_etl.transforms.metrics import RECORDS_REJECTED, ROWS_READ, StepMetrics

POSITION_BITS = 43


@dataclass(eq=False, kw_only=True)
class ReadPubSub(beam.PTransform):
    """The documents of a subscription or a topic. No shuffle.

    Input: the pipeline. Output: Documents, without splits and without schema.CLOCK: a batch is stamped with its
    smallest time, which may be behind the runner's watermark. A document's position is a hash of its message's id.

    Args:
      path: `projects/P/subscriptions/S` or `projects/P/topics/T`.
      values: how messages are written.
      columns, stored: as of StreamSource.
    """

    path: str
    values: Values
    columns: Columns
    stored: pa.Schema

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam takes a tuple of PCollections for a mistake
    def expand(self, pipeline: beam.Pipeline) -> Documents:
        from apache_beam.io.gcp.pubsub import ReadFromPubSub

        place = {"topic" if "/topics/" in self.path else "subscription": self.path}
        decode = beam.ParDo(_Decode(f"pubsub://{self.path}", self.values, self.columns, self.stored))
        found = (
            pipeline
            | "Read" >> ReadFromPubSub(**place, with_attributes=True)
            | "Decode"
            >> decode.with_output_types(pa.RecordBatch, **{REJECTS: pa.RecordBatch}).with_outputs(
                REJECTS, main="documents"
            )
        )
        return Documents(found.documents, found[REJECTS], None)


@dataclass(eq=False, kw_only=True)
class StampNow(beam.PTransform):
    """Batches in the global window, at the time of day. No shuffle.

    The watermark of Pub/Sub is that of what was published, so it is never ahead of the time of day: rejects that are
    stamped so come late for no window, whatever their documents do.
    """

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, batches: Batches) -> Batches:
        stamped = beam.ParDo(_Stamp()).with_output_types(pa.RecordBatch)
        return batches | "Into global" >> beam.WindowInto(GlobalWindows()) | "Stamp" >> stamped


class _Stamp(beam.DoFn):
    def process(self, batch: pa.RecordBatch) -> Iterator[TimestampedValue]:
        yield TimestampedValue(batch, Timestamp.of(time.time()))


class _Decode(beam.DoFn):
    """Gathers the messages of a bundle, and reads them together."""

    def __init__(self, path: str, values: Values, columns: Columns, stored: pa.Schema) -> None:
        self._file = FileEntry(0, path, 0)
        self._values = values
        self._columns = columns
        self._stored = stored
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._held: list[Message] = []
        self._size = 0
        self._first: Timestamp | None = None

    def process(self, message: Any, timestamp: Timestamp = beam.DoFn.TimestampParam) -> Iterator[Any]:
        self._held.append(Message(position_of(message.message_id), message.data))
        self._size += len(message.data)
        self._first = timestamp if self._first is None else min(self._first, timestamp)
        if len(self._held) >= MAX_ROWS or self._size >= MAX_BYTES // 2:
            yield from self.finish_bundle()

    def finish_bundle(self) -> Iterator[Any]:
        held, first = self._held, self._first
        self.start_bundle()
        if first is None:
            return
        rejects: list[Reject] = []
        rejected: list[pa.RecordBatch] = []
        for found in read_values(self._values, held, self._columns, self._stored, self._file):
            if isinstance(found, Reject):
                rejects.append(found)
                continue
            documents, unusable, reasons = split_unusable(found)
            if reasons:
                rejected.append(reject_documents(unusable, reasons, STAGE))
            if documents.num_rows:
                self._metrics.add(ROWS_READ, documents.num_rows)
                smallest = int(as_microseconds(documents.column(schema.TIME), 0).min())
                yield WindowedValue(documents, Timestamp(micros=smallest), (GlobalWindow(),))
        for batch in (*reject_batches(rejects), *rejected):
            self._metrics.add(RECORDS_REJECTED, batch.num_rows)
            yield beam.pvalue.TaggedOutput(REJECTS, WindowedValue(batch, first, (GlobalWindow(),)))


def position_of(message_id: str) -> int:
    """A position that an address can hold, the same for every delivery of a message."""
    digest = hashlib.blake2b(message_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - POSITION_BITS)


def stored_columns(values: Values, columns: Columns) -> pa.Schema:
    """The columns of messages that nobody has looked at."""
    told: Sequence[str] = values.stored(()).names
    return values.stored(()) if told else columns.as_stored()
