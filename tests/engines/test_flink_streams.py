"""A stream on Flink: killed, stopped with a savepoint, started again with late data waiting, and drained."""

import datetime
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.engines.flink import cluster
from beam_etl.engines.flink.cluster import Running
from beam_etl.engines.flink.jars import Jars
from beam_etl.io import manifest
from beam_etl.io.panes import PANE
from beam_etl.pipelines import token_count
from tests.engines import launching
from tests.engines.clusters import command
from tests.engines.faults import kill, wait_for
from tests.engines.launching import Launched

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
MINUTE = 60 * 10**6
WINDOW = ["--window=fixed:10m", "--max_disorder=2m", "--allowed_lateness=1d"]
STREAM = [
    *WINDOW,
    *("--stream_splits=1", "--watch_ready=.done", "--watch_poll=500ms"),
    "--checkpointing_interval=1000",
]


@pytest.fixture(scope="module")
def running(flink_jars: Jars, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cluster that is damaged."""
    folder = str(tmp_path_factory.mktemp("flink") / "cluster")
    try:
        yield cluster.start(folder, task_managers=1, slots=2, say=print)
    finally:
        cluster.stop(folder)


@dataclass
class Arriving:
    """A folder in which documents arrive, and the dataset that a stream makes of them."""

    place: Path
    rows: int
    files: int = 0

    @property
    def input(self) -> Path:
        return self.place / "in"

    @property
    def output(self) -> Path:
        return self.place / "out"

    def arrive(self, first: int, last: int) -> None:
        """A file of documents from one minute up to another."""
        random = np.random.default_rng(self.files)
        times = np.sort(random.integers(first * MINUTE, last * MINUTE, self.rows))
        self.input.mkdir(exist_ok=True)
        path = self.input / f"{self.files:03d}.parquet"
        table = {
            "id": [f"{self.files}-{row}" for row in range(self.rows)],
            "language": random.choice(["en", "de", "fr"], self.rows),
            "time": pa.array(np.datetime64(START.replace(tzinfo=None), "us") + times),
            "text": [" ".join(["word"] * count) for count in random.integers(0, 9, self.rows).tolist()],
        }
        pq.write_table(pa.table(table), path)
        Path(f"{path}.done").touch()
        self.files += 1

    def panes(self) -> list[tuple[int, str]]:
        """Minute and timing of those published."""
        versions = [
            manifest.version(str(self.output), number) for number in manifest.numbers(str(self.output))
        ]
        first = int(START.timestamp()) * 10**6
        told = [version.about[PANE] for version in versions if PANE in version.about]
        return [((pane["start"] - first) // MINUTE, pane["timing"]) for pane in told]

    def wait_for(self, minute: int, timing: str) -> None:
        wait_for(f"{timing} of minute {minute}", lambda: (minute, timing) in self.panes() or None)


def counts(dataset: Path) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Documents, bytes and tokens of each window and language; fails where one is there twice."""
    current, found = manifest.latest(str(dataset)), {}
    assert current is not None
    for file in current.table("counts"):
        for row in pq.ParquetFile(dataset / file.path).read().to_pylist():
            key = row["window_start"], row["window_end"], row["language"]
            assert key not in found
            found[key] = row["documents"], row["bytes"], row["tokens"]
    return found


def workers(running: Running) -> list[int]:
    """SDK workers that the pool has started, the newest last."""
    log = Path(running.folder, "log", "pool.log").read_text(encoding="utf-8")
    return [int(number) for number in re.findall(r"process (\d+) started", log)]


def start(running: Running, arriving: Arriving, name: str, *more: str) -> Launched:
    flags = [f"--input=watch:{arriving.input}/*.parquet", f"--output={arriving.output}", *STREAM, *more]
    log = arriving.place / f"{name}.log"
    return launching.launch("token_count", [*flags, *launching.on(running, 1)], log)


def control(running: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = command(*arguments, "token_count-", f"--folder={running.folder}")
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "rounds"),
    [
        pytest.param(200, 0, id="no kills"),
        pytest.param(200, 1, marks=pytest.mark.long, id="two kills"),
        pytest.param(20_000, 3, marks=pytest.mark.long, id="six kills"),
    ],
)
def test_every_document_is_in_one_place_whatever_happens_to_the_stream(
    rows: int, rounds: int, running: Running, tmp_path: Path
) -> None:
    arriving, minute = Arriving(tmp_path, rows), 0
    arriving.arrive(0, 25)
    launched = start(running, arriving, "first")
    arriving.wait_for(10, "on time")
    for _ in range(rounds):
        kill(workers(running)[-1])
        arriving.arrive(minute + 25, minute + 45)
        arriving.wait_for(minute + 30, "on time")
        kill(cluster.running(running.folder).process("taskmanager-1").pid)  # type: ignore[union-attr]
        cluster.restart(running.folder, "taskmanager-1")
        arriving.arrive(minute + 45, minute + 75)
        arriving.wait_for(minute + 60, "on time")
        minute += 50
    savepoint = control(running, "savepoint", "--stop=true").stdout.strip()
    launched.succeed()
    before = counts(arriving.output)
    arriving.arrive(0, 20)
    again = start(running, arriving, "again", f"--savepoint_path={savepoint}")
    arriving.wait_for(0, "late")
    assert before.keys() <= counts(arriving.output).keys()
    control(running, "drain")
    again.succeed()
    assert token_count.run([f"--input={arriving.input}", f"--output={tmp_path / 'batch'}", *WINDOW]) == 0
    assert counts(arriving.output) == counts(tmp_path / "batch")
    assert sum(documents for documents, _, _ in counts(arriving.output).values()) == rows * arriving.files


@pytest.mark.slow
def test_a_signal_stops_a_stream_with_a_savepoint_and_says_what_is_published(
    running: Running, tmp_path: Path
) -> None:
    arriving = Arriving(tmp_path, 100)
    arriving.arrive(0, 25)
    launched = start(running, arriving, "stopped")
    arriving.wait_for(10, "on time")
    launched.process.terminate()
    assert launched.wait(60) == 128 + 15
    assert "published: 2 windows from 2026-01-01T00:00:00Z to 2026-01-01T00:20:00Z" in launched.said
    assert re.search(
        r"--savepoint_path=file:\S+/_staging/[0-9a-f]{12}/savepoints/savepoint-\S+", launched.said
    )
