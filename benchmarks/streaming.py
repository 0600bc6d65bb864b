"""Streams on a Flink cluster of this machine: throughput, delay, remembered documents, batches of messages; one run.

    python -m benchmarks.streaming --corpora=FOLDER --peers=PEERS_ENVIRONMENT [--corpus=2gb] [--cases=sustained,...]

CORPORA holds the folder of --corpus that benchmarks.corpus makes. Needs Java and Maven. The cluster has two task
managers of two slots; it is started before the first case, and stopped after the last. Some two minutes a case.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Producer

from beam_etl.engines.flink import cluster
from beam_etl.engines.flink.rest import FlinkRest
from benchmarks.arriving import (
    MARKER,
    MICROSECONDS,
    START,
    WINDOW_SECONDS,
    Windows,
    drawn,
    drawn_windows,
    live,
    one_file_a_window,
)
from benchmarks.bench import Bench, Row, parser, run
from benchmarks.engines import running as flink
from benchmarks.measure import measure
from benchmarks.streams import LOOK_SECONDS, Published, ended_at_last, lasted, published_panes, running
from tests.kafka_broker import Broker, broker

SUSTAINED_BOUND, DELAY_BOUND, MESSAGES_BOUND, REMEMBERED_BOUND = 0.5, 10, 10, 0.7
STATE_BOUND = 16 * 24 + 128
"""Bytes of a remembered document, besides its id."""

WINDOWS = 160
"""That a corpus is cut into. The first and last tenth aren't sustained."""
WINDOW = f"--window=fixed:{WINDOW_SECONDS}s"
STREAM = (f"--watch_ready={MARKER}", "--watch_poll=1s", "--idle_after=never", "--stream_splits=2")
WAIT_SECONDS = 300

LIVE_WINDOW, LIVE_WINDOWS = 10, 6
"""Seconds of a window, and how many are waited for."""
SHARE, FILES_A_SECOND = 10, 2
"""Live documents come at the sustained rate through this, in so many files."""
LIVE_DISORDER = 1

PARTITIONS, MESSAGE_WORDS, MESSAGES_A_WINDOW = 4, 10, 40_000
FEW, SOME, MANY = 120_000, 280_000, 2_040_000
"""Messages of each topic: the first tells what a start takes, the others are read beside it."""

REMEMBERED, REMEMBERED_ROWS = 1_000_000, 100_000
"""Documents, and those of a window."""
COMPARED = 2
"""Windows whose rates are compared: those after the first one, and those after REMEMBERED documents."""
ID_BYTES = 13


@dataclass(frozen=True)
class StreamBench(Bench):
    """With a cluster."""

    corpus: str
    found: cluster.Running = field(kw_only=True)

    @property
    def engine(self) -> list[str]:
        return ["--runner=flink", *self.found.flags(), "--parallelism=2"]

    def stream(self, pipeline: str, source: str, *flags: str, output: str) -> list[str]:
        """One of our pipelines on a stream."""
        given = [f"--input={source}", f"--output={self.work / output}", "--idle_after=never", *flags]
        return [sys.executable, "-m", f"beam_etl.pipelines.{pipeline}", *given, *self.engine]

    def watch(self, pipeline: str, folder: Path, *flags: str, output: str) -> list[str]:
        """The same on files that arrive in a folder."""
        return self.stream(pipeline, f"watch:{folder}/*.parquet", *STREAM, *flags, output=output)

    def documents(self) -> Windows:
        """The corpus, with times."""
        return one_file_a_window(self.corpora / self.corpus, self.work / "documents", WINDOWS)


def sustained(bench: StreamBench) -> Iterator[Row]:
    """Words by language and window from files: a stream beside the batch job, and how soon panes are published."""
    given = bench.documents()
    files = sorted(given.folder.glob("*.parquet"))
    half = ",".join(map(str, files[: len(files) // 2]))
    measure(
        [*bench.job("token_count", files[0], WINDOW, output="batch"), *bench.engine], 1
    )  # its processes are there then
    seconds = []
    for name, source in (("half of the files", half), ("all files", str(given.folder))):
        command = [*bench.job("token_count", Path(source), WINDOW, output="batch"), *bench.engine]
        measured = measure(command, bench.runs)
        seconds.append(measured.seconds)
        yield f"batch, {name}", measured, ""
    batch, more = (
        sum(given.bytes) / seconds[1],
        sum(given.bytes[len(files) // 2 :]) / (seconds[1] - seconds[0]),
    )
    size, took = _sustained(bench, given)
    note = (
        f"{size / took / 1e6:.0f} MB/s: {size / took / batch:.2f}x the batch job (bound {SUSTAINED_BOUND}), which does "
        f"{batch / 1e6:.0f} MB/s, and {more / 1e6:.0f} MB/s of the second half of the files"
    )
    yield f"stream, {size / 1e9:.2f} GB of text in its middle", lasted(took), note
    rate = size / took / SHARE
    delays = _delays(bench, files[0], rate)
    yield (
        f"pane after its window's close, at {rate / 1e6:.1f} MB/s: the worst of {len(delays)}",
        lasted(delays[-1]),
        f"median {delays[len(delays) // 2]:.1f} s (bound {DELAY_BOUND})",
    )


def _sustained(bench: StreamBench, given: Windows) -> tuple[int, float]:
    """Bytes of text that a stream counted between its first and its last tenth, and the seconds that took."""
    first, last = len(given.rows) // 10, len(given.rows) - len(given.rows) // 10
    command = bench.watch("token_count", given.folder, WINDOW, output="stream")
    with running(command, bench.work / "stream") as stream:
        panes = stream.wait(lambda panes: len(panes) > last, WAIT_SECONDS)
    at = [ended_at_last(panes, window_end(number)) for number in (first, last)]
    return sum(given.bytes[first + 1 : last + 1]), at[1] - at[0]


def window_end(number: int) -> int:
    """Of the windows of `arriving`, in microseconds."""
    return START + (number + 1) * WINDOW_SECONDS * MICROSECONDS


def _delays(bench: StreamBench, source: Path, rate: float) -> list[float]:
    """Seconds from when a window's last document may come to when its pane is published, ascending."""
    folder = bench.work / "live"
    flags = (f"--window=fixed:{LIVE_WINDOW}s", f"--max_disorder={LIVE_DISORDER}s")
    command = bench.watch("token_count", folder, *flags, output="delays")
    with live(source, folder, rate, FILES_A_SECOND), running(command, bench.work / "delays") as stream:
        panes = stream.wait(lambda panes: len(_on_the_run(panes)) >= LIVE_WINDOWS, WAIT_SECONDS)
    return sorted(pane.at - pane.end / MICROSECONDS - LIVE_DISORDER for pane in _on_the_run(panes))


def _on_the_run(panes: Sequence[Published]) -> list[Published]:
    """Those of windows that closed when the job had caught up with what came while it started."""
    began = min((pane.at for pane in panes), default=0)
    return [pane for pane in panes if pane.end / MICROSECONDS > began]


def remembered(bench: StreamBench) -> Iterator[Row]:
    """Near-duplicates among short documents, in process: with little remembered, and after a million documents."""
    count = 1 + REMEMBERED // REMEMBERED_ROWS + COMPARED
    given = drawn_windows(bench.work / "drawn", count, REMEMBERED_ROWS)
    flags = [
        f"--input=replay:{given.folder}/*.parquet",
        f"--output={bench.work / 'unique'}",
        "--stream_splits=1",
    ]
    flags += [WINDOW, "--remember=365d", "--remember_partitions=16", "--runner=BundleBasedDirectRunner"]
    ran = measure([sys.executable, "-m", "benchmarks.remembering", *flags], 1)
    yield f"{count * REMEMBERED_ROWS:,} documents", ran, ""
    panes = published_panes(bench.work / "unique")
    rates = []
    for first in (0, count - 1 - COMPARED):
        at = [ended_at_last(panes, window_end(number)) for number in (first, first + COMPARED)]
        rates.append(COMPARED * REMEMBERED_ROWS / (at[1] - at[0]))
        known = f"{rates[-1]:,.0f} documents a second"
        yield (
            f"{COMPARED} windows after {(first + 1) * REMEMBERED_ROWS:,} documents",
            lasted(at[1] - at[0]),
            known,
        )
    a_document = int(ran.stdout.split()[-1]) / (count * REMEMBERED_ROWS)
    note = (
        f"{rates[1] / rates[0]:.2f}x the rate with little remembered (bound {REMEMBERED_BOUND}); state "
        f"{a_document:.0f} bytes a document, with an id of {ID_BYTES} (bound {STATE_BOUND + ID_BYTES})"
    )
    yield "the two compared", ran, note


def messages(bench: StreamBench) -> Iterator[Row]:
    """Words of small messages of Kafka: many of them a batch, and each of them an element. Starting is taken off."""
    folder = bench.work / "kafka"
    folder.mkdir()
    rates = []
    with broker(folder) as kafka:
        for count in (FEW, SOME, MANY):
            size = _fill(kafka, count)
        for name, took, more in (("in batches", _in_batches, MANY), ("an element each", _one_by_one, SOME)):
            seconds = took(bench, kafka, more) - took(bench, kafka, FEW)
            rates.append((more - FEW) / seconds)
            yield (
                f"{more - FEW:,} messages of {size:.0f} bytes, {name}",
                lasted(seconds),
                f"{rates[-1]:,.0f} a second",
            )
    yield "batches to elements", lasted(0), f"{rates[0] / rates[1]:.1f}x (bound {MESSAGES_BOUND})"


def topic(count: int) -> str:
    """The name of the topic that has so many messages."""
    return f"messages-{count}"


def windows_of(count: int) -> int:
    """How many windows of so many messages close: the last two of each topic wait for later ones."""
    return count // MESSAGES_A_WINDOW - 2


def _fill(kafka: Broker, count: int) -> float:
    """A topic with messages in the order of their times, spread over partitions; the mean of their bytes."""
    kafka.create(topic(count), PARTITIONS)
    producer = Producer(
        {"bootstrap.servers": kafka.address, "linger.ms": 20, "queue.buffering.max.messages": 500_000}
    )
    size, step = 0, WINDOW_SECONDS * MICROSECONDS // MESSAGES_A_WINDOW
    for number, row in enumerate(drawn(0, count, MESSAGE_WORDS).to_pylist()):
        at = START + number * step
        value = json.dumps({**row, "language": "en", "time": at}).encode()
        producer.produce(topic(count), value, partition=number % PARTITIONS, timestamp=at // 1000)
        size += len(value)
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush(60)
    return size / count


def _in_batches(bench: StreamBench, kafka: Broker, count: int) -> float:
    """Seconds from the start of a job to the last pane."""
    output, began = bench.work / topic(count), time.time()
    source = f"kafka://{kafka.address}/{topic(count)}"
    command = bench.stream("token_count", source, WINDOW, "--time_unit=us", output=output.name)
    with running(command, output) as stream:
        panes = stream.wait(lambda panes: len(panes) >= windows_of(count), WAIT_SECONDS)
    return max(pane.at for pane in panes) - began


def _one_by_one(bench: StreamBench, kafka: Broker, count: int) -> float:
    """The same of a pipeline with an element a message."""
    folder, began = bench.work / f"one-by-one-{count}", time.time()
    folder.mkdir()
    given = [kafka.address, topic(count), str(PARTITIONS), str(folder), str(WINDOW_SECONDS)]
    flags = [*bench.found.flags(), "--parallelism=2", f"--state_backend_storage_path=file://{folder}/state"]
    start = "from benchmarks.message_pipeline import main; main()"
    try:
        with running([sys.executable, "-c", start, *given, *flags], folder) as stream:
            while len(found := _summed(folder)) < windows_of(count):
                if stream.process.poll() is not None or time.time() > began + WAIT_SECONDS:
                    raise RuntimeError(f"{len(found)} windows, and no more came:\n{stream.said}")
                time.sleep(LOOK_SECONDS)
    finally:  # its launcher leaves it
        rest = FlinkRest(bench.found.rest)
        rest.cancel(rest.jobs()[-1].id)
    return max(found) - began


def _summed(folder: Path) -> list[float]:
    """When each window was summed."""
    lines = [line for path in folder.iterdir() if path.is_file() for line in path.read_text().splitlines()]
    return [float(line.split()[0]) for line in lines]


CASES = {case.__name__: case for case in (sustained, remembered, messages)}


def main() -> None:
    """Runs the cases that were asked for, and prints a table of each."""
    made = parser(__doc__, list(CASES))
    made.add_argument("--corpus", default="2gb")
    made.add_argument("--folder", default=".bench/flink")
    given = made.parse_args()
    with flink(given.folder) as given.found:
        run(StreamBench, CASES, given)


if __name__ == "__main__":
    main()
