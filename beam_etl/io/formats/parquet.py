"""Parquet: split by row groups, read in batches of bounded bytes within them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate, count, zip_longest
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_etl.io.access import EXPANDS, open_file
from beam_etl.io.errors import CONTENT_ERRORS, is_content_error, one_line
from beam_etl.io.formats.base import (
    LIMITS,
    BatchCopier,
    Copier,
    Facts,
    FileEntry,
    Limits,
    Rows,
    Split,
    Writer,
    even_bytes,
    take_rows,
)
from beam_etl.io.formats.nested import check_codes
from beam_etl.io.formats.statistics import group_facts
from beam_etl.io.isolate import entering
from beam_etl.io.json_text import row_line
from beam_etl.io.rejects import Reject, reject_rest
from beam_etl.transforms.batches import MAX_BYTES, MAX_ROWS, difference

BUFFER_BYTES = 4 << 20
"""A column of a row group is read through a buffer of this size, not whole."""

PROBE_BYTES = 16 << 10
"""The same where a first page is looked at."""

GRAIN_ROWS = 16
"""Batches begin at multiples of this. A damaged row group is read again in steps of it, so that the rows that
pass are the same whatever the batch size."""

MAX_EXPANSION = 8
"""A batch of nothing but the longest values takes this many times MAX_BYTES. Footers can't tell: a page of
kilobytes holds one long text for thousands of rows."""

NARROW_BYTES = 100
"""Pages of rows that are smaller, on average, most likely hold texts as codes."""

GROUP_BYTES = 1 << 20
"""Of a row group, that are no values."""

MANY_ROWS = 8192
"""Batches of so many rows and more are looked into first: rows of few stored bytes may be one long text again and
again. Looking takes 15 ms of a row group, which usual rows of some kilobytes don't pay."""

ROW_GROUP_BYTES = 64 << 20
"""Of written row groups, in memory: small enough to hold and to split, large enough to compress well."""


class Parquet:
    """`.parquet`, `.pq`. Position: row number in the file. Row groups are the smallest splits."""

    name = "parquet"
    suffixes = (".parquet", ".pq")
    suffix = ".parquet"
    compressible = False
    by_record = False
    inferred = False
    by_offset = False
    limits = LIMITS

    def schema(self, path: str) -> pa.Schema:
        with open_file(path) as file:
            return pq.read_schema(file)

    def splits(self, file: FileEntry, split_bytes: int) -> Iterator[Split]:
        try:
            with open_file(file.path) as opened:
                planned = list(_plan(file, pq.read_metadata(opened), split_bytes))
        except Exception as error:
            if not is_content_error(error):
                raise
            planned = [Split(file, 0, file.bytes, problem=one_line(error))]
        yield from planned

    def open(self, split: Split, stored: pa.Schema | None) -> "_ParquetReader":
        return _ParquetReader(split, self.limits)

    def writer(self, sink: Any, columns: pa.Schema) -> Writer:
        return _ParquetWriter(sink, columns)

    def copy_suffix(self, path: str) -> str:
        return self.suffix

    def copier(self, sink: Any, path: str, columns: pa.Schema) -> Copier:
        # Items of lists keep the name that they have in the file.
        return BatchCopier(_ParquetWriter(sink, columns, use_compliant_nested_type=False))


class _ParquetReader:
    def __init__(self, split: Split, limits: Limits) -> None:
        self._split = split
        self._limits = limits
        self._opened = open_file(split.file.path)
        self._file = pq.ParquetFile(self._opened, buffer_size=BUFFER_BYTES, page_checksum_verification=True)
        self.schema = self._file.schema_arrow
        self._coded = self._with_codes(
            [item.name for item in self.schema if _has_pages_of_its_own(item.type)]
        )
        wanted = range(split.first, split.first + (split.rows or 0))
        groups = _groups(self._file.metadata, split.file.bytes)
        self._groups = [group for group in groups if group.first in wanted]
        self._expanded = sum(group.size for group in groups)
        self._batch_rows = MAX_ROWS
        self._wanted: np.ndarray | None = None

    def seek(self, positions: np.ndarray) -> None:
        self._wanted = positions
        self._groups = [group for group in self._groups if len(self._wanted_from(group, group.first))]
        if sum(group.size for group in self._groups) < NARROW_BYTES * sum(
            group.rows for group in self._groups
        ):  # codes are passed over sooner than texts
            self._file = self._with_codes([item.name for item in self.schema if _is_text(item.type)])

    def prefer(self, coded: Sequence[str], batch_rows: int) -> None:
        self._batch_rows = batch_rows
        if coded:
            self._file = self._with_codes([name for name in coded if name in self.schema.names])

    def _with_codes(self, names: Sequence[str]) -> Any:
        """The file, read with these columns as dictionaries."""
        return pq.ParquetFile(
            self._opened,
            metadata=self._file.metadata,
            read_dictionary=names,
            page_checksum_verification=True,
            buffer_size=BUFFER_BYTES,
        )

    def skip(self, names: Sequence[str], can_hold: Callable[[Facts], bool]) -> int:
        probed = pq.ParquetFile(self._opened, metadata=self._file.metadata, buffer_size=PROBE_BYTES)
        left = [group for group in self._groups if not can_hold(group_facts(probed, group.place, names))]
        self._groups = [group for group in self._groups if group not in left]
        return sum(group.stop - group.start for group in left)

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        with self._opened:
            for group in self._groups:
                yield from self._group(group, names)

    def _group(self, group: "_Group", names: Sequence[str]) -> Iterator[Rows | Reject]:
        """The rows of a row group; of a damaged one those before the damage, and one reject for the rest."""
        done, reason = 0, "fewer rows than the footer tells"
        too_much = self._too_much(group)
        for most in () if too_much else (self._most_rows(group, names), GRAIN_ROWS):
            seen = 0
            try:
                size = min(most, self._fitting_rows(group.place, names)) if most >= MANY_ROWS else most
                for batch in _batches(self._file, group.place, names, size):
                    if seen == done:
                        yield from self._given(batch, group.first + done)
                        done += batch.num_rows
                    seen += batch.num_rows
                    if not len(self._wanted_from(group, group.first + done)):
                        return
            except Exception as error:
                if not is_content_error(error):
                    raise
                reason = one_line(error)
            if done >= group.rows:
                return
        path, position, left = self._split.file.path, group.first + done, group.rows - done
        yield reject_rest(path, group.start, group.stop, too_much or reason, position, left)

    def _given(self, batch: pa.RecordBatch, first: int) -> Iterator[Rows]:
        """The rows of a batch, whose first has this number, that are wanted."""
        positions = np.arange(first, first + batch.num_rows)
        if self._wanted is not None:
            begin, end = np.searchsorted(self._wanted, (first, first + batch.num_rows))
            positions = self._wanted[begin:end]
            if begin == end:
                return
            columns = pa.schema([self.schema.field(name) for name in batch.schema.names])
            batch = take_rows(batch, positions - first)
            batch = batch if batch.schema.types == columns.types else batch.cast(columns)
        yield Rows(batch, positions, partial(row_line, batch))

    def _wanted_from(self, group: "_Group", first: int) -> np.ndarray | range:
        """The wanted rows of a group from row `first` of the file on."""
        end = group.first + group.rows
        if self._wanted is None:
            return range(first, end)
        return self._wanted[slice(*np.searchsorted(self._wanted, (first, end)))]

    def _most_rows(self, group: "_Group", names: Sequence[str]) -> int:
        """Rows of about MAX_BYTES: by the width of the columns where all have one, else by the whole row group."""
        widths = [_width(self.schema.field(name).type) for name in names]
        size = group.size if None in widths or not widths else group.rows * sum(filter(None, widths))
        return _batch_rows(group.rows, size, self._batch_rows)

    def _too_much(self, group: "_Group") -> str | None:
        """Why a row group isn't read: its pages would be held one by one, and each row is a document, or a reject."""
        stored, most = self._split.file.bytes, self._limits.record_bytes
        if self._expanded > self._limits.most_bytes(stored):
            return f"a file of {stored} bytes that {EXPANDS}: to {self._expanded}, with one for each row"
        if group.size > group.rows * most + GROUP_BYTES:
            return (
                f"{group.rows} rows of {group.size // group.rows} bytes on average: over the limit of {most}"
            )
        return None

    def _fitting_rows(self, group: int, names: Sequence[str]) -> int:
        """Rows that can be held though each has the longest values, as the start of a row group tells them."""
        try:
            batch = next(_batches(self._coded, group, names, GRAIN_ROWS))
            longest = sum(_longest(values) for values in batch.columns)
        except (StopIteration, *CONTENT_ERRORS) as error:
            if isinstance(error, OSError) and not is_content_error(error):
                raise
            return GRAIN_ROWS  # what is damaged shows when it is read
        return _whole_grains(MAX_EXPANSION * MAX_BYTES // max(longest, 1))


def _batches(file: Any, group: int, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    batches = file.iter_batches(rows, row_groups=[group], columns=list(names), use_threads=False)
    for number in count():
        entering("row group", group, "in steps of", rows, "step", number, *names)
        batch = next(batches, None)
        if batch is None:
            return
        for values in batch.columns:
            check_codes(values)
        yield batch.select(list(names))


def _longest(values: pa.Array) -> int:
    """Bytes of the longest value in the dictionary of a column; of one without, those of a mean value."""
    if pa.types.is_dictionary(values.type):
        return pc.max(pc.binary_length(values.dictionary)).as_py() or 0
    return values.nbytes // len(values)


def _is_text(kind: pa.DataType) -> bool:
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(check(kind) for check in checks)


def _has_pages_of_its_own(type_: pa.DataType) -> bool:
    return not pa.types.is_nested(type_) and not isinstance(type_, pa.BaseExtensionType)


class _Group(NamedTuple):
    """A row group that has rows."""

    place: int
    first: int
    """Number of its first row."""
    rows: int
    start: int
    stop: int
    """Its stored bytes, by its share of the bytes of all. (Asking a damaged footer for the offsets of its pages
    ends the process.)"""
    size: int
    """Bytes of its pages when they are decompressed, and one more for each row."""

    @property
    def middle(self) -> int:
        return (self.start + self.stop) // 2


def _groups(metadata: Any, size: int) -> list[_Group]:
    """The row groups of a file of `size` bytes."""
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    counts = [max(group.num_rows, 0) for group in groups]
    weights = [max(group.total_byte_size, 0) + rows for group, rows in zip(groups, counts, strict=True)]
    ends = [size * end // max(sum(weights), 1) for end in accumulate(weights)]
    firsts = list(accumulate(counts, initial=0))
    return [
        _Group(
            place,
            firsts[place],
            rows,
            ends[place - 1] if place else 0,
            ends[place],
            weight,
        )
        for place, (rows, weight) in enumerate(zip(counts, weights, strict=True))
        if rows
    ]


def _batch_rows(rows: int, size: int, most: int) -> int:
    return _whole_grains(min(MAX_BYTES * rows // size, most))


def _width(kind: pa.DataType) -> int | None:
    """Bytes of each value, where all have as many."""
    is_plain = pa.types.is_primitive(kind) and not pa.types.is_boolean(kind)
    return kind.bit_width // 8 if is_plain else None


def _whole_grains(rows: int) -> int:
    return max(GRAIN_ROWS, rows // GRAIN_ROWS * GRAIN_ROWS)


def _plan(file: FileEntry, metadata: Any, split_bytes: int) -> Iterator[Split]:
    """Runs of row groups of about `split_bytes`."""
    groups = _groups(metadata, file.bytes)
    even = even_bytes(file.bytes, split_bytes)
    start, rows = 0, 0
    for group, after in zip_longest(groups, groups[1:]):
        rows += group.rows
        if after is None or group.middle // even != after.middle // even:
            stop = group.stop if after else file.bytes
            yield Split(file, start, stop, group.first + group.rows - rows, rows)
            start, rows = stop, 0


class _ParquetWriter:
    def __init__(self, sink: Any, columns: pa.Schema, **options: Any) -> None:
        self._writer = pq.ParquetWriter(
            sink, columns, compression="zstd", write_page_checksum=True, **options
        )
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        if not batch.schema.equals(self._writer.schema):
            raise TypeError(difference(self._writer.schema, batch.schema))
        self._held.append(batch)
        self._bytes += batch.nbytes
        if self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._held, self._writer.schema)
        self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
        self._held, self._bytes = [], 0

    def close(self) -> None:
        if self._held:
            self._flush()
        self._writer.close()
