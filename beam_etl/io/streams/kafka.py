"""A topic of Kafka as a stream: partition p is of split p modulo their number."""

import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from beam_etl.io.errors import InputError
from beam_etl.io.formats.base import FileEntry
from beam_etl.io.rejects import Reject, reject_record
from beam_etl.io.streams.cursors import Piece
from beam_etl.io.streams.kafka_client import Topic, connect
from beam_etl.io.streams.source import StreamSource
from beam_etl.io.streams.values import JsonValues, Message, Values, read_values
from beam_etl.transforms.batches import MAX_BYTES, MAX_ROWS, merge_batches

EARLIEST, LATEST = "earliest", "latest"

POLL_SECONDS = 0.1
"""A poll waits for messages so long, and takes what has come then."""

POLL_MESSAGES = 1000
"""Taken from the client at once, at most."""

FIRST_BYTES = 128 << 10
"""What a message is taken to have until some have come: so the first 16 are taken together."""

LOOK_SECONDS = 10.0
"""Between two looks at the topic's partitions, by which new ones are noticed."""

AGAIN_SECONDS = 2.0
"""The same, where brokers don't answer."""

NO_VALUE = "no value: a message that deletes its key"

SAMPLE_BYTES = 1 << 20
SAMPLE_PARTITIONS = 8
SAMPLE_SECONDS = 5.0
"""What tells the columns of JSON values: the first messages of some partitions, waited for so long."""


@dataclass(frozen=True, kw_only=True)
class KafkaSource(StreamSource):
    """The messages of a topic. A lane is a partition; a position has the next offset of each.

    Args:
      topic: what is read.
      values: how values are written.
      start: EARLIEST or LATEST: where partitions begin that are there when the stream begins. Those that come later are
        read from their first message.
    """

    topic: Topic
    values: Values = field(default_factory=JsonValues)
    start: str = EARLIEST

    def open(self, position: Any) -> "_KafkaCursor":
        return _KafkaCursor(self, position)

    def partitions(self, consumer: Any, seconds: float) -> list[int]:
        """Those of this split.

        Raises:
          InputError: no broker answers.
        """
        found = self.topic.partitions(consumer, seconds)
        return [partition for partition in found if partition % self.splits == self.index]


class BrokenStreamError(RuntimeError):
    """The stream can't go on from where it was. The message says why, and what to do."""


class _KafkaCursor:
    def __init__(self, source: KafkaSource, position: Any) -> None:
        self._source = source
        self._topic = source.topic
        self._next: dict[int, int] = {int(name): offset for name, offset in (position or {}).items()}
        self._fetched: dict[int, int] = {}
        """Where the client goes on, for each partition that it reads."""
        self._queue: deque[tuple[Piece, int, int]] = deque()
        self._at_end: set[int] = set()
        self._gone: set[int] = set()
        """Partitions that don't have any more what comes next."""
        self._mean = float(FIRST_BYTES)
        """Bytes of a message, as they were of late."""
        self._reached = True
        self._look_at = 0.0
        self._consumer = connect(self._topic, self._told)
        try:
            self._look(10.0, position is None)
        except BaseException:
            self._consumer.close()
            raise

    finished = False

    def next(self) -> Piece | None:
        if not self._queue:
            if time.monotonic() >= self._look_at:
                self._look(1.0)
            self._poll()
        if not self._queue:
            return None
        piece, partition, behind = self._queue.popleft()
        self._next[partition] = behind
        return piece

    def position(self) -> dict[str, int]:
        return {str(partition): offset for partition, offset in self._next.items()}

    def lanes(self) -> list[str]:
        return [str(partition) for partition in self._next]

    def at_end(self) -> Collection[str]:
        waiting = {partition for _, partition, _ in self._queue}
        return {str(partition) for partition in self._at_end - waiting} if self._reached else ()

    def close(self) -> None:
        self._consumer.close()

    def _told(self, error: Any) -> None:
        """Of a connection that is lost: whether a partition has more, nobody knows now."""
        del error
        self._reached = False
        self._look_at = min(self._look_at, time.monotonic() + AGAIN_SECONDS)

    def _look(self, seconds: float, first: bool = False) -> None:
        """Reads partitions that aren't read yet."""
        from confluent_kafka import TopicPartition

        try:
            found = self._source.partitions(self._consumer, seconds)
            for partition in found:
                if partition not in self._next:
                    low, high = self._topic.ends(self._consumer, partition)
                    self._next[partition] = high if first and self._source.start == LATEST else low
        except InputError:
            if first:
                raise
            self._reached, self._look_at = False, time.monotonic() + AGAIN_SECONDS
            found = []
        else:
            self._reached, self._look_at = True, time.monotonic() + LOOK_SECONDS
        new = [partition for partition in self._next if partition not in self._fetched]
        self._fetched |= {partition: self._next[partition] for partition in new}
        if new:
            self._consumer.incremental_assign(
                [TopicPartition(self._topic.name, partition, self._next[partition]) for partition in new]
            )

    def _poll(self) -> None:
        """Fills the queue with what has come: a piece a partition."""
        held: dict[int, list[Any]] = {}
        rows = size = 0
        deadline = time.monotonic() + POLL_SECONDS
        while rows < MAX_ROWS and size < MAX_BYTES // 2:
            fitting = int((MAX_BYTES // 2 - size) / max(self._mean, 1.0))
            most = max(1, min(POLL_MESSAGES, MAX_ROWS - rows, fitting))
            found = self._consumer.consume(most, max(0.0, deadline - time.monotonic()))
            for message in found:
                if message.error() is not None:
                    self._failed(message)
                    continue
                partition = message.partition()
                held.setdefault(partition, []).append(message)
                self._at_end.discard(partition)
                self._fetched[partition] = message.offset() + 1
                rows, size = rows + 1, size + len(message.value() or b"") + len(message.key() or b"")
            self._mean = size / rows if rows else self._mean
            if not found or time.monotonic() >= deadline:
                break
        for partition, messages in held.items():
            self._queue.append((self._piece(partition, messages), partition, messages[-1].offset() + 1))
        while self._gone:
            self._skip_deleted(self._gone.pop())

    def _piece(self, partition: int, messages: list[Any]) -> Piece:
        file = self._file(partition)
        found: Iterator[Any] = read_values(
            self._source.values,
            [
                Message(message.offset(), message.value())
                for message in messages
                if message.value() is not None
            ],
            self._source.columns,
            self._source.stored or pa.schema([]),
            file,
        )
        rejects = [
            reject_record(file.path, message.offset(), NO_VALUE, message.key() or b"")
            for message in messages
            if message.value() is None
        ]
        batches: list[Any] = []
        for item in found:
            (rejects if isinstance(item, Reject) else batches).append(item)
        documents = None
        if batches:
            documents = merge_batches(batches).replace_schema_metadata(batches[0].schema.metadata)
        return Piece(str(partition), documents, rejects)

    def _file(self, partition: int) -> FileEntry:
        return FileEntry(partition, f"kafka://{self._topic.name}/{partition}", 0)

    def _failed(self, message: Any) -> None:
        """What the client says of a partition in place of a message."""
        from confluent_kafka import KafkaError

        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            self._at_end.add(message.partition())
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._gone.add(message.partition())
        elif error.fatal() or not (error.retriable() or error.code() in _passing()):
            raise BrokenStreamError(f"{self._topic}: {self._topic.without_secrets(error)}")
        else:
            self._told(error)

    def _skip_deleted(self, partition: int) -> None:
        """Goes on behind messages that are gone, and tells how many nobody has read."""
        from confluent_kafka import TopicPartition

        at = self._fetched[partition]
        low, high = self._topic.ends(self._consumer, partition)
        if at > high:
            raise BrokenStreamError(
                f"{self._topic}: partition {partition} ends at offset {high}, and was read up to {at} before: the "
                "topic was made anew. Start without the savepoint."
            )
        if low > at:
            reason = f"{low - at} messages were deleted before they were read: offsets {at} to {low - 1}"
            reject = Reject(self._file(partition).path, at, reason, low - at, 0, b"\0" * 32, b"")
            self._queue.append((Piece(str(partition), None, [reject]), partition, low))
            self._fetched[partition] = low
        self._consumer.incremental_unassign([TopicPartition(self._topic.name, partition)])
        self._consumer.incremental_assign(
            [TopicPartition(self._topic.name, partition, self._fetched[partition])]
        )


def _passing() -> frozenset[int]:
    from confluent_kafka import KafkaError

    return frozenset(
        (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE)
    )


def sample_values(topic: Topic) -> tuple[list[int], list[bytes]]:
    """The partitions of a topic, and some of its first values: for a launcher.

    Raises:
      InputError: no broker answers, or they have no such topic.
    """
    from confluent_kafka import KafkaError, TopicPartition

    found: list[bytes] = []
    with topic.consumer() as consumer:
        partitions = topic.partitions(consumer)
        some = partitions[:SAMPLE_PARTITIONS]
        ends = {partition: topic.ends(consumer, partition) for partition in some}
        left = {partition for partition, (low, high) in ends.items() if low < high}
        consumer.assign([TopicPartition(topic.name, partition, ends[partition][0]) for partition in left])
        size, deadline = 0, time.monotonic() + SAMPLE_SECONDS
        while left and size < SAMPLE_BYTES and time.monotonic() < deadline:
            for message in consumer.consume(POLL_MESSAGES, POLL_SECONDS):
                if message.error() is None:
                    found.append(message.value() or b"")
                    size += len(found[-1])
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
    return partitions, found
