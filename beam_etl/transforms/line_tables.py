"""Tables of repeated lines as files of a run: written by whoever finds some, put together once, and held by workers."""

import os
import secrets
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.repeated_lines import WHERE, LineRule, Repeated, repeated
from beam_etl.transforms.batches import merge_batches
from beam_etl.transforms.gathering import GatherBatches
from beam_etl.transforms.link_files import Files
from beam_etl.transforms.metrics import StepMetrics

FAILURES = "failures"
"""Tag of an output."""

REPEATED_LINES = "repeated_lines"
"""Counter: distinct lines or paragraphs that go."""

GATHERED_BYTES = 64 << 20
"""Of repeated lines, in one file."""

WRITTEN_LINES = 1 << 20
"""Of a file, written at once."""


class LineFile(NamedTuple):
    """A file of repeated lines: their hashes, and then the addresses that they are kept at, if any."""

    path: str
    lines: int


class WriteRepeated(GatherBatches):
    """What a bundle gathers, as a file of a unique name in `folder`: a LineFile."""

    def __init__(self, rule: LineRule, folder: str, files: Files) -> None:
        super().__init__(GATHERED_BYTES)
        self._rule, self._folder, self._files = rule, folder, files

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[LineFile]:
        found = repeated(merge_batches(batches), self._rule)
        if found.hashes.size:
            yield write_lines(found, self._folder, self._files)


class PutTogether(beam.DoFn):
    """All files as one, ascending: a LineFile. A failure where there are more lines than a process may hold.

    It has in memory what a process holds of them, `held_bytes` each, and a file besides.
    """

    def __init__(self, rule: LineRule, folder: str, files: Files, memory: int) -> None:
        self._rule, self._folder, self._files, self._memory = rule, folder, files, memory
        self._metrics = StepMetrics()

    def process(self, files: list[LineFile]) -> Iterator[Any]:
        lines = sum(file.lines for file in files)
        self._metrics.add(REPEATED_LINES, lines)
        needed = lines * self._rule.held_bytes
        if needed > self._memory:
            yield beam.pvalue.TaggedOutput(FAILURES, _too_many(lines, needed, self._rule))
            files = []
        try:
            with self._metrics.timing():
                yield self._together(files)
        except FileNotFoundError as error:
            yield beam.pvalue.TaggedOutput(FAILURES, told_gone(error))
            yield LineFile("", 0)

    def _together(self, files: list[LineFile]) -> LineFile:
        if not files:
            return LineFile("", 0)
        hashes = self._column(files, "hashes")
        order = np.argsort(hashes) if self._kept else None
        if order is None:
            hashes.sort()
        path = _new_path(self._folder)
        with self._files.create(path) as file:
            _write_column(file, hashes, order)
            del hashes
            if order is not None:
                _write_column(file, self._column(files, "firsts"), order)
        return LineFile(path, sum(part.lines for part in files))

    @property
    def _kept(self) -> bool:
        return WHERE in self._rule.counts.names

    def _column(self, files: list[LineFile], name: str) -> npt.NDArray[np.uint64]:
        """A column of Repeated, of one file after the other."""
        column = np.empty(sum(file.lines for file in files), np.uint64)
        at = 0
        for file in files:
            column[at : at + file.lines] = getattr(read_lines(file, self._rule, self._files), name)
            at += file.lines
        return column


def _too_many(lines: int, needed: int, rule: LineRule) -> str:
    return (
        f"{lines:,} distinct {rule.unit}s occur more than {rule.more_than} times; each process would hold {needed:,} "
        f"bytes of their hashes. Set memory={needed}, a higher more_than or min_length, or keep=none, which takes half."
    )


def told_gone(error: FileNotFoundError) -> str:
    """Why repeated lines can't be used. An engine that tried the step again wouldn't find them either."""
    return (
        f"{error.filename or error} was written by this run, and is gone. Workers on several machines need a "
        f"folder that all of them see."
    )


def write_lines(found: Repeated, folder: str, files: Files) -> LineFile:
    """A new file of repeated lines."""
    path = _new_path(folder)
    with files.create(path) as file:
        for column in found:
            if column is not None:
                _write_column(file, column)
    return LineFile(path, found.hashes.size)


def _new_path(folder: str) -> str:
    return f"{folder}/lines-{secrets.token_hex(8)}.u64"


def _write_column(
    file: Any, column: npt.NDArray[np.uint64], order: npt.NDArray[np.intp] | None = None
) -> None:
    """Adds a column to a file, in this order, some of it at a time."""
    for start in range(0, column.size, WRITTEN_LINES):
        some = slice(start, start + WRITTEN_LINES)
        file.write((column[some] if order is None else column[order[some]]).astype("<u8").tobytes())


def read_lines(file: LineFile, rule: LineRule, files: Files) -> Repeated:
    """What is in a file; one of this machine is mapped, so that its processes share it.

    Raises:
      FileNotFoundError: it is gone.
    """
    if not file.lines:
        return Repeated(
            np.empty(0, np.uint64), np.empty(0, np.uint64) if WHERE in rule.counts.names else None
        )
    if os.path.isfile(file.path):
        stored: Any = np.asarray(np.memmap(file.path, "<u8", "r"))
    else:
        with files.open(file.path) as opened:
            stored = np.frombuffer(opened.read(), "<u8")
    kept = WHERE in rule.counts.names
    return Repeated(stored[: file.lines], stored[file.lines :] if kept else None)


class Table:
    """A table that is in memory, or mapped, while whoever got it holds it."""

    def __init__(self, file: LineFile, lines: Repeated) -> None:
        self.file, self.lines = file, lines


class _Held:
    """The tables that steps of this process hold: each once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: WeakValueDictionary[tuple[LineFile, str], Table] = WeakValueDictionary()

    def get(self, file: LineFile, rule: LineRule, files: Files) -> Table:
        with self._lock:
            key = file, rule.keep
            table = self._tables.get(key)
            if table is None:
                table = self._tables[key] = Table(file, read_lines(file, rule, files))
            return table


HELD = _Held()
"""Whatever the threads and steps of this process."""
