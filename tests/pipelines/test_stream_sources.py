"""`--input=replay:`, `watch:`, `kafka://` and `pubsub://`: what is opened, and what is refused and why."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from confluent_kafka import Producer

from beam_etl import schema
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.errors import InputError
from beam_etl.io.read import Documents
from beam_etl.io.streams import pubsub
from beam_etl.io.streams.replay import PlayInProcess
from beam_etl.io.streams.source import ReadStream
from beam_etl.io.streams.values import JsonValues
from beam_etl.kernels.windows import WindowSpec
from beam_etl.pipelines import flags, stream_sources
from beam_etl.pipelines.flags import UsageError
from beam_etl.pipelines.stream_config import SCHEMES, source_of
from beam_etl.pipelines.stream_sources import StreamInput, is_stream, open_stream
from beam_etl.pipelines.stream_support import RUNS, SUPPORT, refuse_unsupported, short, support_table
from beam_etl.pipelines.window_config import WindowConfig
from beam_etl.pipelines.windowed import WindowedSource
from tests.io.streams.contract import table
from tests.streams import MINUTE, Event, play
from tests.streams import documents as stream_documents

DOCS = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True, kw_only=True)
class Config(WindowConfig):
    """A job's."""

    everything: bool = flags.flag("carries all columns", default=False)

    @property
    def columns(self) -> Columns:
        return self.read_as((schema.ID, schema.TEXT), carry=ALL if self.everything else ())


def configured(input: str, *more: str) -> Config:
    given = [f"--input={input}", "--output=/nowhere", "--runner=flink", *more]
    return flags.parse(Config, given, "job", "")[0]


def opened(input: str, *more: str) -> StreamInput:
    return open_stream(beam.Pipeline(runner=BundleBasedDirectRunner()), configured(input, *more))


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    pq.write_table(table(100), tmp_path / "a.parquet")
    return tmp_path


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused", "log_level": 0})
    for row in table(20).to_pylist():
        producer.produce("filled", json.dumps({**row, "time": row["time"].isoformat()}), partition=1)
    producer.flush(10)
    producer.list_topics("empty", timeout=10)
    yield ",".join(f"{each.host}:{each.port}" for each in producer.list_topics(timeout=10).brokers.values())
    del producer


CELLS = [(source, engine) for source, engines in SUPPORT.items() for engine in engines]


@pytest.mark.parametrize(("source", "engine"), CELLS, ids=[f"{source}-{engine}" for source, engine in CELLS])
def test_what_does_not_run_is_refused_with_the_reason(source: str, engine: str) -> None:
    said = SUPPORT[source][engine]
    if said in RUNS:
        refuse_unsupported(source, short(engine))
        return
    with pytest.raises(UsageError) as refused:
        refuse_unsupported(source, short(engine))
    assert said in str(refused.value)
    assert SCHEMES[source] in str(refused.value)


def test_the_table_is_in_the_docs() -> None:
    assert support_table() in (DOCS / "streaming.md").read_text(encoding="utf-8")


def test_an_engine_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(UsageError, match="nobody has looked"):
        refuse_unsupported("kafka", "PrismRunner")


@pytest.mark.parametrize(
    ("given", "source"),
    [
        (("a.parquet",), None),
        (("s3://bucket/watch:x",), None),
        (("replay:in", "b"), "replay"),
        (("watch:/in/*.jsonl",), "watch"),
        (("kafka://a:1", "b:2/t"), "kafka"),
        (("pubsub://projects/p/topics/t",), "pubsub"),
        ((), None),
    ],
)
def test_a_scheme_tells_the_source(given: tuple[str, ...], source: str | None) -> None:
    assert source_of(given) == source
    assert is_stream(given) == (source is not None)


@pytest.mark.parametrize(
    ("input", "flag", "said"),
    [
        ("in", "--kafka_start=latest", "--kafka_start needs --input=kafka://"),
        ("watch:in", "--replay_speed=2", "--replay_speed needs --input=replay:"),
        ("in", "--idle_after=5m", "--idle_after needs --input=replay: or watch: or kafka://"),
        ("replay:in", "--avro_schema=x", "--avro_schema needs --input=kafka:// or pubsub://..."),
        ("watch:in", "--watch_poll=5", "--watch_poll=5: '5' is no duration"),
        ("replay:in", "--stream_splits=0", "--stream_splits must be at least 1"),
        ("replay:in", "--replay_speed=-1", "--replay_speed and --replay_seed are 0 or more"),
    ],
)
def test_flags_that_do_not_fit_are_refused(input: str, flag: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        configured(input, flag)
    assert said in str(refused.value)


def test_durations_and_rules_are_read() -> None:
    config = configured("watch:in", "--idle_after=never", "--watch_ready=.done", "--watch_poll=500ms")
    assert (config.idle, config.ready, config.poll) == (None, (None, ".done"), 0.5)
    config = configured("watch:in", "--idle_after=2m")
    assert (config.idle, config.ready, config.poll) == (120_000_000, (10.0, ""), 5.0)


@pytest.mark.parametrize(
    ("flags", "splits"),
    [
        ((), 4),
        (("--idle_after=never",), 1),
        (("--idle_after=never", "--stream_splits=3"), 3),
        (("--stream_splits=2",), 2),
    ],
    ids=["default", "never", "never, as asked", "as asked"],
)
def test_a_folder_that_is_never_idle_is_one_split_so_that_none_is_without_files(
    tmp_path: Path, flags: tuple[str, ...], splits: int
) -> None:
    read = opened(f"watch:{tmp_path}/*.jsonl", *flags).read
    assert isinstance(read, ReadStream)
    assert len(read.source.split(1)) == splits


def test_files_stay_files() -> None:
    assert configured("in/*.parquet").input == ("in/*.parquet",)


@pytest.mark.parametrize("everything", ["true", "false"])
def test_a_replay_is_opened_and_tells_of_its_files(documents: Path, everything: str) -> None:
    source = opened(f"replay:{documents}", f"--everything={everything}", "--replay_disorder=5m")
    assert isinstance(source.read, ReadStream)
    assert source.unbounded
    assert not source.replayable
    assert source.told_documents() == 100
    assert sum(batch.num_rows for batch in source.sample(1 << 20).batches) == 100
    assert schema.TIME in source.read.source.columns.needed


def test_in_process_a_replay_is_played(documents: Path, tmp_path: Path) -> None:
    given = [f"--input=replay:{documents}", f"--output={tmp_path}/out", "--runner=BundleBasedDirectRunner"]
    config = flags.parse(Config, [*given, "--replay_speed=1000"], "job", "")[0]
    written = tmp_path / "kept"
    options = PipelineOptions(["--streaming"])
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        source = open_stream(pipeline, config)
        assert isinstance(source.read, PlayInProcess)
        documents_read, _, _ = source.documents()
        _ = documents_read | beam.Map(_keep, path=str(written))
    assert sorted(written.read_text().split()) == sorted(f"d{row}" for row in range(100))


def _keep(batch: pa.RecordBatch, path: str) -> None:
    with open(path, "a") as file:
        file.write("".join(f"{one}\n" for one in batch.column(schema.ID).to_pylist()))


def test_a_replay_that_memory_does_not_hold_is_refused(
    documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_sources, "MAX_REPLAYED_BYTES", 1000)
    with pytest.raises(InputError, match="a replay holds at most"):
        opened(f"replay:{documents}")


def test_a_folder_is_watched_before_anything_is_in_it(tmp_path: Path) -> None:
    source = opened(f"watch:{tmp_path}/*.jsonl")
    assert source.read.source.format == "jsonl"
    assert opened(f"watch:{tmp_path}", "--format=parquet").read.source.format == "parquet"


WRONG: dict[str, tuple[str, tuple[str, ...], str]] = {
    "no folder": ("watch:{folder}/none/*.jsonl", (), "there is no folder"),
    "no format": ("watch:{folder}", (), "Use --format=NAME"),
    "all columns of nothing": ("watch:{folder}/*.jsonl", ("--everything=true",), "no file is there yet"),
    "no column": ("replay:{folder}/p.parquet", ("--time_column=when",), "no column 'when'"),
    "topic": ("kafka://host:9092", (), "write kafka://HOST:PORT"),
    "column of a topic": ("kafka://{brokers}/filled", ("--text_column=body",), "no column 'body'"),
    "all columns of an empty topic": ("kafka://{brokers}/empty", ("--everything=true",), "no message yet"),
    "settings": ("kafka://{brokers}/filled", ("--kafka_config={folder}/none",), "can't be read"),
    "nothing to replay": ("replay:{folder}/none", (), "no file"),
}


@pytest.mark.parametrize(("input", "more", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_opened_is_told_at_the_start(
    tmp_path: Path, brokers: str, input: str, more: tuple[str, ...], said: str
) -> None:
    if input.endswith("p.parquet"):
        pq.write_table(table(3), tmp_path / "p.parquet")
    fill: Callable[[str], str] = lambda text: text.format(folder=tmp_path, brokers=brokers)  # noqa: E731
    with pytest.raises((InputError, UsageError)) as refused:
        opened(fill(input), *map(fill, more))
    assert said in str(refused.value)


def test_a_topic_is_opened_with_a_split_for_each_partition(brokers: str) -> None:
    source = opened(f"kafka://{brokers}/filled", "--everything=true", "--kafka_start=latest")
    assert source.read.source.splits == 4
    assert source.stored_schema.names == ["id", "time", "text"]
    assert opened(f"kafka://{brokers}/empty").stored_schema.names == ["id", "text", "time"]


@pytest.mark.parametrize(
    ("input", "said"),
    [("pubsub://p/t", "write pubsub://projects"), ("pubsub://projects/p/topics/t", "needs Google's client")],
)
def test_pubsub_is_refused_where_it_is_not_there(
    input: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_sources, "_has_client", lambda: False)
    with pytest.raises((InputError, UsageError), match=said):
        opened(input, "--runner=dataflow")


def test_messages_of_pubsub_are_documents_and_rejects() -> None:
    values = [
        *(json.dumps({"id": f"m{row}", "time": "2026-01-01", "text": "x"}) for row in range(5)),
        "no json",
    ]
    values.append('{"id": "late", "text": "x", "time": null}')
    columns = Columns(needed=(schema.ID, schema.TIME, schema.TEXT))
    work = pubsub._Decode("pubsub://s", JsonValues(), columns, columns.as_stored())
    work.start_bundle()
    for number, value in enumerate(values):
        assert not list(
            work.process(_Message(str(number), value.encode()), beam.utils.timestamp.Timestamp(9))
        )
    found = list(work.finish_bundle())
    rows = [row for one in found if hasattr(one, "windows") for row in one.value.to_pylist()]
    rejects = [row for one in found if hasattr(one, "tag") for row in one.value.value.to_pylist()]
    assert [row[schema.ID] for row in rows] == [f"m{row}" for row in range(5)]
    assert {row["position"] for row in rejects} == {pubsub.position_of("5"), pubsub.position_of("6")}
    assert list(work.finish_bundle()) == []


@dataclass
class _Clockless:
    """A source without splits, as Pub/Sub is."""

    read: beam.PCollection
    has_clock = False

    def documents(self, columns: Columns | None = None, again: bool = False) -> Documents:
        none = self.read | "No rejects" >> beam.FlatMap(lambda batch: [])
        return Documents(self.read, none, None)


def test_documents_without_a_clock_are_gated_and_what_is_late_reaches_its_table() -> None:
    early, late = (
        stream_documents([time], id=[name]) for time, name in ((MINUTE // 2, "a"), (MINUTE // 3, "late"))
    )
    next_one = stream_documents([5 * MINUTE], id=["b"])
    events = [Event(early, 3 * MINUTE), Event(late), Event(next_one)]
    spec = WindowSpec(size=MINUTE, period=MINUTE)

    def build(batches: beam.PCollection) -> dict[str, beam.PCollection]:
        documents, rejects, _ = WindowedSource(_Clockless(batches), spec, 0).documents()
        grouped = {}
        for name, rows in (("documents", documents), ("rejects", rejects)):
            pairs = rows | f"Key {name}" >> beam.Map(lambda batch: (0, batch))
            groups = pairs | f"Group {name}" >> beam.GroupByKey()
            grouped[name] = groups | f"Rows {name}" >> beam.FlatMap(lambda pair: list(pair[1]))
        return grouped

    played = play(events, build)
    assert sorted(row[schema.ID] for row in played["documents"]) == ["a", "b"]
    assert len(played["rejects"]) == 1


@dataclass
class _Message:
    message_id: str
    data: bytes


def test_a_pattern_that_matches_what_the_stream_writes_is_refused(documents: Path) -> None:
    output = documents / "out"
    with pytest.raises(InputError, match="it can match what is in the output"):
        opened(f"watch:{documents}/**/*.parquet", f"--output={output}")
    opened(f"watch:{documents}/*.parquet", f"--output={output}")
