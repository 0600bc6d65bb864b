"""Parquet: split by row groups, read in batches of bounded bytes within them."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl.io.access import open_file
from beam_etl.io.errors import is_content_error, one_line
from beam_etl.io.formats.base import FileEntry, Rows, Split, Writer
from beam_etl.io.json_text import row_line
from beam_etl.io.rejects import Reject, reject_rest
from beam_etl.transforms.batches import MAX_BYTES, MAX_ROWS

BUFFER_BYTES = 4 << 20
"""A column of a row group is read through a buffer of this size, not whole."""

GRAIN_ROWS = 16
"""Batches begin at multiples of this. A damaged row group is read again in steps of it, so that the rows that
pass are the same whatever the batch size."""

ROW_GROUP_BYTES = 64 << 20
"""Of written row groups, in memory: small enough to hold and to split, large enough to compress well."""


class Parquet:
    """`.parquet`, `.pq`. Position: row number in the file. Row groups are the smallest splits."""

    name = "parquet"
    suffixes = (".parquet", ".pq")
    suffix = ".parquet"
    compressible = False
    inferred = False

    def schema(self, path: str) -> pa.Schema:
        with open_file(path) as file:
            return pq.read_schema(file)

    def splits(self, file: FileEntry, split_bytes: int) -> Iterator[Split]:
        try:
            with open_file(file.path) as opened:
                metadata = pq.read_metadata(opened)
        except Exception as error:
            if not is_content_error(error):
                raise
            yield Split(file, 0, 0, file.bytes, problem=one_line(error))
            return
        if metadata.num_rows == 0:
            return
        starts = _starts(metadata, file.bytes)
        if sorted(set(starts)) != starts:  # row groups out of order: rare, and allowed
            yield Split(file, 0, 0, file.bytes)
            return
        start = place = first = rows = 0
        for group, stop in enumerate([*starts[1:], file.bytes]):
            rows += metadata.row_group(group).num_rows
            if stop - start >= split_bytes or stop == file.bytes:
                yield Split(file, place, start, stop, first)
                start, place, first = stop, place + 1, rows

    def open(self, split: Split, stored: pa.Schema | None) -> "_ParquetReader":
        return _ParquetReader(split)

    def writer(self, sink: Any, columns: pa.Schema) -> Writer:
        return _ParquetWriter(sink, columns)


class _ParquetReader:
    def __init__(self, split: Split) -> None:
        self._split = split
        self._opened = open_file(split.file.path)
        self._file = pq.ParquetFile(self._opened, buffer_size=BUFFER_BYTES, page_checksum_verification=True)
        self.schema = self._file.schema_arrow

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        first = 0
        with self._opened:
            for group, start in enumerate(_starts(self._file.metadata, self._split.file.bytes)):
                if self._split.start <= start < self._split.stop:
                    yield from self._group(group, first, names)
                first += self._file.metadata.row_group(group).num_rows

    def _group(self, group: int, first: int, names: Sequence[str]) -> Iterator[Rows | Reject]:
        """The rows of a row group; of a damaged one those before the damage, and one reject for the rest."""
        metadata = self._file.metadata.row_group(group)
        done, reason = 0, "fewer rows than the footer tells"
        for size in (_batch_rows(metadata, names), GRAIN_ROWS):
            seen = 0
            try:
                for batch in self._batches(group, names, size):
                    if seen == done:
                        yield Rows(
                            batch,
                            np.arange(first + done, first + done + batch.num_rows),
                            partial(row_line, batch),
                        )
                        done += batch.num_rows
                    seen += batch.num_rows
            except Exception as error:
                if not is_content_error(error):
                    raise
                reason = one_line(error)
            if done == metadata.num_rows:
                return
        start, stop = _stored_range(metadata)
        left = metadata.num_rows - done
        yield reject_rest(self._split.file.path, start, stop, reason, position=first + done, rows=left)

    def _batches(self, group: int, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        for batch in self._file.iter_batches(
            rows, row_groups=[group], columns=list(names), use_threads=False
        ):
            yield batch.select(list(names))


def _columns(group: Any) -> Iterator[Any]:
    return (group.column(place) for place in range(group.num_columns))


def _first_page(column: Any) -> int:
    return int(column.dictionary_page_offset or column.data_page_offset)


def _starts(metadata: Any, size: int) -> list[int]:
    """The byte at which each row group begins: what a split is told by, as in other formats."""
    groups = (metadata.row_group(place) for place in range(metadata.num_row_groups))
    return [
        min(max(_first_page(group.column(0)), 0), size - 1) if group.num_columns else 0 for group in groups
    ]


def _stored_range(group: Any) -> tuple[int, int]:
    """Where the pages of a row group begin and end in the file."""
    starts = [(_first_page(column), column.total_compressed_size) for column in _columns(group)]
    return min(start for start, _ in starts), max(start + size for start, size in starts)


def _batch_rows(group: Any, names: Sequence[str]) -> int:
    """Rows of a batch of about MAX_BYTES, as the footer tells the mean size of a row."""
    prefixes = tuple(f"{name}." for name in names)
    wanted = sum(
        column.total_uncompressed_size
        for column in _columns(group)
        if f"{column.path_in_schema}.".startswith(prefixes)
    )
    rows = MAX_BYTES * group.num_rows // max(wanted, 1)
    return max(GRAIN_ROWS, min(rows, MAX_ROWS) // GRAIN_ROWS * GRAIN_ROWS)


class _ParquetWriter:
    def __init__(self, sink: Any, columns: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(sink, columns, compression="zstd", write_page_checksum=True)
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
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
