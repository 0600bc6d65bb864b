"""What every source that doesn't end promises, as its readers are driven by an engine that may stop anywhere."""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP

from beam_etl import schema
from beam_etl.io.streams import cursors
from beam_etl.io.streams.source import Mark, StreamReader, StreamSource, separate
from beam_etl.transforms.batches import RecordBatchCoder

Rows = list[dict[str, Any]]


@dataclass
class Driven:
    """What came of a split."""

    rows: Rows = field(default_factory=list)
    rejects: Rows = field(default_factory=list)
    marks: list[bytes] = field(default_factory=list)
    watermark: Any = MIN_TIMESTAMP

    def take(self, reader: StreamReader) -> None:
        """The element that a reader has now. Its rows are checked against what the split said before."""
        coder = RecordBatchCoder()  # an engine may send it to the next step
        documents, rejects, clock = separate(coder.decode(coder.encode(reader.get_current())))
        if documents is not None:
            assert documents.num_rows > 0
            rows = documents.to_pylist()
            assert reader.get_current_timestamp().micros == min(micros(row[schema.TIME]) for row in rows)
            for row in rows:
                row["held"] = micros(row[schema.TIME]) >= (self.watermark.micros if self.watermark else 0)
            self.rows += rows
        self.rejects += rejects.to_pylist() if rejects is not None else []
        watermark = reader.get_watermark()
        assert watermark >= self.watermark, "a watermark went back"
        if self.watermark > MIN_TIMESTAMP:
            assert clock >= self.watermark.micros, "rejects would be behind the watermark"
        self.watermark = watermark


def micros(moment: Any) -> int:
    return round(moment.timestamp() * 1_000_000)


def drive(
    source: StreamSource,
    done: Callable[[Driven], bool],
    chance: float = 0.0,
    seed: int = 0,
    fresh: bool = False,
    seconds: float = 20.0,
) -> Driven:
    """Reads one split until it ends or `done`.

    Args:
      source: the split.
      done: tells when all is there.
      chance: that an engine takes a checkpoint after a piece, and makes a new reader from its bytes.
      seed: of the chances.
      fresh: what old readers had open is gone then, as in another process.
      seconds: until it must be done.
    """
    chosen, coder, driven = random.Random(seed), source.get_checkpoint_mark_coder(), Driven()
    reader = source.create_reader(None, None)
    deadline = time.monotonic() + seconds
    try:
        while not done(driven) and driven.watermark < MAX_TIMESTAMP:
            assert time.monotonic() < deadline, (
                f"{len(driven.rows)} rows and {len(driven.rejects)} rejects came"
            )
            if reader.advance():
                driven.take(reader)
            else:
                assert reader.get_watermark() >= driven.watermark
                driven.watermark = reader.get_watermark()
                time.sleep(0.01)
            if chosen.random() < chance:
                driven.marks.append(coder.encode(reader.get_checkpoint_mark()))
                reader.close()
                if fresh:
                    forget()
                reader = source.create_reader(None, coder.decode(driven.marks[-1]))
    finally:
        driven.marks.append(coder.encode(reader.get_checkpoint_mark()))
        reader.close()
        forget()
    return driven


def forget() -> None:
    """Closes what waits for readers to come, as the end of a process does."""
    cursors.PARKING.close()


def check_clocks(rows: Rows, disorder: int) -> None:
    """The clock of each row is the largest time before it, less the disorder: of one lane that was never idle."""
    largest: int | None = None
    for row in rows:
        clock = row[schema.CLOCK]
        assert (clock is None) == (largest is None)
        assert largest is None or micros(clock) == largest - disorder
        largest = max(micros(row[schema.TIME]), largest) if largest is not None else micros(row[schema.TIME])


def check_in_bound(rows: Rows, disorder: int) -> None:
    """No watermark was ahead of a row that is at most `disorder` behind the largest time before it."""
    largest: int | None = None
    for row in rows:
        time = micros(row[schema.TIME])
        if largest is None or time >= largest - disorder:
            assert row["held"], row
        largest = time if largest is None else max(largest, time)


def mark_of(encoded: bytes) -> Mark:
    """A mark without its coder, to look into."""
    return Mark(*json.loads(encoded))


def ids(rows: Rows) -> list[str]:
    return [row[schema.ID] for row in rows]


def table(rows: int, disorder: int = 0, seed: int = 1, start: int = 1_700_000_000_000_000) -> pa.Table:
    """Documents a second apart, each up to `disorder` microseconds earlier."""
    chosen = random.Random(seed)
    times = [start + row * 1_000_000 - chosen.randrange(disorder + 1) for row in range(rows)]
    return pa.table(
        {
            "id": [f"d{row}" for row in range(rows)],
            "time": pa.array(times, pa.timestamp("us", "UTC")),
            "text": [f"text of {row}" for row in range(rows)],
        }
    )
