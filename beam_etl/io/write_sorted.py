"""WriteSorted: rows to files in a global order. They cross as sorted runs in files, block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl.io import staging
from beam_etl.io.data_files import Finished, OpenFile, write_files
from beam_etl.io.formats import format_named
from beam_etl.io.sort_ranges import KIND, MAX_PARTITIONS, NULLS, MergeRanges, SortIntoRanges
from beam_etl.io.write import FILE_BYTES
from beam_etl.kernels.partitioning import RANGE, Level, Partitioning
from beam_etl.kernels.range_bounds import bounds_in_json
from beam_etl.kernels.sorting import Order
from beam_etl.transforms.batches import Batches, RecordBatchCoder

PARTITION_BYTES = 128 << 20
"""Rows of a range: a file of some 50 MB. Memory doesn't depend on it. Ranges grow where there were too many of them."""


class Sorted(NamedTuple):
    """What WriteSorted gives."""

    files: beam.PCollection[Finished]
    """Files of the run, for WriteDataset. By their names they are in the order of rows."""
    partitioned: beam.PCollection[dict[str, Any]]
    """For WriteDataset: what the manifest tells of the table, where its ranges can be told."""


@dataclass(eq=False, kw_only=True)
class WriteSorted(beam.PTransform):
    """Rows to files of a table in a global order. One shuffle, whose rows cross as files: see SortIntoRanges.

    Input: batches with `address`. Output: Sorted. The address isn't written.

    Args:
      order: of rows; ties by address.
      output, run: folder of the dataset and the run's name, those of the WriteDataset that takes the files.
      table: its name.
      format: parquet, avro, jsonl or text.
      file_bytes: a range begins another file at this many bytes.
      expected_bytes, expected_rows: of all rows, estimated: they decide how many ranges there are.
    """

    order: Order
    output: str
    run: str
    table: str
    format: str = "parquet"
    file_bytes: int = FILE_BYTES
    expected_bytes: int
    expected_rows: int

    def __post_init__(self) -> None:
        super().__init__()
        if self.expected_bytes < 0 or self.expected_rows < 0:
            raise ValueError(f"nothing has {self.expected_bytes} bytes or {self.expected_rows} rows")
        self._sort = SortIntoRanges(
            order=self.order,
            output=self.output,
            run=self.run,
            partitions=min(MAX_PARTITIONS, max(1, -(-self.expected_bytes // PARTITION_BYTES))),
            expected_bytes=self.expected_bytes,
            expected_rows=self.expected_rows,
        )

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> Sorted:
        ranges, bounds = documents | "Sort" >> self._sort
        files = ranges | "Write" >> beam.ParDo(_WriteRange(self)).with_output_types(Finished)
        described = bounds | "Describe" >> beam.FlatMap(
            _described, order=self.order, table=self.table
        ).with_output_types(dict[str, Any])
        return Sorted(files, described)


def _described(bounds: bytes, order: Order, table: str) -> Iterator[dict[str, Any]]:
    """What a manifest tells of the table, where ranges are of values of one column, ascending, and of no null."""
    if not bounds or not order.ascending:
        return
    found = RecordBatchCoder().decode(bounds)
    plain = bounds_in_json(found, found.schema.metadata[KIND].decode())
    if plain is not None and NULLS not in found.schema.metadata:
        level = Level(function=RANGE, columns=order.columns[:1], bounds=tuple(plain))
        yield {table: Partitioning(by=(level,), order=order.columns).to_json()}


class _WriteRange(MergeRanges):
    """Merges the blocks of a range into files."""

    def __init__(self, writing: WriteSorted) -> None:
        super().__init__(writing.order, writing.output, writing.run)
        self._table, self._format = writing.table, writing.format
        self._file_bytes = writing.file_bytes

    def write(self, number: int, rows: Iterator[pa.RecordBatch]) -> Iterator[Finished]:
        yield from write_files(rows, partial(self._open, number), self._file_bytes, self._metrics)

    def _open(self, number: int, part: int, columns: pa.Schema) -> OpenFile:
        form = format_named(self._format)
        name = staging.split_file_name(f"{number:05d}", f"{part:05d}", self._run, self._attempt, form.suffix)
        writer = partial(form.writer, columns=columns)
        return OpenFile(self._output, self._run, f"{self._table}/{name}", columns, writer)
