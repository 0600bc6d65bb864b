"""Files of a stream: runs that bundles stage, and the files of panes that are made of them."""

import datetime
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
from apache_beam.transforms.window import IntervalWindow

from beam_etl.io import staging
from beam_etl.io.data_files import Finished, OpenFile, stored_rows, working_folder, write_files
from beam_etl.io.file_lists import DataFile, Pane
from beam_etl.io.formats import Format
from beam_etl.io.stores import store_of
from beam_etl.transforms.batches import merge_batches, split_batch
from beam_etl.transforms.metrics import BYTES_OUT, ROWS_OUT, StepMetrics

SMALL_BYTES = 64 << 10
"""Runs of fewer stored bytes meet in one file a pane; larger ones in LANES."""

LANES = 16
"""Workers that make files of a pane of one table, at most: so many files, and one of what is small."""

RUNS_FOLDER = "_runs"
"""Below the stream's staging folder."""

_LZ4 = pa.ipc.IpcWriteOptions(compression="lz4")
_MICROSECOND = datetime.timedelta(microseconds=1)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


@dataclass(frozen=True)
class PaneFiles:
    """Where files of the stream are made."""

    output: str
    stream: str
    format: Format
    file_bytes: int

    def write(
        self, batches: Iterable[pa.RecordBatch], table: str, place: "Place", metrics: StepMetrics
    ) -> Iterator[Finished]:
        """The rows in files of at most about `file_bytes`, each with what the manifest tells of it."""
        folder, attempt = f"{table}/{folder_of(place.window.start.micros)}", staging.new_attempt()

        def opened(number: int, columns: pa.Schema) -> OpenFile:
            name = staging.file_name(number, self.stream, attempt, self.format.suffix)
            writer = partial(self.format.writer, columns=columns)
            return OpenFile(self.output, self.stream, f"{folder}/{name}", columns, writer, append=True)

        for file, columns in write_files(batches, opened, self.file_bytes, metrics):
            metrics.add(ROWS_OUT, file.rows)
            metrics.add(BYTES_OUT, file.bytes)
            yield replace(file, pane=place.pane(self.stream)), columns

    def stage(self, batches: Iterable[pa.RecordBatch], table: str) -> Finished:
        """The rows as a run: what the window's firing makes files of.

        Raises:
          AbandonedError: the stream was given up, while a job still writes to it. Its rows would be lost.
        """
        rows = merge_batches(map(stored_rows, batches))
        folder = working_folder(self.output, self.stream, RUNS_FOLDER, append=True)
        if folder is None:
            raise staging.AbandonedError(
                f"{self.output}: the stream {self.stream} was given up, and this job takes in rows of it. Cancel it."
            )
        name, content = f"{staging.new_attempt()}.arrow", pa.BufferOutputStream()
        with pa.ipc.new_file(content, rows.schema, options=_LZ4) as writer:
            for part in split_batch(rows):
                writer.write_batch(part)
        buffer = content.getvalue()
        file = store_of(folder).open_new(os.path.join(folder, name))
        file.write(buffer)
        file.close()
        return DataFile(table, f"{RUNS_FOLDER}/{name}", rows.num_rows, buffer.size, ""), {}

    def read(self, run: DataFile) -> Iterator[pa.RecordBatch]:
        """The rows of a run.

        Raises:
          FileNotFoundError: it is gone. The checkpoint that named it is older than files are kept.
        """
        path = os.path.join(staging.staging_folder(self.output, self.stream), run.path)
        with store_of(path).open_file(path) as source:
            file = pa.ipc.open_file(source)
            for number in range(file.num_record_batches):
                yield file.get_batch(number)


@dataclass(frozen=True)
class Place:
    """What a bundle keeps apart."""

    window: IntervalWindow
    partition: int | None = None
    firing: int | None = None

    def pane(self, stream: str) -> Pane:
        """Which the commit completes: it knows the number."""
        return Pane(
            stream, self.window.start.micros, self.window.end.micros, -1, "", self.partition, self.firing
        )


def lane_of(run: Finished) -> bytes:
    """Which worker makes files of a run: one of all that is small, so that a pane has few files."""
    file, _ = run
    digest = hashlib.blake2b(file.path.encode(), digest_size=1).digest()[0]
    return f"{file.table}/{0 if file.bytes < SMALL_BYTES else 1 + digest % LANES}".encode()


def folder_of(start: int) -> str:
    """The folder of a window below its table, by its start in microseconds since 1970."""
    time = _EPOCH + start * _MICROSECOND
    digits = f"{time:%f}" if start % 1_000_000 else ""
    return f"date={time:%Y-%m-%d}/window={time:%Y%m%dT%H%M%S}{digits}Z"


def latest_firings(files: Iterable[DataFile]) -> tuple[DataFile, ...]:
    """The files without those of accumulating results that a later firing among them takes the place of."""
    found = list(files)
    latest: dict[tuple[str, int | None], int] = {}
    for file in found:
        if file.pane and file.pane.firing is not None:
            key = file.table, file.pane.partition
            latest[key] = max(latest.get(key, 0), file.pane.firing)
    return tuple(
        file
        for file in found
        if not file.pane
        or file.pane.firing is None
        or file.pane.firing == latest[file.table, file.pane.partition]
    )
