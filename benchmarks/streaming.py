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
from beam_etl.transforms.remembering import REMEMBERED_BYTES
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
from benchmarks.streams import Published, ended_at_last, lasted, running
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

TOPIC, PARTITIONS, MESSAGES = "documents", 4, 400_000
MESSAGES_A_WINDOW = 10_000
ONE_BY_ONE = 4
"""Windows that are waited for where each message is an element."""

REMEMBERED, REMEMBERED_ROWS, REMEMBERED_PARTITIONS = 1_000_000, 20_000, 16
"""Documents, those of a window, and the parts of what is remembered."""
COMPARED = 5
"""Windows whose rates are compared: the first but one and so on, and as many after REMEMBERED documents."""


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
    """Near-duplicates among short documents: the rate with nothing remembered, and after a million documents."""
    count = REMEMBERED // REMEMBERED_ROWS + COMPARED + 3
    given = drawn_windows(bench.work / "drawn", count, REMEMBERED_ROWS)
    flags = (WINDOW, "--remember=365d", f"--remember_partitions={REMEMBERED_PARTITIONS}")
    command = bench.watch("dedup", given.folder, *flags, output="unique")
    with running(command, bench.work / "unique") as stream:
        panes = stream.wait(lambda panes: len(panes) >= count - 1, 2 * WAIT_SECONDS)
        a_document = _remembered_bytes(bench, sum(given.rows[: count - 1]))
    took = []
    for first in (1, count - 2 - COMPARED):
        at = [ended_at_last(panes, window_end(number)) for number in (first, first + COMPARED)]
        took.append(at[1] - at[0])
        yield (
            f"{COMPARED * REMEMBERED_ROWS:,} documents after {(first + 1) * REMEMBERED_ROWS:,}",
            lasted(took[-1]),
            "",
        )
    note = f"{took[0] / took[1]:.2f}x the rate with little remembered (bound {REMEMBERED_BOUND})"
    yield "the same, compared", lasted(took[1]), note
    yield (
        "state",
        lasted(0),
        f"{a_document:.0f} bytes a document, with an id of 13 (bound {STATE_BOUND + 13})",
    )


def _remembered_bytes(bench: StreamBench, documents: int) -> float:
    """State of a document: of the largest partition of each step, as it is now."""
    rest = FlinkRest(bench.found.rest)
    found = rest.user_metrics(rest.jobs()[-1].id).distributions
    largest = [each.largest for (_, _, name), each in found.items() if name == REMEMBERED_BYTES]
    return sum(largest) * REMEMBERED_PARTITIONS / documents


def messages(bench: StreamBench) -> Iterator[Row]:
    """Words of small messages of Kafka: many of them a batch, and each of them an element."""
    folder = bench.work / "kafka"
    folder.mkdir()
    with broker(folder) as kafka:
        size = _fill(kafka)
        flags = (WINDOW, "--time_unit=us")
        command = bench.stream("token_count", f"kafka://{kafka.address}/{TOPIC}", *flags, output="messages")
        wanted = MESSAGES // MESSAGES_A_WINDOW - 2
        with running(command, bench.work / "messages") as stream:
            panes = stream.wait(lambda panes: len(panes) >= wanted, WAIT_SECONDS)
        batches = _messages_a_second([pane.at for pane in panes])
        one_by_one = _messages_a_second(_one_by_one(bench, kafka))
    yield f"{size:.0f} bytes a message, in batches", lasted(1), f"{batches:,.0f} a second"
    note = f"{one_by_one:,.0f} a second; batches {batches / one_by_one:.1f}x (bound {MESSAGES_BOUND})"
    yield "an element each", lasted(1), note


def _messages_a_second(published: list[float]) -> float:
    return (len(published) - 1) * MESSAGES_A_WINDOW / (max(published) - min(published))


def _fill(kafka: Broker) -> float:
    """Messages in the order of their times, spread over partitions; the mean of their bytes."""
    kafka.create(TOPIC, PARTITIONS)
    producer = Producer(
        {"bootstrap.servers": kafka.address, "linger.ms": 20, "queue.buffering.max.messages": 500_000}
    )
    size = 0
    step = WINDOW_SECONDS * MICROSECONDS // MESSAGES_A_WINDOW
    for number, row in enumerate(drawn(0, MESSAGES).to_pylist()):
        at = START + number * step
        value = json.dumps({**row, "language": "en", "time": at}).encode()
        producer.produce(TOPIC, value, partition=number % PARTITIONS, timestamp=at // 1000)
        size += len(value)
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush(60)
    return size / MESSAGES


def _one_by_one(bench: StreamBench, kafka: Broker) -> list[float]:
    """When each window was summed."""
    folder = bench.work / "one_by_one"
    folder.mkdir()
    given = [kafka.address, TOPIC, str(PARTITIONS), str(folder), str(WINDOW_SECONDS)]
    flags = [*bench.found.flags(), "--parallelism=2", f"--state_backend_storage_path=file://{folder}/state"]
    start = "from benchmarks.message_pipeline import main; main()"
    with running([sys.executable, "-c", start, *given, *flags], folder) as stream:
        deadline = time.monotonic() + WAIT_SECONDS
        while len(found := _summed(folder)) <= ONE_BY_ONE:
            if stream.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{len(found)} windows, and no more came:\n{stream.said}")
            time.sleep(0.1)
    return found


def _summed(folder: Path) -> list[float]:
    return [
        float(line.split()[0])
        for path in folder.iterdir()
        if path.is_file()
        for line in path.read_text().splitlines()
    ]


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
