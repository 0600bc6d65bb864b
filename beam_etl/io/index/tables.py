"""The files of an index as a check reads them: every byte once for its checksum, then row group by row group."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl.io.access import open_file
from beam_etl.io.errors import CONTENT_ERRORS, one_line
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.io.report import Report
from beam_etl.io.verify import Unreadable, verify
from beam_etl.kernels.findings import one
from beam_etl.kernels.index_check import Groups

_NAME = re.compile(r"part-(\d+)-[^/]*\.parquet")


@dataclass(frozen=True)
class Table:
    """The files of one table of an index, and what they should be."""

    folder: str
    columns: pa.Schema
    report: Report

    def verify(self, file: DataFile) -> None:
        """Compares size and SHA-256 of a file with the manifest.

        Raises:
          Unreadable: they differ, or it can't be read.
        """
        verify(self.folder, file, self.report)

    def open(self, file: DataFile) -> pq.ParquetFile:
        """A file that was verified, if its schema and rows are as stated.

        Raises:
          Unreadable: they aren't.
        """
        try:
            stored = open_file(os.path.join(self.folder, file.path))
            opened = pq.ParquetFile(stored, page_checksum_verification=True)
        except CONTENT_ERRORS as error:
            raise self.unreadable(file, error) from error
        if not opened.schema_arrow.equals(self.columns):
            self.report.add(file.path, one("schema", _schema_difference(opened.schema_arrow, self.columns)))
            raise Unreadable
        if opened.metadata.num_rows != file.rows:
            what = f"{opened.metadata.num_rows:,} rows, {file.rows:,} in the manifest"
            self.report.add(file.path, one("rows of a file", what))
        return opened

    def batches(self, file: DataFile, opened: pq.ParquetFile) -> Iterator[tuple[int, int, pa.RecordBatch]]:
        """The rows of a file in order: the row group, the row that it begins at, a batch of it.

        Raises:
          Unreadable: there is damage.
        """
        row = 0
        for group in range(opened.metadata.num_row_groups):
            try:
                batches = opened.read_row_group(group, use_threads=False).combine_chunks().to_batches()
                for batch in batches:
                    batch.validate(full=True)
            except CONTENT_ERRORS as error:
                raise self.unreadable(file, error) from error
            for batch in batches:
                if batch.num_rows:
                    yield group, row, batch
                row += batch.num_rows

    def joined(self, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
        """Some rows as one batch, maybe of none."""
        rows = pa.Table.from_batches(batches, self.columns).combine_chunks().to_batches()
        return rows[0] if rows else pa.RecordBatch.from_pylist([], self.columns)

    def unreadable(self, file: DataFile, error: BaseException) -> Unreadable:
        """Tells an error of a file."""
        self.report.add(file.path, one("damaged file", one_line(error)))
        return Unreadable()


def _schema_difference(stored: pa.Schema, stated: pa.Schema) -> str:
    theirs, ours = list(map(str, stored)), list(map(str, stated))
    only = [line for line in theirs if line not in ours]
    missing = [line for line in ours if line not in theirs]
    return f"it has {'; '.join(only) or 'the columns in another order'}, should have {'; '.join(missing or ours)}"


def by_partition(files: tuple[DataFile, ...], partitions: int, report: Report) -> dict[int, DataFile]:
    """The file of each partition; what can't be one is told."""
    found: dict[int, DataFile] = {}
    for file in files:
        match = _NAME.fullmatch(file.path.rpartition("/")[2])
        number = int(match[1]) if match else -1
        if not 0 <= number < partitions:
            report.add(file.path, one("name of a file", f"it names none of {partitions:,} partitions"))
        elif number in found:
            report.add(
                file.path, one("name of a file", f"{found[number].path} is partition {number} as well")
            )
        else:
            found[number] = file
    return found


def groups_of(metadata: pq.FileMetaData) -> Groups:
    """Where the row groups of a file are, by its footer."""
    starts, stops = [], []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(at) for at in range(group.num_columns)]
        pages = [
            min(column.data_page_offset, column.dictionary_page_offset or column.data_page_offset)
            for column in columns
        ]
        ends = [page + column.total_compressed_size for page, column in zip(pages, columns, strict=True)]
        starts.append(min(pages))
        stops.append(max(ends))
    return Groups(np.array(starts, np.int64), np.array(stops, np.int64))


def check_schemas(found: Manifest, stated: Mapping[str, pa.Schema], report: Report) -> None:
    """Compares the columns that the manifest states with what they should be."""
    for name, columns in stated.items():
        if name not in found.schemas:
            report.add("manifest", one("schema", f"no table {name}"))
            continue
        told, proper = dict(found.schemas[name]), {column.name: str(column.type) for column in columns}
        if told != proper and (told or found.table(name)):  # an empty table may have none
            report.add("manifest", one("schema", f"{name} has {told}, should have {proper}"))
