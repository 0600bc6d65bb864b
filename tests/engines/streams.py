"""Streams on Flink from a test's side: documents that arrive, and what is published of them."""

import datetime
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Producer

from beam_etl.engines.flink.cluster import Running
from beam_etl.io import manifest, versions
from beam_etl.io.panes import PANE
from beam_etl.pipelines import token_count
from tests.engines import launching
from tests.engines.clusters import command
from tests.engines.faults import wait_for
from tests.engines.launching import Launched

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
MINUTE = 60 * 10**6
LAG = 3
"""Minutes that windows close behind the latest document, and one more."""
WINDOW = ["--window=fixed:10m", "--max_disorder=2m", "--allowed_lateness=1d"]
STREAM = [*WINDOW, "--idle_after=never", "--checkpointing_interval=1000"]

Counts = dict[tuple[Any, ...], tuple[int, ...]]


@dataclass
class Arriving:
    """Documents that arrive, and the dataset that a stream makes of them.

    Args:
      place: for all files.
      rows: that arrive at a time.
      by: the column that documents are counted by.
    """

    place: Path
    rows: int
    by: str = "language"
    files: int = 0
    latest: int = 0
    """Minute that documents have come up to."""

    @property
    def input(self) -> Path:
        """All that has arrived, as a batch reads it."""
        return self.place / "in"

    @property
    def output(self) -> Path:
        return self.place / "out"

    @property
    def documents(self) -> int:
        return self.rows * self.files

    def flags(self) -> list[str]:
        """Those of the stream."""
        return [
            f"--input=watch:{self.input}/*.parquet",
            *("--stream_splits=1", "--watch_ready=.done", "--watch_poll=500ms"),
        ]

    def arrive(self, first: int, last: int) -> None:
        """Documents from one minute up to another."""
        random = np.random.default_rng(self.files)
        times = np.sort(random.integers(first * MINUTE, last * MINUTE, self.rows))
        self.input.mkdir(exist_ok=True)
        path = self.input / f"{self.files:03d}.parquet"
        columns = {
            "id": [f"{self.files}-{row}" for row in range(self.rows)],
            "language": random.choice(["en", "de", "fr"], self.rows),
            "time": pa.array(np.datetime64(START.replace(tzinfo=None), "us") + times),
            "text": [" ".join(["word"] * count) for count in random.integers(0, 9, self.rows).tolist()],
        }
        table = pa.table(columns)
        pq.write_table(table, path)
        self.deliver(path, table)
        self.files, self.latest = self.files + 1, max(self.latest, last)

    def deliver(self, path: Path, table: pa.Table) -> None:
        """Hands over what has arrived."""
        del table
        Path(f"{path}.done").touch()

    def panes(self) -> list[tuple[int, str]]:
        """Minute and timing of those published."""
        first = int(START.timestamp()) * 10**6
        return [((pane["start"] - first) // MINUTE, pane["timing"]) for pane in panes(self.output)]

    def wait_for(self, minute: int, timing: str) -> None:
        wait_for(f"{timing} of minute {minute}", lambda: (minute, timing) in self.panes() or None)

    def wait_for_all(self) -> None:
        """Until windows that are closed have all documents that have arrived."""
        end = START + datetime.timedelta(minutes=(self.latest - LAG) // 10 * 10)
        there = {key: found for key, found in self.counted_at_once().items() if key[1] <= end}

        def come() -> bool | None:
            time.sleep(1)  # it takes as long to look
            return missing(there, self.counted()) == 0 or None

        wait_for("all documents", come)

    def start(self, running: Running, name: str, *more: str, tasks: int = 1) -> Launched:
        flags = [*self.flags(), f"--output={self.output}", f"--by={self.by}", *STREAM, *more]
        log = self.place / f"{name}.log"
        return launching.launch("token_count", [*flags, *launching.on(running, tasks)], log)

    def counted(self) -> Counts:
        """What the stream has published."""
        return counts(self.output, self.by)

    def counted_at_once(self) -> Counts:
        """What a batch makes of the same documents."""
        dataset = self.place / "batch"
        flags = [
            f"--input={self.input}",
            f"--output={dataset}",
            f"--by={self.by}",
            "--overwrite=true",
            *WINDOW,
        ]
        assert token_count.run(flags) == 0
        return counts(dataset, self.by)


@dataclass
class Sent(Arriving):
    """Documents that arrive as messages of a topic, in turn to each of its partitions."""

    brokers: str = ""
    topic: str = ""
    partitions: int = 4
    _producer: Any = field(default=None, repr=False)

    def flags(self) -> list[str]:
        return [f"--input=kafka://{self.brokers}/{self.topic}"]

    def deliver(self, path: Path, table: pa.Table) -> None:
        """Gives them to the client, which sends them once a broker is there."""
        del path
        if self._producer is None:
            settings = {"enable.idempotence": True, "queue.buffering.max.messages": 500_000}
            self._producer = Producer({"bootstrap.servers": self.brokers, "log_level": 0, **settings})
        for place, row in enumerate(table.to_pylist()):
            value = json.dumps({**row, "time": row["time"].isoformat()})
            self._producer.produce(self.topic, value, partition=place % self.partitions)
        self._producer.poll(0)

    def sent(self) -> None:
        """Returns when the brokers have all."""
        assert self._producer.flush(120) == 0


def panes(dataset: Path) -> list[dict[str, Any]]:
    """What is told of those published whose versions are there still: of long runs not all, and some go meanwhile."""
    found = versions.read_versions(str(dataset))
    return [version.about[PANE] for version in found if PANE in version.about]


def counts(dataset: Path, by: str) -> Counts:
    """Documents, bytes and tokens of each window and group; fails where one is there twice."""
    current, found = manifest.latest(str(dataset)), {}
    assert current is not None
    for file in current.table("counts"):
        for row in pq.ParquetFile(dataset / file.path).read().to_pylist():
            key = row["window_start"], row["window_end"], row[by]
            assert key not in found
            found[key] = row["documents"], row["bytes"], row["tokens"]
    return found


def documents(counted: Counts) -> int:
    return sum(found for found, *_ in counted.values())


def missing(expected: Counts, found: Counts) -> int:
    """Documents of one that the other doesn't have."""
    nothing = (0, 0, 0)
    return sum(max(0, rows - found.get(key, nothing)[0]) for key, (rows, *_) in expected.items())


def workers(running: Running) -> list[int]:
    """SDK workers that the pool has started, the newest last."""
    log = Path(running.folder, "log", "pool.log").read_text(encoding="utf-8")
    return [int(number) for number in re.findall(r"process (\d+) started", log)]


def control(running: Running, *arguments: str, job: str = "token_count") -> str:
    """What a command about the one run of a job says."""
    done = command(*arguments, f"{job}-", f"--folder={running.folder}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
