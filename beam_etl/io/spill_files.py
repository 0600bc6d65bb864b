"""Files of batches that a run puts down: Arrow streams one behind the other, each of a table, as `Spilled` tells.

A file that has all that was made of one input split ends with a record: JSON that names the split, what was read of it,
and the streams; then the SHA-256 of that JSON, its length (8 bytes, little-endian), and a mark. Without it a file is
nothing: its process died. So what a run that died has finished of its input is known from its folder alone.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pyarrow as pa

from beam_etl import schema
from beam_etl.io import staging
from beam_etl.io.data_files import HashedFile
from beam_etl.io.formats import Split
from beam_etl.io.stores import Sink, store_of
from beam_etl.kernels.byte_size import byte_size
from beam_etl.kernels.compaction import compact

SPILL_BYTES = 64 << 20
"""Of a stream, compressed: what one worker reads at a time."""

HELD_BYTES = 8 << 20
"""Of rows without an address, which are few: so many are put together to be written as one batch."""

_CODEC = "lz4"
"""Of buffers: several times faster than a disk, and read once."""

_CHECKERS = 8
"""Files whose checksums are made at the same time."""

_OF_SPLIT = "split-"
_MARK = b"BEAMETL1"
_END = 32 + 8 + len(_MARK)
"""Bytes behind a record."""


class Spilled(NamedTuple):
    """A stream of batches in a file."""

    table: str
    path: str
    """Of the whole file."""
    rows: int
    bytes: int
    sha256: str
    first: int = 0
    """The smallest address of its rows, where they have one. They ascend, and no other stream has one in between."""
    begins: int = 0
    """Where in the file."""
    split: str = ""
    """The name of the split, where the file has all of one."""
    lasts: bool = True
    """False where what was read speaks against the run, or a later one may read more: it doesn't take this over."""


class SpillFile:
    """A file that is being written.

    Rows with an address are written as they come, and those of other tables behind them.

    Args:
      path: of a new file.
      most: a stream is ended at so many bytes.
    """

    def __init__(self, path: str, most: int = SPILL_BYTES) -> None:
        self.path, self._most = path, most
        self._sink: Sink = store_of(path).open_new(path)
        self._stream: _Stream | None = None
        self._held: dict[str, list[pa.RecordBatch]] = {}
        self._held_bytes = 0
        self.size = 0
        self._streams: list[Spilled] = []

    def write(self, table: str, batch: pa.RecordBatch) -> None:
        """Adds a batch, which has rows."""
        batch = compact(batch)
        if (span := _span(batch)) is not None:
            self._add(table, batch, span)
            return
        self._held.setdefault(table, []).append(batch)
        self._held_bytes += byte_size(batch)
        if self._held_bytes >= HELD_BYTES:
            self._write_held()

    def close(self) -> list[Spilled]:
        """Ends the file: its streams."""
        self._finish()
        self._sink.close()
        return self._streams

    def close_split(self, split: Split, documents: int, lasts: bool) -> list[Spilled]:
        """Ends the file of a split: its streams.

        Args:
          split: all that was made of it is in the file.
          documents: that were read of it.
          lasts: whether a later run may take it over. It reads a split again that couldn't be read at all.
        """
        self._finish()
        if lasts and not split.problem:
            told = SplitFile(split.name, documents, split.stop - split.start, tuple(self._streams))
            self._sink.write(_record(told))
        self._sink.close()
        return [stream._replace(split=split.name, lasts=lasts) for stream in self._streams]

    def release(self) -> None:
        """Leaves it unfinished."""
        self._sink.abort()

    def _finish(self) -> None:
        self._write_held()
        self._end_stream()

    def _write_held(self) -> None:
        for table, batches in self._held.items():
            for same in _of_one_schema(batches):
                self._add(table, pa.concat_batches(same), None)
        self._held, self._held_bytes = {}, 0

    def _add(self, table: str, batch: pa.RecordBatch, span: tuple[int, int] | None) -> None:
        if self._stream is None or not self._stream.takes(table, batch, span, self._most):
            self._end_stream()
            self._stream = _Stream(self._sink, table, batch.schema, span)
        self._stream.write(batch, span)

    def _end_stream(self) -> None:
        if self._stream is not None:
            stream = self._stream.close(self.path, self.size)
            self._streams.append(stream)
            self.size += stream.bytes
            self._stream = None


class _Part(HashedFile):
    """A part of a file, hashed by itself."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(None)
        self._sink = sink

    def write(self, data: object) -> int:
        super().write(data)
        return self._sink.write(data)


class _Stream:
    def __init__(self, sink: Sink, table: str, columns: pa.Schema, span: tuple[int, int] | None) -> None:
        self._table, self._schema = table, columns
        self._first = self._last = None if span is None else span[0]
        self._rows = 0
        self._part = _Part(sink)
        options = pa.ipc.IpcWriteOptions(compression=_CODEC, emit_dictionary_deltas=False)
        self._writer = pa.ipc.new_stream(self._part, columns, options=options)

    def takes(self, table: str, batch: pa.RecordBatch, span: tuple[int, int] | None, most: int) -> bool:
        """Whether a batch can go on here: of the same split, behind what was written, where rows have addresses."""
        same = table == self._table and batch.schema.equals(self._schema, check_metadata=True)
        if not same or self._part.size >= most:
            return False
        if span is None or self._last is None:
            return True
        return schema.SPLIT_METADATA in (batch.schema.metadata or {}) and self._last < span[0]

    def write(self, batch: pa.RecordBatch, span: tuple[int, int] | None) -> None:
        self._writer.write_batch(batch)
        self._rows += batch.num_rows
        if span is not None:
            self._last = span[1]

    def close(self, path: str, begins: int) -> Spilled:
        self._writer.close()
        digest = self._part.close()
        return Spilled(self._table, path, self._rows, self._part.size, digest, self._first or 0, begins)


def _span(batch: pa.RecordBatch) -> tuple[int, int] | None:
    """First and last address."""
    if schema.ADDRESS not in batch.schema.names:
        return None
    addresses = batch.column(schema.ADDRESS)
    return addresses[0].as_py(), addresses[-1].as_py()


def _of_one_schema(batches: Sequence[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Neighbours that have one."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if held and not batch.schema.equals(held[0].schema, check_metadata=True):
            yield held
            held = []
        held.append(batch)
    yield held


def read_spilled(spilled: Spilled) -> Iterator[pa.RecordBatch]:
    """The batches of a stream."""
    with store_of(spilled.path).open_file(spilled.path) as file:
        file.seek(spilled.begins)
        with pa.ipc.open_stream(file) as reader:
            yield from reader


class SplitFile(NamedTuple):
    """A file that has all that was made of an input split."""

    split: str
    """Its name."""
    documents: int
    """That were read."""
    bytes: int
    """Of the split, as it is stored."""
    streams: tuple[Spilled, ...]


def split_path(folder: str, split: Split) -> str:
    """A new name for the file of a split."""
    return os.path.join(folder, f"{_OF_SPLIT}{split.name}-{staging.new_attempt()}{staging.PUT_DOWN}")


def _record(file: SplitFile) -> bytes:
    streams = [stream._replace(path="") for stream in file.streams]
    told = json.dumps(file._replace(streams=tuple(streams))).encode()
    return told + hashlib.sha256(told).digest() + len(told).to_bytes(8, "little") + _MARK


class FoundSplits(NamedTuple):
    """What a run finds of the splits that an earlier one had finished."""

    files: tuple[SplitFile, ...]
    """One for each split."""
    damaged: tuple[str, ...]
    """What is wrong with other files, for people."""


def find_splits(folder: str, check: bool = True) -> FoundSplits:
    """The splits that are finished in a folder, and if asked for, every byte of their files checked.

    A split that was worked on twice has two files, of which one counts.
    """
    names = [name for name in store_of(folder).names(folder) if name.startswith(_OF_SPLIT)]
    with ThreadPoolExecutor(_CHECKERS) as pool:
        found = list(pool.map(lambda name: _look(os.path.join(folder, name), check), names))
    whole = {file.split: file for file in reversed(found) if isinstance(file, SplitFile)}
    return FoundSplits(tuple(whole.values()), tuple(why for why in found if isinstance(why, str)))


def _look(path: str, check: bool) -> SplitFile | str | None:
    """What a file has; what is wrong with it; None where its process died before it was whole, or it is gone."""
    try:
        size = store_of(path).look(path).bytes
        with store_of(path).open_file(path) as file:
            file.seek(max(size - _END, 0))
            end = file.read(_END)
            if len(end) < _END or end[-len(_MARK) :] != _MARK:
                return None
            length = min(int.from_bytes(end[32:40], "little"), size - _END)
            file.seek(size - _END - length)
            told = file.read(length)
    except FileNotFoundError:
        return None
    if hashlib.sha256(told).digest() != end[:32]:
        return f"{path} isn't as it was written (SHA-256 of its record)"
    split, documents, of_input, streams = json.loads(told)
    made = (Spilled(*stream)._replace(path=path, split=split) for stream in streams)
    whole = SplitFile(split, documents, of_input, tuple(made))
    wrong = (damage(stream) for stream in whole.streams) if check else iter(())
    return next((why for why in wrong if why), None) or whole


def tell_streams(path: str, streams: Sequence[Spilled], **more: Any) -> None:
    """Writes a file beside theirs that tells of them, and more."""
    named = [stream._replace(path=os.path.basename(stream.path)) for stream in streams]
    told = json.dumps({"streams": named, **more}, ensure_ascii=False)
    store_of(path).write(path, told.encode())


def told_streams(path: str) -> tuple[list[Spilled], dict[str, Any]]:
    """The streams that such a file tells of, and all that is in it.

    Raises:
      ValueError, TypeError, KeyError: it isn't as it was written.
    """
    folder, told = os.path.dirname(path), json.loads(store_of(path).read(path))
    streams = [Spilled(*stream) for stream in told["streams"]]
    return [stream._replace(path=os.path.join(folder, stream.path)) for stream in streams], told


def first_damage(streams: Iterable[Spilled]) -> str | None:
    """What is wrong with the first of them that isn't as it was written; None where all are."""
    with ThreadPoolExecutor(_CHECKERS) as pool:
        return next((reason for reason in pool.map(damage, streams) if reason), None)


def damage(stream: Spilled) -> str | None:
    """What is wrong with a stream."""
    digest, left = hashlib.sha256(), stream.bytes
    try:
        with store_of(stream.path).open_file(stream.path) as stored:
            stored.seek(stream.begins)
            while left and (piece := stored.read(min(1 << 20, left))):
                digest.update(piece)
                left -= len(piece)
    except FileNotFoundError:
        return f"{stream.path} is gone"
    return None if digest.hexdigest() == stream.sha256 else f"{stream.path} isn't as it was written (SHA-256)"
