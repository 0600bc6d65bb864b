"""`--input=replay:`, `watch:`, `kafka://` and `pubsub://` as what a job's build takes."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.checks import LOOKED_AT, check_files
from beam_etl.io.columns import ALL, Columns, resolve
from beam_etl.io.errors import InputError
from beam_etl.io.file_source import FileSource, Sample
from beam_etl.io.files import NothingFoundError, input_format, match_files, single_patterns
from beam_etl.io.formats import FileEntry, Format, format_of
from beam_etl.io.formats.base import limited
from beam_etl.io.pattern_reach import can_match_in
from beam_etl.io.read import Documents, pack_files
from beam_etl.io.stores import is_local
from beam_etl.io.streams.kafka import KafkaSource, sample_values
from beam_etl.io.streams.kafka_client import Topic
from beam_etl.io.streams.pubsub import ReadPubSub, stored_columns
from beam_etl.io.streams.replay import MAX_REPLAYED_BYTES, PlayInProcess, ReplaySource
from beam_etl.io.streams.source import ReadStream, StreamSource
from beam_etl.io.streams.values import JsonValues, Values, avro_values
from beam_etl.io.streams.watch import WatchSource
from beam_etl.observe.text import format_bytes
from beam_etl.pipelines.flags import UsageError
from beam_etl.pipelines.runners import runner_name
from beam_etl.pipelines.stream_config import SCHEMES, source_of
from beam_etl.pipelines.stream_support import IN_PROCESS_STREAM, refuse_unsupported

SAMPLE_BYTES = 4 << 20
"""Of a replay, to expect how much memory it takes."""

MAX_CONSUMERS = 64
"""Splits of a topic: each has a client of its own, of some threads and up to 16 MiB. More partitions share them."""

_TOPIC = re.compile(r"([^/\s]+)/([A-Za-z0-9._-]{1,249})")
_SUBSCRIPTION = re.compile(r"projects/[^/\s]+/(subscriptions|topics)/[^/\s]+")


Read = Callable[[Columns], beam.PTransform]


@dataclass
class StreamInput:
    """A stream as a job's source. It can be read once, and nobody knows how much there will be.

    Attributes:
      pipeline: that it is read in.
      columns: what is read of a document.
      stored_schema: the columns of the stream, as far as known.
      name: of the input, for people.
      make: what gives Documents of other columns.
      played: the files of a replay, for estimates.
      end: as of StreamSource: a file there ends the stream.
    """

    pipeline: beam.Pipeline
    columns: Columns
    stored_schema: pa.Schema
    name: str
    make: Read
    played: FileSource | None = None
    end: str | None = None

    unbounded = True
    replayable = False
    files: tuple[FileEntry, ...] = ()
    input_bytes = 0
    skipped_bytes = 0
    has_clock: bool = True
    """Whether batches have schema.CLOCK. Others have to be gated."""
    _is_read = False

    @property
    def read(self) -> beam.PTransform:
        """What gives Documents."""
        return self.make(self.columns)

    def documents(self, columns: Columns | None = None, again: bool = False) -> Documents:
        """Documents and rejects, in the global window.

        Args:
          columns: others than the source's.
          again: never of a stream.

        Raises:
          ValueError: it was read already.
        """
        if again or self._is_read:
            raise ValueError(f"{self.name}: a stream is read once")
        self._is_read = True
        read = self.read if columns is None else self.make(with_time(columns))
        if isinstance(read, ReadStream):
            read.source = replace(read.source, end=self.end)
        found: Documents = self.pipeline | "Read documents" >> read
        return found

    def sample(self, max_bytes: int, places: int = LOOKED_AT, columns: Columns | None = None) -> Sample:
        """As of FileSource; nothing of a stream that isn't a replay."""
        return self.played.sample(max_bytes, places, columns) if self.played else Sample([], 1.0)

    def told_documents(self) -> int | None:
        """As of FileSource."""
        return self.played.told_documents() if self.played else None


def is_stream(given: tuple[str, ...]) -> bool:
    """Whether an --input names a stream."""
    return source_of(given) is not None


def open_stream(pipeline: beam.Pipeline, config: Any) -> StreamInput:
    """The stream of a job whose Config has the flags of StreamConfig and WindowConfig.

    Raises:
      UsageError: the source doesn't run on the engine, or its name is no such.
      InputError: what it names isn't there, or lacks what the job needs.
    """
    source = source_of(config.input)
    assert source is not None
    refuse_unsupported(source, config.runner)
    rest = (config.input[0].removeprefix(SCHEMES[source]), *config.input[1:])
    return _OPEN[source](pipeline, config, rest, with_time(config.columns))


def with_time(columns: Columns) -> Columns:
    """The columns, and the time of each document, by which a stream goes."""
    if schema.TIME in columns.needed:
        return columns
    optional = tuple(name for name in columns.optional if name != schema.TIME)
    return replace(columns, needed=(*columns.needed, schema.TIME), optional=optional)


def _replay(pipeline: beam.Pipeline, config: Any, patterns: tuple[str, ...], columns: Columns) -> StreamInput:
    played = FileSource(pipeline, patterns, columns, config.format, tolerated=config.max_reject_fraction)
    name = ",".join(patterns)
    _, size = played.sample(SAMPLE_BYTES).expected(played.told_documents())
    if size > MAX_REPLAYED_BYTES:
        raise InputError(
            f"replay:{name}: about {format_bytes(size)} of documents, and a replay holds at most "
            f"{format_bytes(MAX_REPLAYED_BYTES)} in memory. Name fewer files; --window works on files as they are, too."
        )
    source = ReplaySource(
        columns=columns,
        stored=played.stored_schema,
        splits=config.splits,
        disorder=config.disorder,
        files=pack_files(played.files),
        format=played.read.known.name,
        name=f"replay:{name}",
        late_by=config.late_by,
        seed=config.replay_seed,
        speed=config.replay_speed,
    )
    in_process = runner_name(config.runner) == IN_PROCESS_STREAM
    make = _reading(source, PlayInProcess if in_process else ReadStream)
    return StreamInput(pipeline, columns, played.stored_schema, source.name, make, played)


def _watch(pipeline: beam.Pipeline, config: Any, patterns: tuple[str, ...], columns: Columns) -> StreamInput:
    name = ",".join(patterns)
    _refuse_watched_output(patterns, config.output)
    known, files = _watched_format(patterns, config.format)
    known = limited(known, columns.limits)
    stored = check_files(files, known, columns, config.max_reject_fraction) if files else None
    if not stored and columns.carry == ALL:
        raise InputError(
            f"watch:{name}: the job carries all columns, and no file is there yet that tells which there are. "
            "Put one there."
        )
    min_age, marker = config.ready
    source = WatchSource(
        columns=columns,
        stored=stored or None,
        splits=config.splits,
        disorder=config.disorder,
        idle_after=config.idle,
        patterns=tuple(os.path.abspath(path) if is_local(path) else path for path in patterns),
        format=known.name,
        min_age=min_age,
        marker=marker,
        poll=config.poll,
    )
    return StreamInput(pipeline, columns, stored or columns.as_stored(), f"watch:{name}", _reading(source))


def _refuse_watched_output(patterns: tuple[str, ...], output: str) -> None:
    """What the stream publishes must not come in again."""
    for pattern in single_patterns(patterns):
        if is_local(pattern) and is_local(output) and can_match_in(pattern, output):
            raise InputError(
                f"watch:{pattern}: it can match what is in the output {output}, which the stream would read again: use "
                f"another --output, or a narrower pattern"
            )


def _watched_format(patterns: tuple[str, ...], format: str | None) -> tuple[Format, list[FileEntry]]:
    """The format of what will come, by what is there or by the patterns; and what is there."""
    for pattern in patterns:
        folder = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        folder = folder if os.path.isdir(folder) else os.path.dirname(folder)
        if is_local(pattern) and folder and not os.path.isdir(folder):
            raise InputError(f"watch:{pattern}: there is no folder {folder!r}")
    try:
        files = match_files(patterns, format)
        return input_format(files, format), files
    except NothingFoundError:
        by_name = {known.name: known for known in map(format_of, patterns) if known}
        if format is None and len(by_name) != 1:
            raise InputError(
                f"watch:{','.join(patterns)}: no file is there yet, and the pattern doesn't tell its format. "
                "Use --format=NAME."
            ) from None
        return (input_format((), format) if format else next(iter(by_name.values()))), []


def _kafka(pipeline: beam.Pipeline, config: Any, parts: tuple[str, ...], columns: Columns) -> StreamInput:
    named = _TOPIC.fullmatch(",".join(parts))
    if named is None:
        raise UsageError(f"--input=kafka://{','.join(parts)}: write kafka://HOST:PORT[,HOST:PORT]/TOPIC")
    topic = Topic(named[1], named[2], config.kafka_config)
    values = _values(config)
    partitions, sample = sample_values(topic)
    stored = values.stored(sample)
    if not stored.names:
        if columns.carry == ALL:
            raise InputError(
                f"{topic}: the job carries all columns, and the topic has no message yet that tells which there are"
            )
        stored = columns.as_stored()
    resolve(columns, stored, str(topic), stored)
    source = KafkaSource(
        columns=columns,
        stored=stored,
        splits=min(len(partitions), MAX_CONSUMERS),
        disorder=config.disorder,
        idle_after=config.idle,
        topic=topic,
        values=values,
        start=config.kafka_start,
    )
    return StreamInput(pipeline, columns, stored, str(topic), _reading(source))


def _pubsub(pipeline: beam.Pipeline, config: Any, parts: tuple[str, ...], columns: Columns) -> StreamInput:
    path = ",".join(parts)
    if not _SUBSCRIPTION.fullmatch(path):
        raise UsageError(
            f"--input=pubsub://{path}: write pubsub://projects/PROJECT/subscriptions/NAME, or .../topics/NAME"
        )
    if not _has_client():
        raise InputError(f"pubsub://{path}: needs Google's client: pip install 'beam-etl[gcp]'")
    values = _values(config)
    stored = stored_columns(values, columns)
    resolve(columns, stored, f"pubsub://{path}", stored)
    make: Read = lambda wanted: ReadPubSub(path=path, values=values, columns=wanted, stored=stored)  # noqa: E731
    return StreamInput(pipeline, columns, stored, f"pubsub://{path}", make, has_clock=False)


def _reading(source: StreamSource, read: Callable[..., beam.PTransform] = ReadStream) -> Read:
    return lambda columns: read(source=replace(source, columns=columns))


def _has_client() -> bool:
    from apache_beam.io.gcp import pubsub

    return pubsub.pubsub is not None


def _values(config: Any) -> Values:
    return avro_values(config.avro_schema) if config.avro_schema else JsonValues()


_OPEN: dict[str, Callable[[beam.Pipeline, Any, tuple[str, ...], Columns], StreamInput]] = {
    "replay": _replay,
    "watch": _watch,
    "kafka": _kafka,
    "pubsub": _pubsub,
}
