"""Streams on a real Flink: each document once, windows that close, and checkpoints in between."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from confluent_kafka import Producer

from beam_etl.engines.flink import cluster
from beam_etl.engines.flink.options import fill
from beam_etl.engines.flink.rest import FlinkRest
from beam_etl.io.columns import Columns
from beam_etl.io.formats.base import FileEntry
from beam_etl.io.read import pack_files
from beam_etl.io.streams.kafka import KafkaSource, sample_values
from beam_etl.io.streams.kafka_client import Topic
from beam_etl.io.streams.replay import ReplaySource
from beam_etl.io.streams.source import ReadStream, StreamSource
from beam_etl.io.streams.values import JsonValues
from beam_etl.io.streams.watch import WatchSource
from beam_etl.kernels.windows import SECOND, WindowSpec
from beam_etl.transforms.windows import AssignWindows
from tests.engines.faults import wait_for
from tests.io.streams.contract import table

pytestmark = pytest.mark.slow

COLUMNS = Columns(needed=("id", "time", "text"))
ROWS = 4000
DISORDER = 60 * SECOND


@pytest.fixture(scope="module")
def stored() -> pa.Table:
    return table(ROWS, disorder=DISORDER)


@pytest.fixture
def brokers() -> Iterator[Producer]:
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused", "log_level": 0})
    yield producer
    del producer


def replayed(stored: pa.Table, folder: Path) -> ReplaySource:
    path = folder / "a.parquet"
    pq.write_table(stored, path)
    file = FileEntry(0, str(path), path.stat().st_size, path.stat().st_mtime_ns)
    return ReplaySource(
        columns=COLUMNS, files=pack_files([file]), format="parquet", name="replay:x", splits=2
    )


def watched(stored: pa.Table, folder: Path) -> WatchSource:
    for number in range(20):
        pq.write_table(
            stored.slice(number * ROWS // 20, ROWS // 20), folder / f"{number}.parquet", row_group_size=50
        )
    return WatchSource(
        columns=COLUMNS, patterns=(f"{folder}/*.parquet",), format="parquet", splits=2, min_age=0.5, poll=0.5
    )


def from_kafka(stored: pa.Table, producer: Any) -> KafkaSource:
    for place, row in enumerate(stored.to_pylist()):
        value = json.dumps({**row, "time": row["time"].isoformat()})
        producer.produce("documents", value, partition=place % 3)  # the fourth has none
    assert producer.flush(30) == 0
    brokers = producer.list_topics(timeout=10).brokers.values()
    topic = Topic(",".join(f"{each.host}:{each.port}" for each in brokers), "documents")
    partitions, sample = sample_values(topic)
    return KafkaSource(
        columns=COLUMNS, stored=JsonValues().stored(sample), topic=topic, splits=len(partitions)
    )


def start(running: cluster.Running, name: str, source: StreamSource, folder: Path) -> str:
    """A job that keeps ids as they come, and the number of rows of each window when it closes; its id on Flink."""
    out = str(folder)

    def keep(kind: str) -> Callable[[Any], None]:
        def write(line: Any) -> None:
            with open(f"{out}/{kind}-{os.getpid()}", "a") as file:
                file.write(f"{line}\n")

        return write

    state = f"--state_backend_storage_path=file://{folder}/state"
    flags = ["--streaming", "--checkpointing_interval=1000", state, "--parallelism=2", *running.flags()]
    options = PipelineOptions(["--runner=PortableRunner", *fill(flags, name)])
    pipeline = beam.Pipeline(options=options)
    documents, _, _ = pipeline | "Read" >> ReadStream(source=source)
    _ = documents | "Ids" >> beam.FlatMap(lambda batch: batch["id"].to_pylist()) | beam.Map(keep("ids"))
    minute = 60 * SECOND
    windowed = documents | AssignWindows(spec=WindowSpec(size=minute, period=minute), max_disorder=DISORDER)
    _ = (
        windowed.documents
        | "Rows" >> beam.Map(lambda batch: (0, batch.num_rows))
        | beam.GroupByKey()
        | "Sum" >> beam.MapTuple(lambda key, rows: sum(rows))
        | "Keep sums" >> beam.Map(keep("sums"))
    )
    pipeline.run()
    rest = FlinkRest(running.rest)
    return wait_for("the job", lambda: rest.find(name)).id


def kept(folder: Path, kind: str) -> list[str]:
    return [line for path in folder.glob(f"{kind}-*") for line in path.read_text().split()]


SOURCES: dict[str, Callable[[pa.Table, Path, Any], StreamSource]] = {
    "replay": lambda stored, folder, brokers: replayed(stored, folder),
    "watch": lambda stored, folder, brokers: watched(stored, folder),
    "kafka": lambda stored, folder, brokers: from_kafka(stored, brokers),
}


@pytest.mark.parametrize("kind", [pytest.param("replay", marks=pytest.mark.long), "watch", "kafka"])
def test_every_document_comes_once_and_windows_close(
    flink_cluster: cluster.Running, stored: pa.Table, tmp_path: Path, brokers: Any, kind: str
) -> None:
    given, out = tmp_path / "in", tmp_path / "out"
    given.mkdir()
    out.mkdir()
    source = replace(SOURCES[kind](stored, given, brokers), disorder=DISORDER)
    if kind != "replay":
        source = replace(source, idle_after=3 * SECOND)
    rest = FlinkRest(flink_cluster.rest)
    job = start(flink_cluster, f"sources-{kind}", source, out)
    try:
        wait_for("the documents", lambda: len(kept(out, "ids")) >= ROWS or None)
        wait_for("the windows", lambda: sum(map(int, kept(out, "sums"))) >= ROWS or None)
        assert rest.attempts(job) == 0
    finally:
        rest.cancel(job)
    assert Counter(kept(out, "ids")) == Counter(stored["id"].to_pylist())
    assert sum(map(int, kept(out, "sums"))) == ROWS
