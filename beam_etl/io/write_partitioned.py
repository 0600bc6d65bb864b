"""WritePartitioned: rows to files of partitions. They cross as runs in files, block by block."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import BoundedWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import Timestamp

from beam_etl.io import staging
from beam_etl.io.access import create_file
from beam_etl.io.data_files import Finished, OpenFile, working_folder, write_files
from beam_etl.io.formats import format_named
from beam_etl.io.sorted_runs import RunFiles
from beam_etl.kernels.merging import merge_blocks
from beam_etl.kernels.partition_blocks import (
    BYTES,
    FOLDER,
    ROWS,
    Block,
    Piece,
    block_keys,
    cut_pieces,
    describe_blocks,
    hot_key,
    order_of,
    partition_totals,
)
from beam_etl.kernels.partition_bounds import is_open
from beam_etl.kernels.partition_paths import PartitionNameError
from beam_etl.kernels.partition_rows import partition_rows
from beam_etl.kernels.partitioning import Partitioning
from beam_etl.transforms.batches import Batches, RecordBatchCoder, merge_batches, split_batch
from beam_etl.transforms.gathering import GatherBatches
from beam_etl.transforms.metrics import BYTES_CROSSED, HOT_BY_BYTES, HOT_BY_ROWS, StepMetrics
from beam_etl.transforms.shuffle import Distribute, Gather, Partition, Shuffle

RUN_BYTES = 64 << 20
"""Rows of a run. While it is made, three times as many bytes are held."""

MERGE_BYTES = 16 << 20
"""Rows of a piece that are sorted at once, at least."""

EXPANSION = 2
"""Bytes in memory of a byte stored, at least: a piece of so many times a file's bytes fills about one."""

SHUFFLED = 64
"""Partitions that descriptions of blocks are shuffled to: of 10 TB they are 4 GB, and 64 MB in each."""

MAX_FOLDERS = 1 << 17
"""More partitions than these are no layout: a file each, and half of them with a few rows."""

FAILURES, SPLIT = "failures", "split"
"""Tags of outputs."""


class Partitioned(NamedTuple):
    """What WritePartitioned gives."""

    files: beam.PCollection[Finished]
    """Files of the run, for WriteDataset."""
    partitioned: beam.PCollection[dict[str, Any]]
    """One dict, the table to JSON of its Partitioning: what WriteDataset takes as PARTITIONED."""
    failures: beam.PCollection[str]
    """Why the files must not be published: a value can't name a folder, or there are too many partitions."""


@dataclass(eq=False, kw_only=True)
class WritePartitioned(beam.PTransform):
    """Rows to files `table/LEVEL=VALUE/.../part-PIECE-PART-RUN-ATTEMPT.ext`. One shuffle, whose rows cross as files.

    A bundle writes what it gathers, ordered by partition, into the run's staging folder, which all workers see. What
    goes through the engine is a row a block of 256 KiB: so neither its limit of a key nor memory bounds a partition.
    All blocks of a partition become one file, or where they are more than `file_bytes`, pieces of about so many, each
    written by one worker and ordered in itself.

    Input: batches. Output: Partitioned. A column `address` orders what is equal otherwise, and isn't written.

    Args:
      partitioning: how; its `order` is made in each file. Levels of ranges without bounds need `found`.
      output, run: folder of the dataset and the run's name, those of the WriteDataset that takes the files.
      table: its name.
      format: parquet, avro, jsonl or text.
      file_bytes: a file is closed at so many.
      max_partition_bytes: a partition with more bytes in memory is cut into pieces of at most so many, and the table is
        told to be split; None never does.
      expected_bytes: of all rows in memory, estimated, for the plan.
      append: as of WriteDataset.
      found: one element, the JSON of the partitioning with its bounds, where they show in the run.
    """

    partitioning: Partitioning
    output: str
    run: str
    table: str
    format: str = "parquet"
    file_bytes: int
    max_partition_bytes: int | None = None
    expected_bytes: int | None = None
    append: bool = False
    found: beam.PCollection[str] | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if self.max_partition_bytes is not None and self.max_partition_bytes < 1:
            raise ValueError(f"max_partition_bytes must be at least 1, got {self.max_partition_bytes}")
        if self.found is None and any(map(is_open, self.partitioning.by)):
            raise ValueError("ranges without bounds: FindBounds gives what `found` takes")
        self.folder = os.path.join(staging.staging_folder(self.output, self.run), f"_runs_{self.table}")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam takes a tuple of PCollections for a mistake
    def expand(self, batches: Batches) -> Partitioned:
        known: Any = json.dumps(self.partitioning.to_json())
        known = beam.pvalue.AsSingleton(self.found) if self.found is not None else known
        writing = _WriteRuns(self)
        runs = batches | "Write runs" >> beam.ParDo(writing, known=known).with_output_types(
            pa.RecordBatch, failures=str
        ).with_outputs(FAILURES, main="blocks")
        cut = beam.ParDo(_CutPieces(self.file_bytes * EXPANSION, self.max_partition_bytes))
        pieces = (
            runs.blocks
            | "Shuffle"
            >> Shuffle(by=(FOLDER,), partitions=SHUFFLED, expected_bytes=self.expected_bytes, measured=False)
            | "Pieces"
            >> cut.with_output_types(bytes, failures=str, split=bool).with_outputs(
                FAILURES, SPLIT, main="pieces"
            )
        )
        files = (
            pieces.pieces
            | "Distribute pieces" >> Distribute()
            | "Write" >> beam.ParDo(_WritePiece(self)).with_output_types(Finished)
        )
        told = (
            pieces.split
            | "Gather split" >> Gather()
            | "Partitioning"
            >> beam.Map(_told, table=self.table, known=known).with_output_types(dict[str, Any])
        )
        return Partitioned(files, told, (runs.failures, pieces.failures) | "All failures" >> beam.Flatten())


def _told(split: list[bool], table: str, known: str) -> dict[str, Any]:
    found = Partitioning.from_json(json.loads(known))
    return {table: replace(found, split=any(split)).to_json()}


class _WriteRuns(GatherBatches):
    """Rows of a bundle by partition, in files; a row a block of them."""

    def __init__(self, writing: WritePartitioned) -> None:
        super().__init__(RUN_BYTES)
        self._folder, self._order = os.path.basename(writing.folder), order_of(writing.partitioning.order)
        self._output, self._run, self._append = writing.output, writing.run, writing.append

    def start_bundle(self) -> None:
        super().start_bundle()
        self._attempt, self._runs = staging.new_attempt(), 0

    def process(
        self,
        batch: pa.RecordBatch,
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        window: BoundedWindow = beam.DoFn.WindowParam,
        known: str = "",
    ) -> Iterator[Any]:
        self._known = known
        return super().process(batch, timestamp, window)

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[Any]:
        rows = merge_batches(batches)
        batches.clear()
        partitioning = Partitioning.from_json(json.loads(self._known))
        try:
            numbers, folders = partition_rows(rows, partitioning)
        except PartitionNameError as error:
            yield beam.pvalue.TaggedOutput(FAILURES, str(error))
            return
        if len(folders) > MAX_FOLDERS:
            yield beam.pvalue.TaggedOutput(FAILURES, _too_many(len(folders)))
            return
        name = f"{self._attempt}-{self._runs}"
        self._runs += 1
        rows, blocks = describe_blocks(rows, numbers, folders, self._order, name, partitioning.columns)
        folder = working_folder(self._output, self._run, self._folder, self._append)
        if folder is None:
            return
        with (
            create_file(_path(folder, name)) as sink,
            pa.ipc.new_file(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer,
        ):
            start = 0
            for count in blocks.column("rows").to_pylist():
                writer.write_batch(rows.slice(start, count))
                start += count
        self._metrics.add(BYTES_CROSSED, rows.nbytes)
        yield from split_batch(blocks)


def _path(folder: str, name: str) -> str:
    return os.path.join(folder, f"{name}.arrow")


def _too_many(count: int) -> str:
    return (
        f"there would be {count:,} partitions and more, each a folder; at most {MAX_FOLDERS:,} are made. Partition by "
        f"hash or range, or by a longer time."
    )


class _CutPieces(beam.DoFn):
    """The blocks of each partition as pieces of work, each an encoded Piece."""

    def __init__(self, piece_bytes: int, most_bytes: int | None) -> None:
        self._piece_bytes = piece_bytes
        self._most_bytes = most_bytes
        self._metrics = StepMetrics()

    def process(self, partition: Partition) -> Iterator[Any]:
        blocks = merge_batches(partition[1])
        pieces, folders, is_split = cut_pieces(blocks, self._piece_bytes, self._most_bytes)
        if folders * SHUFFLED > 2 * MAX_FOLDERS:
            yield beam.pvalue.TaggedOutput(FAILURES, _too_many(MAX_FOLDERS))
            return
        yield beam.pvalue.TaggedOutput(SPLIT, is_split)
        self._measure(blocks)
        for piece in pieces:
            yield f"{piece.folder}\n{piece.number}\n".encode() + RecordBatchCoder().encode(piece.blocks)

    def _measure(self, blocks: pa.RecordBatch) -> None:
        """Counts each partition, and names the largest of them."""
        sizes = partition_totals(blocks)
        for _, rows, size in sizes:
            self._metrics.saw_partition(rows, size)
        for namespace, measure, place in ((HOT_BY_ROWS, ROWS, 1), (HOT_BY_BYTES, BYTES, 2)):
            largest = max(sizes, key=itemgetter(place))
            self._metrics.saw_hot_key(namespace, *hot_key(blocks, largest[0], measure))


class _WritePiece(beam.DoFn):
    """Reads the blocks of a piece and writes them as one file, or as several where they are more than expected."""

    def __init__(self, writing: WritePartitioned) -> None:
        self._folder, self._order = writing.folder, order_of(writing.partitioning.order)
        self._output, self._run, self._table = writing.output, writing.run, writing.table
        self._format, self._file_bytes = writing.format, writing.file_bytes
        self._append = writing.append
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._attempt = staging.new_attempt()

    def process(self, encoded: bytes) -> Iterator[Finished]:
        folder, number, blocks = encoded.split(b"\n", 2)
        piece = Piece(folder.decode(), int(number), RecordBatchCoder().decode(blocks))
        return self._metrics.timed(self._write(piece))

    def _write(self, piece: Piece) -> Iterator[Finished]:
        return write_files(
            self._rows(piece.blocks), partial(self._open, piece), self._file_bytes, self._metrics
        )

    def _rows(self, blocks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        files = RunFiles()
        places = [
            Block(*place)
            for place in zip(*(blocks.column(name).to_pylist() for name in Block._fields), strict=True)
        ]

        def load(place: int) -> pa.RecordBatch:
            return files.read(_path(self._folder, places[place].run), places[place].block)

        if self._order is None:
            yield from map(load, range(len(places)))
            return
        for merged in merge_blocks(block_keys(blocks), load, self._order, MERGE_BYTES):
            yield from split_batch(merged)

    def _open(self, piece: Piece, part: int, columns: pa.Schema) -> OpenFile:
        form = format_named(self._format)
        numbers = (f"{piece.number:05d}", f"{part:05d}")
        name = staging.split_file_name(*numbers, self._run, self._attempt, form.suffix)
        writer = partial(form.writer, columns=columns)
        path = f"{self._table}/{piece.folder}/{name}"
        return OpenFile(self._output, self._run, path, columns, writer, self._append)
