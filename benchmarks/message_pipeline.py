"""Words of a topic's messages with each message an element of its own, as most Beam pipelines are written.

`main` takes from the command line BROKER TOPIC PARTITIONS FOLDER WINDOW_SECONDS FLAGS... and leaves a line for each
window in FOLDER: when it was summed, and its messages. It isn't run as a module, whose classes workers can't import.
"""

import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder, Coder
from apache_beam.io.unbounded_source import (
    CheckpointMark,
    ReadFromUnboundedSource,
    UnboundedReader,
    UnboundedSource,
)
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from beam_etl.engines.flink.options import fill

WORD = re.compile(r"\w+")
POLLED = 500
POLL_SECONDS = 0.1

_open: dict[tuple[int, int], tuple[Any, deque[Any]]] = {}
"""By partition and offset, the client and messages that a reader left to the next: Flink makes new ones each second."""


class Offset(CheckpointMark):
    """The next message of a partition."""

    def __init__(self, offset: int) -> None:
        self.offset = offset


class OffsetCoder(Coder):
    """As digits."""

    def encode(self, mark: Offset) -> bytes:
        return str(mark.offset).encode()

    def decode(self, encoded: bytes) -> Offset:
        return Offset(int(encoded))

    def is_deterministic(self) -> bool:
        return True


class Messages(UnboundedSource):
    """The values of a topic, a split a partition."""

    def __init__(self, address: str, topic: str, partitions: int, partition: int = 0) -> None:
        self.given = address, topic, partitions
        self.partition = partition

    def split(self, desired_num_splits: int, options: Any = None) -> list["Messages"]:
        return [Messages(*self.given, partition) for partition in range(self.given[2])]

    def create_reader(self, options: Any, checkpoint_mark: Offset | None) -> "MessageReader":
        return MessageReader(self, checkpoint_mark.offset if checkpoint_mark else 0)

    def get_checkpoint_mark_coder(self) -> Coder:
        return OffsetCoder()

    def default_output_coder(self) -> Coder:
        return BytesCoder()


class MessageReader(UnboundedReader):
    """One message after another; their own timestamps, which ascend, are the watermark."""

    def __init__(self, source: Messages, offset: int) -> None:
        self._source = source
        self._next = offset
        self._at = MIN_TIMESTAMP
        self._value = b""
        kept = _open.pop((source.partition, offset), None)
        self._consumer, self._held = kept or (self._connect(), deque())

    def _connect(self) -> Any:
        from confluent_kafka import Consumer, TopicPartition

        address, topic, _ = self._source.given
        consumer = Consumer({"bootstrap.servers": address, "group.id": "none", "enable.auto.commit": False})
        consumer.assign([TopicPartition(topic, self._source.partition, self._next)])
        return consumer

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        if not self._held:
            self._held.extend(self._consumer.consume(POLLED, POLL_SECONDS))
        if not self._held:
            return False
        message = self._held.popleft()
        self._next, self._value = message.offset() + 1, message.value()
        self._at = Timestamp(micros=message.timestamp()[1] * 1000)
        return True

    def get_current(self) -> bytes:
        return self._value

    def get_current_timestamp(self) -> Timestamp:
        return self._at

    def get_watermark(self) -> Timestamp:
        return self._at

    def get_checkpoint_mark(self) -> Offset:
        _open[self._source.partition, self._next] = self._consumer, self._held
        return Offset(self._next)

    def close(self) -> None:
        """The next reader closes what it was left."""


def count(value: bytes) -> tuple[str, tuple[int, int]]:
    """Language, and of a message one and its words."""
    document = json.loads(value)
    return document["language"], (1, len(WORD.findall(document["text"].lower())))


def add(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Sums of both."""
    documents, words = zip(*pairs, strict=True)
    return sum(documents), sum(words)


def main() -> None:
    """Runs until it is ended."""
    address, topic, partitions, folder, seconds, *flags = sys.argv[1:]

    def keep(found: tuple[str, tuple[int, int]]) -> None:
        with open(os.path.join(folder, f"{os.getpid()}"), "a", encoding="utf-8") as file:
            file.write(f"{time.time()} {found[1][0]}\n")

    options = PipelineOptions(["--runner=PortableRunner", *fill([*flags, "--streaming"], Path(folder).name)])
    pipeline = beam.Pipeline(options=options)
    (
        pipeline
        | ReadFromUnboundedSource(Messages(address, topic, int(partitions)))
        | "Count" >> beam.Map(count)
        | beam.WindowInto(FixedWindows(int(seconds)))
        | "Sum" >> beam.CombinePerKey(add)
        | "Keep" >> beam.Map(keep)
    )
    pipeline.run().wait_until_finish()
