"""Avro: split at its blocks, decoded by fastavro a record at a time."""

import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import fastavro
import numpy as np
import pyarrow as pa

from beam_etl.io.access import open_file
from beam_etl.io.errors import InputError, is_content_error, one_line
from beam_etl.io.formats.avro_blocks import Block, Header, block_content, read_header, scan_blocks
from beam_etl.io.formats.avro_copies import AvroCopier
from beam_etl.io.formats.avro_types import AvroTypes
from beam_etl.io.formats.avro_write import AvroWriter
from beam_etl.io.formats.base import LIMITS, Copier, FileEntry, Rows, Split, Writer, even_bytes, from_columns
from beam_etl.io.isolate import by_halves, entering
from beam_etl.io.rejects import Reject, reject_record, reject_rest
from beam_etl.transforms.batches import MAX_BYTES, MAX_ROWS

BATCH_BYTES = MAX_BYTES // 2
"""Decoded bytes after which records become a batch: Python objects of them are held as well."""


class Avro:
    """`.avro`, any codec of its specification. Position: row number, from the counts of the blocks."""

    name = "avro"
    suffixes = (".avro",)
    suffix = ".avro"
    compressible = False
    by_record = True
    inferred = False
    by_offset = False
    limits = LIMITS

    def schema(self, path: str) -> pa.Schema:
        with open_file(path) as file:
            return AvroTypes(_header(file, path).schema, self.limits.nesting).schema

    def splits(self, file: FileEntry, split_bytes: int) -> Iterator[Split]:
        """One pass over the file, that reads 36 bytes a block."""
        start = stop = first = rows = here = 0
        even = even_bytes(file.bytes, split_bytes)
        problem = ""
        try:
            with open_file(file.path) as opened:
                header = _header(opened, file.path)
                start = stop = header.length
                for block in scan_blocks(opened, header, start, file.bytes):
                    part = (stop + block.stop) // 2 // even
                    if part != here and stop > start:
                        yield Split(file, start, stop, first, rows - first)
                        start, first = stop, rows
                    rows, stop, here = rows + block.records, block.stop, part
        except Exception as error:
            if not is_content_error(error):
                raise
            problem = one_line(error)
        if stop > start:
            yield Split(file, start, stop, first, rows - first)
        if problem:
            yield Split(file, stop, file.bytes, rows, problem=problem)

    def open(self, split: Split, stored: pa.Schema | None) -> "_AvroReader":
        return _AvroReader(split, self.limits.nesting)

    def writer(self, sink: Any, columns: pa.Schema) -> Writer:
        return AvroWriter(sink, columns)

    def copy_suffix(self, path: str) -> str:
        return self.suffix

    def copier(self, sink: Any, path: str, columns: pa.Schema) -> Copier:
        with open_file(path) as file:
            header = _header(file, path)
            file.seek(0)
            return AvroCopier(sink, header, file.read(header.length))


def _header(file: Any, path: str) -> Header:
    try:
        return read_header(file)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


class Record(NamedTuple):
    """A decoded record and where its bytes are."""

    values: dict[str, Any]
    position: int
    content: bytes
    start: int
    stop: int

    def raw(self) -> bytes:
        return self.content[self.start : self.stop]


class _AvroReader:
    def __init__(self, split: Split, nesting: int) -> None:
        self._split = split
        self._file = open_file(split.file.path)
        self._header = _header(self._file, split.file.path)
        self._types = AvroTypes(self._header.schema, nesting)
        self.schema = self._types.schema

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        held: list[Record] = []
        size = 0
        with self._file:
            for found in self._decoded():
                if isinstance(found, Reject):
                    yield found
                    continue
                held.append(found)
                size += found.stop - found.start
                if size >= BATCH_BYTES or len(held) == MAX_ROWS:
                    yield from self._batch(held, names)
                    held, size = [], 0
        yield from self._batch(held, names)

    def _decoded(self) -> Iterator[Record | Reject]:
        """All records of the split, and a reject for what is damaged in each block."""
        path, position, at = self._split.file.path, self._split.first, self._split.start
        try:
            for block in scan_blocks(self._file, self._header, self._split.start, self._split.stop):
                yield from self._block(block, position)
                position, at = position + block.records, block.stop
        except Exception as error:
            if not is_content_error(error):
                raise
            # The blocks were there when the split was planned: the file has changed since.
            yield reject_rest(path, at, self._split.stop, one_line(error), position)

    def _block(self, block: Block, position: int) -> Iterator[Record | Reject]:
        path = self._split.file.path
        try:
            entering("block", block.start)
            content = block_content(self._file, self._header, block)
        except Exception as error:
            if not is_content_error(error):
                raise
            yield reject_rest(path, block.start, block.stop, one_line(error), position, block.records)
            return
        stream, start, done = io.BytesIO(content), 0, 0
        reason = "bytes behind the last record of a block"
        try:
            for done in range(block.records):
                entering("record", position + done)
                values = decode_record(stream, self._types)
                yield Record(values, position + done, content, start, stream.tell())
                start = stream.tell()
            done = block.records
        except Exception as error:
            if not is_content_error(error):
                raise
            reason = one_line(error)
        if start < len(content) or done < block.records:
            rest = reject_record(path, position + done, reason, content[start:])
            yield rest._replace(rows=block.records - done)

    def _batch(self, records: list[Record], names: Sequence[str]) -> Iterator[Rows | Reject]:
        return record_rows(self._split.file.path, records, self._types, names)


def decode_record(stream: io.BytesIO, types: AvroTypes) -> Any:
    """The values of the next record of a stream.

    Raises:
      Exception: one of CONTENT_ERRORS, when there is none.
    """
    return fastavro.schemaless_reader(stream, types.parsed, None, **_READ_OPTIONS)


def record_rows(
    path: str, records: list[Record], types: AvroTypes, names: Sequence[str]
) -> Iterator[Rows | Reject]:
    """One batch of the records whose values fit their types, and a reject for each other one."""

    def arrow(start: int, stop: int) -> pa.RecordBatch:
        values = [record.values for record in records[start:stop]]
        return from_columns({name: types.array(name, values) for name in names}, len(values))

    pieces: list[pa.RecordBatch] = []
    good: list[Record] = []
    for start, stop, result in by_halves(arrow, 0, len(records)):
        if isinstance(result, Exception):
            bad = records[start]
            yield reject_record(path, bad.position, one_line(result), bad.raw())
        else:
            pieces.append(result)
            good += records[start:stop]
    if pieces:
        positions = np.array([record.position for record in good], np.int64)
        yield Rows(
            pa.concat_batches(pieces),
            positions,
            lambda row: good[row].raw(),
            lambda which: b"".join(
                [record.raw() for record in (good if which is None else [good[row] for row in which])]
            ),
        )


_READ_OPTIONS: Any = {"handle_unicode_errors": "surrogateescape"}
"""Text that is not UTF-8 matters in columns that are asked for: Arrow refuses it, and the record is a reject."""
