"""Spilled tables: batches that a run puts down on its way, to be read again by itself or by the run that goes on.

The files lie in a folder of the dataset's staging folder that is named by what they depend on, not by the run. When all
are there, `spilled.json` names them, each with its SHA-256. So what a run that died has finished is known from its
folder alone: a folder with that file is a whole first part of the run, one without it is nothing.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl import schema
from beam_etl.io import staging
from beam_etl.io.data_files import HashedFile
from beam_etl.io.read import GROUP_FILES
from beam_etl.io.stores import store_of
from beam_etl.kernels.compaction import compact
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import Distribute, Gather

RECORD = "spilled.json"

SPILL_BYTES = 64 << 20
"""Of a file, compressed: what one worker reads at a time."""

_CODEC = "lz4"
"""Of buffers: several times faster than a disk, and read once."""

_CHECKERS = 8
"""Files whose checksums are made at the same time."""


class Spilled(NamedTuple):
    """A file of batches, as an Arrow stream."""

    table: str
    path: str
    """The whole of it."""
    rows: int
    bytes: int
    sha256: str
    first: int = 0
    """The smallest address of its rows, where they have one. They ascend, and no other file has one in between."""


@dataclass(eq=False, kw_only=True)
class SpillTables(beam.PTransform):
    """Tables as files, all of which are written, and recorded, before the first is given on. No shuffle.

    Rows with an address keep their order, and no file has such rows of two splits: a bundle may have every other one of
    a file. So their batches are to tell their split (`FileSource.documents(tell_splits=True)`); one that doesn't has a
    file of its own.

    Input: a dict of table name to batches. Output: Spilled, handed out.

    Args:
      folder: where the files and the record go.
      run: whose they are first.
      spill_bytes: a file is closed at so many.
    """

    folder: str
    run: str
    spill_bytes: int = SPILL_BYTES

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for a dict of PCollections
    def expand(self, tables: dict[str, Batches]) -> beam.PCollection[Spilled]:
        written = [
            table
            | f"Spill {name}"
            >> beam.ParDo(_Spill(self.folder, name, self.spill_bytes)).with_output_types(Spilled)
            for name, table in tables.items()
        ]
        return (
            written
            | "All spilled" >> beam.Flatten()
            | "Pack" >> beam.ParDo(_Pack()).with_output_types(bytes)
            | "Gather" >> Gather()
            | "Record" >> beam.FlatMap(_record, folder=self.folder, run=self.run).with_output_types(Spilled)
            | "Distribute" >> Distribute()
        )


class _Spill(beam.DoFn):
    def __init__(self, folder: str, table: str, most: int) -> None:
        self._folder, self._table, self._most = folder, table, most
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._file: _OpenSpill | None = None

    def process(self, batch: pa.RecordBatch) -> Iterator[Spilled]:
        if not batch.num_rows:
            return
        with self._metrics.timing():
            closed = self._write(batch)
        if closed is not None:
            yield closed

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._file is not None:
            with self._metrics.timing():
                closed = self._file.close()
            yield WindowedValue(closed, MIN_TIMESTAMP, (GlobalWindow(),))

    def _write(self, batch: pa.RecordBatch) -> Spilled | None:
        """The file before, where the batch can't go on in it."""
        self._metrics.took_in(batch)
        closed = None
        if self._file is not None and not self._file.takes(batch, self._most):
            closed, self._file = self._file.close(), None
        if self._file is None:
            name = f"{self._table}-{staging.new_attempt()}.arrows"
            self._file = _OpenSpill(os.path.join(self._folder, name), self._table, batch)
        self._file.write(batch)
        return closed


class _OpenSpill:
    def __init__(self, path: str, table: str, batch: pa.RecordBatch) -> None:
        self._path, self._table = path, table
        self._schema = batch.schema
        self._first = self._last = None if (span := _span(batch)) is None else span[0]
        self._rows = 0
        self._file = HashedFile(path)
        options = pa.ipc.IpcWriteOptions(compression=_CODEC, emit_dictionary_deltas=False)
        self._writer = pa.ipc.new_stream(self._file, batch.schema, options=options)

    def takes(self, batch: pa.RecordBatch, most: int) -> bool:
        """Whether a batch can go on here: of the same split, behind what was written, where rows have addresses."""
        if self._file.size >= most or not batch.schema.equals(self._schema, check_metadata=True):
            return False
        if (span := _span(batch)) is None or self._last is None:
            return True
        return schema.SPLIT_METADATA in (batch.schema.metadata or {}) and self._last < span[0]

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(compact(batch))
        self._rows += batch.num_rows
        if (span := _span(batch)) is not None:
            self._last = span[1]

    def close(self) -> Spilled:
        self._writer.close()
        digest = self._file.close()
        return Spilled(self._table, self._path, self._rows, self._file.size, digest, self._first or 0)


def _span(batch: pa.RecordBatch) -> tuple[int, int] | None:
    """First and last address."""
    if schema.ADDRESS not in batch.schema.names:
        return None
    addresses = batch.column(schema.ADDRESS)
    return addresses[0].as_py(), addresses[-1].as_py()


class _Pack(beam.DoFn):
    """The files of a bundle as one element."""

    def start_bundle(self) -> None:
        self._held: list[Spilled] = []

    def process(self, spilled: Spilled) -> None:
        self._held.append(spilled)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._held:
            yield WindowedValue(_packed(self._held), MIN_TIMESTAMP, (GlobalWindow(),))


def _packed(files: Sequence[Spilled]) -> bytes:
    return zlib.compress(json.dumps(files, ensure_ascii=False).encode(), 1)


def _unpacked(packed: bytes) -> list[Spilled]:
    return [Spilled(*file) for file in json.loads(zlib.decompress(packed))]


def _record(packs: list[bytes], folder: str, run: str) -> list[Spilled]:
    """All files, when what to go on from stands in the folder: in place of what an earlier run had left, if damaged."""
    files = sorted(file for pack in packs for file in _unpacked(pack))
    told = [file._replace(path=os.path.basename(file.path)) for file in files]
    staging.mark_owner(folder, run)
    store_of(folder).write(os.path.join(folder, RECORD), json.dumps(told, ensure_ascii=False).encode())
    return files


def hand_out_spilled(pipeline: beam.Pipeline, files: Sequence[Spilled]) -> beam.PCollection[Spilled]:
    """The files, one by one. They are a part of the job's description, in groups of GROUP_FILES."""
    groups = [_packed(files[at : at + GROUP_FILES]) for at in range(0, len(files), GROUP_FILES)]
    return (
        pipeline
        | "Files put down" >> beam.Create(groups, reshuffle=False)
        | "Unpack" >> beam.FlatMap(_unpacked).with_output_types(Spilled)
        | "Distribute" >> Distribute()
    )


class Found(NamedTuple):
    """What a run finds of an earlier one."""

    files: tuple[Spilled, ...]
    """None where it starts from nothing."""
    why: str = ""
    """Why what there is can't be taken over, for people."""


def find_spilled(folder: str, check: bool = True) -> Found:
    """What a run that died has left in its folder, and if asked for, every byte of it checked."""
    record = os.path.join(folder, RECORD)
    try:
        files = [Spilled(*file) for file in json.loads(store_of(folder).read(record))]
        files = [file._replace(path=os.path.join(folder, file.path)) for file in files]
    except (FileNotFoundError, NotADirectoryError):
        return Found((), "no run with this configuration and input has finished its first part")
    except (ValueError, TypeError) as error:
        return Found((), f"{record} isn't as it was written ({error})")
    if not check:
        return Found(tuple(files))
    with ThreadPoolExecutor(_CHECKERS) as pool:
        wrong = next((reason for reason in pool.map(_damage, files) if reason), None)
    return Found((), wrong) if wrong else Found(tuple(files))


def _damage(file: Spilled) -> str | None:
    """What is wrong with a file."""
    digest = hashlib.sha256()
    try:
        with store_of(file.path).open_file(file.path) as stored:
            while piece := stored.read(1 << 20):
                digest.update(piece)
    except FileNotFoundError:
        return f"{file.path} is gone"
    return None if digest.hexdigest() == file.sha256 else f"{file.path} isn't as it was written (SHA-256)"


@dataclass(eq=False, kw_only=True)
class ReadSpilled(beam.PTransform):
    """The batches of one table again, with their schema's metadata. No shuffle.

    Input: Spilled. Output: batches.

    Args:
      table: whose files.
    """

    table: str

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, spilled: beam.PCollection[Spilled]) -> Batches:
        return spilled | "Read" >> beam.ParDo(_Read(self.table)).with_output_types(pa.RecordBatch)


class _Read(beam.DoFn):
    def __init__(self, table: str) -> None:
        self._table = table
        self._metrics = StepMetrics()

    def process(self, spilled: Spilled) -> Iterator[pa.RecordBatch]:
        if spilled.table != self._table:
            return
        for batch in self._metrics.timed(read_spilled(spilled)):
            self._metrics.gave_out(batch)
            yield batch


def read_spilled(spilled: Spilled) -> Iterator[pa.RecordBatch]:
    """The batches of a file."""
    with store_of(spilled.path).open_file(spilled.path) as file, pa.ipc.open_stream(file) as reader:
        yield from reader
