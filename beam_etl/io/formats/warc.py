"""WARC and ARC: a document for each response or conversion, split at the records that files have offsets of."""

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics

from beam_etl import schema
from beam_etl.io.access import open_file
from beam_etl.io.errors import InputError, is_content_error, one_line
from beam_etl.io.formats.archives.cdx import Places, chosen_end, chosen_splits
from beam_etl.io.formats.archives.heads import Record
from beam_etl.io.formats.archives.members import PlainFile, open_members
from beam_etl.io.formats.archives.records import ARC_HEADER, read_records, record_places
from beam_etl.io.formats.archives.starts import START_BYTES, is_start
from beam_etl.io.formats.archives.turns import FileOutOfTurn, in_turns
from beam_etl.io.formats.base import (
    LIMITS,
    Copier,
    FileEntry,
    Format,
    Limits,
    Rows,
    Split,
    Writer,
    even_bytes,
    from_columns,
)
from beam_etl.io.formats.parquet import Parquet
from beam_etl.io.isolate import entering
from beam_etl.io.rejects import Reject, reject_record
from beam_etl.transforms.batches import MAX_BYTES, MAX_ROWS
from beam_etl.transforms.metrics import NAMESPACE

PASSED_OVER = "records_passed_over_"
"""Before the type of a record, in the name of a counter: records that are no documents."""

DENSE = "a compressed member has more records than bytes: there is no offset for this one"

PASSED_TYPES = (
    *("warcinfo", "request", "metadata", "revisit", "resource", "response", "conversion", "continuation"),
    ARC_HEADER,
)
"""Types that have a counter of their own; others share `other`."""

WHOLE_SPLITS = 4
"""A compressed file is split where it is larger than so many splits: finding its members takes decompressing it."""


class Warc:
    """`.warc` and `.arc`, .gz and .zst, by record or not: a response or conversion is a document, with a payload.

    Position: offset of the record in the file as stored; of those that begin in one compressed member, that of the
    member plus their number in it. Not written; copied as Parquet.
    """

    name = "warc"
    suffixes: tuple[str, ...] = (".warc", ".arc")
    suffix = ""
    compressible = True
    by_record = False
    inferred = False
    by_offset = True
    limits = LIMITS
    types: frozenset[str] = frozenset(("response", "conversion"))
    only: Places | None = None
    """Records that are read, of all files; None for every one."""

    @property
    def columns(self) -> pa.Schema:
        """The stored columns, the same for every file."""
        from beam_etl.io.formats.archives.values import PAGE_COLUMNS  # fastwarc is an extra

        return PAGE_COLUMNS

    def schema(self, path: str) -> pa.Schema:
        try:
            columns = self.columns
        except ImportError as error:
            raise InputError(
                f"{path}: reading archives takes fastwarc: pip install 'beam-etl[warc]'"
            ) from error
        with open_file(path) as file:
            members = open_members(file, 0)
            start = b""
            while members.next() and not start:
                while len(start) < START_BYTES and (piece := members.read()):
                    start += piece
            if not is_start(start):
                raise ValueError("it doesn't begin with a record of WARC or ARC")
        return columns

    def splits(self, file: FileEntry, split_bytes: int) -> Iterator[Split]:
        """One pass over the file, which reads the heads of records, or decompresses what is compressed."""
        if self.only is not None:
            yield from chosen_splits(file, self.only, split_bytes)
            return
        if not file.bytes:
            return
        start = 0
        even = even_bytes(file.bytes, split_bytes)
        for place in self._places(file, split_bytes):
            if place // even != start // even:
                yield Split(file, start, place, start)
                start = place
        yield Split(file, start, file.bytes, start)

    def _places(self, file: FileEntry, split_bytes: int) -> Iterator[int]:
        """Where splits may begin, ascending."""
        if file.bytes <= split_bytes:
            return
        whole = Split(file, 0, file.bytes)
        with open_file(file.path) as opened:
            packed = not isinstance(open_members(opened, 0), PlainFile)
            if packed and file.bytes <= WHOLE_SPLITS * split_bytes:
                return
            yield from record_places(opened, whole, self.limits)

    def open(self, split: Split, stored: pa.Schema | None) -> "_WarcReader":
        end = split.stop if self.only is None else chosen_end(split, self.only)
        return _WarcReader(split, end, self.limits, self.columns, self.types)

    def writer(self, sink: Any, columns: pa.Schema) -> Writer:
        raise InputError(f"{self.name} is a format to read; write parquet, avro or jsonl")

    def copy_suffix(self, path: str) -> str:
        return Parquet.suffix

    def copier(self, sink: Any, path: str, columns: pa.Schema) -> Copier:
        return Parquet().copier(sink, path, columns)


class Wet(Warc):
    """`.wet`, as Warc: a document is a conversion, with its text."""

    name = "wet"
    suffixes: tuple[str, ...] = (".wet",)
    types = frozenset(("conversion",))

    @property
    def columns(self) -> pa.Schema:
        from beam_etl.io.formats.archives.values import TEXT_COLUMNS

        return TEXT_COLUMNS


def with_only(known: Format, places: Places) -> Format:
    """The format that reads some records only.

    Args:
      known: warc or wet.
      places: of the records (see `cdx.read_cdx`).

    Raises:
      InputError: another format.
    """
    if not isinstance(known, Warc):
        raise InputError(f"an index of records is for warc and wet files; these are {known.name}")
    made = copy.copy(known)
    made.only = places
    return made


class _WarcReader:
    """`end`: positions of the split's records are below."""

    def __init__(
        self, split: Split, end: int, limits: Limits, columns: pa.Schema, types: frozenset[str]
    ) -> None:
        self.schema = columns
        self._split, self._end, self._limits, self._types = split, end, limits, types

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        with open_file(self._split.file.path) as file:
            yield from in_turns(file, partial(self._rows, names))

    def _rows(self, names: Sequence[str], file: FileOutOfTurn) -> Iterator[Rows | Reject]:
        wanted, passed = frozenset(names), Counter[str]()
        held = _Held(self.schema, names)
        last = -1
        for found in read_records(file, self._split, self._limits):
            if isinstance(found, Reject):
                yield found
            elif found.type not in self._types:
                passed[found.type if found.type in PASSED_TYPES else "other"] += 1
            elif not last < found.position < self._end:
                yield reject_record(self._split.file.path, found.position, DENSE, found.raw)
            else:
                last = found.position
                document = self._document(found, wanted)
                if isinstance(document, Reject):
                    yield document
                    continue
                if not held.has_room(found, document):
                    yield held.rows()
                    held = _Held(self.schema, names)
                held.add(found, document)
        if held.positions:
            yield held.rows()
        for name, count in passed.items():
            Metrics.counter(NAMESPACE, PASSED_OVER + name).inc(count)

    def _document(self, record: Record, names: frozenset[str]) -> dict[str, Any] | Reject:
        from beam_etl.io.formats.archives.values import values_of

        try:
            entering("record", record.position)
            return values_of(record, names, self._limits.record_bytes)
        except Exception as error:
            if not is_content_error(error):
                raise
            return reject_record(self._split.file.path, record.position, one_line(error), record.raw)


class _Held:
    """Documents that will be a batch: their values column by column, since a tuple for each is dear to keep."""

    def __init__(self, columns: pa.Schema, names: Sequence[str]) -> None:
        self.positions: list[int] = []
        self._types = [columns.field(name).type for name in names]
        self._values: dict[str, list[Any]] = {name: [] for name in names}
        self._raw: list[tuple[bytes, bytes]] = []
        self._size = 0

    def has_room(self, record: Record, document: dict[str, Any]) -> bool:
        size = self._size + _held_bytes(record, document)
        return not self.positions or (size <= MAX_BYTES and len(self.positions) < MAX_ROWS)

    def add(self, record: Record, document: dict[str, Any]) -> None:
        self.positions.append(record.position)
        self._raw.append((record.head, record.block))
        self._size += _held_bytes(record, document)
        for name, values in self._values.items():
            values.append(document.get(name))

    def rows(self) -> Rows:
        columns = {
            name: _column(values, kind)
            for (name, values), kind in zip(self._values.items(), self._types, strict=True)
        }
        raw = self._raw
        made = from_columns(columns, len(self.positions))
        return Rows(made, np.array(self.positions, np.int64), lambda row: b"".join(raw[row]))


def _held_bytes(record: Record, document: dict[str, Any]) -> int:
    """As stored, and what was made of that, where it isn't the same: it may be hundreds of times as much."""
    payload = document[schema.PAYLOAD]
    return len(record.head) + len(record.block) + (0 if payload is record.block else len(payload))


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Values as an array, large ones without nulls; text that is bytes isn't checked yet to be UTF-8."""
    if pa.types.is_string(kind):
        return pa.array(values, pa.binary()).view(kind)
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        offsets = np.zeros(len(values) + 1, np.int64)
        np.cumsum([len(value) for value in values], out=offsets[1:])
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]  # a builder grows, by copying
        return pa.Array.from_buffers(kind, len(values), buffers)
    return pa.array(values, kind)
