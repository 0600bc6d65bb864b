"""What streams are measured on: files of documents in the order of their times, one for each window."""

import datetime
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

WINDOW_SECONDS = 600
MICROSECONDS = 1_000_000
START = int(datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc).timestamp()) * MICROSECONDS
MARKER = ".done"
"""What is beside a file that is complete."""

SHORT_WORDS = 40
"""Of a document whose text is drawn."""
COPIES_EVERY = 10
"""One drawn document of so many is one of the same file again."""

_VOCABULARY = 50_000


@dataclass(frozen=True)
class Windows:
    """A folder with a file for each of some windows, one after another."""

    folder: Path
    rows: tuple[int, ...]
    """Of each window,"""
    bytes: tuple[int, ...]
    """and of its texts."""


def one_file_a_window(source: Path, output: Path, windows: int) -> Windows:
    """The documents of a folder, with times, in so many files; rows of one file of the source stay together."""
    output.mkdir()
    parts = _parts(source, windows)
    rows, sizes = [], []
    for number, table in enumerate(parts):
        write(_timed(table, number), output / f"{number:06}.parquet")
        rows.append(table.num_rows)
        sizes.append(text_bytes(table))
    return Windows(output, tuple(rows), tuple(sizes))


def drawn_windows(output: Path, windows: int, rows: int) -> Windows:
    """Short documents of words that are drawn: so many in each of some windows."""
    output.mkdir()
    sizes = []
    for number in range(windows):
        table = drawn(number, rows)
        write(_timed(table, number), output / f"{number:06}.parquet")
        sizes.append(text_bytes(table))
    return Windows(output, (rows,) * windows, tuple(sizes))


@contextmanager
def live(source: Path, output: Path, rate: float, files_a_second: int) -> Iterator[None]:
    """While inside, documents of a file arrive again and again: so many bytes of text a second, their time is now."""
    output.mkdir()
    table = pq.read_table(source).drop_columns(["time"])
    size = rate / files_a_second
    table = pa.concat_tables([table] * (1 + int(size / text_bytes(table))))
    table = table.slice(0, max(1, round(table.num_rows * size / text_bytes(table))))
    ended = threading.Event()

    def arrive() -> None:
        began, number = time.time(), 0
        while not ended.wait(max(0.0, began + number / files_a_second - time.time())):
            first = time.time() - 1 / files_a_second
            rows = with_times(table, int(first * MICROSECONDS), 1 / files_a_second)
            write(rows, output / f"{number:06}.parquet")
            number += 1

    thread = threading.Thread(target=arrive)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def drawn(number: int, rows: int) -> pa.Table:
    """Short documents, all different but for the copies; other ones for each number."""
    random = np.random.default_rng(number)
    ranks = (random.random(rows * SHORT_WORDS) ** 3 * _VOCABULARY).astype(np.int32)
    words = pa.array([f"word{rank:05}" for rank in range(_VOCABULARY)]).take(pa.array(ranks))
    offsets = np.arange(0, (rows + 1) * SHORT_WORDS, SHORT_WORDS, dtype=np.int32)
    texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), words), " ")
    which = np.arange(rows)
    which[::COPIES_EVERY] = which[1::COPIES_EVERY][: len(which[::COPIES_EVERY])]
    ids = [f"{number:06}-{row:06}" for row in range(rows)]
    return pa.table({"id": ids, "text": texts.take(pa.array(which)).cast(pa.large_string())})


def write(table: pa.Table, path: Path) -> None:
    """A file that is complete when its marker is there."""
    pq.write_table(table, path, compression="zstd")
    Path(f"{path}{MARKER}").touch()


def text_bytes(table: pa.Table) -> int:
    """Bytes of all texts."""
    return int(pc.sum(pc.binary_length(table.column("text"))).as_py() or 0)


def with_times(table: pa.Table, first: int, seconds: float) -> pa.Table:
    """The rows one after another within so many seconds from `first` on, in microseconds."""
    times = first + (np.arange(table.num_rows) * (seconds * MICROSECONDS) // table.num_rows).astype(np.int64)
    return table.append_column("time", pa.array(times).cast(pa.timestamp("us", "UTC")))


def _timed(table: pa.Table, number: int) -> pa.Table:
    return with_times(table, START + number * WINDOW_SECONDS * MICROSECONDS, WINDOW_SECONDS)


def _parts(source: Path, most: int) -> Iterator[pa.Table]:
    """The rows of a folder's files in `most` parts at most, alike in bytes of files."""
    files = sorted(source.glob("*.parquet"))
    each = sum(map(os.path.getsize, files)) / most
    for path in files:
        table = pq.read_table(path).drop_columns(["date"])
        parts = max(1, int(os.path.getsize(path) / each))
        size = -(-table.num_rows // parts)
        yield from (table.slice(first, size) for first in range(0, table.num_rows, size))
