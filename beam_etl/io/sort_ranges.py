"""SortIntoRanges: rows to ranges of a global order. They cross as sorted runs in files, block by block."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl.io import staging
from beam_etl.io.data_files import working_folder
from beam_etl.io.sorted_runs import BLOCK_BYTES, RunFiles, write_run
from beam_etl.kernels.merging import merge_blocks
from beam_etl.kernels.range_bounds import (
    IS_EDGE,
    PARTITION,
    keys_of_blocks,
    locate_blocks,
    range_bounds,
    row_bytes,
    sample_keys,
    with_lasts,
)
from beam_etl.kernels.sorting import Order, key_rows, range_numbers, sort_batch
from beam_etl.transforms.batches import Batches, RecordBatchCoder, merge_batches, split_batch
from beam_etl.transforms.gathering import GatherBatches
from beam_etl.transforms.metrics import BYTES_CROSSED, StepMetrics
from beam_etl.transforms.shuffle import Attach, Attachment, Gather

RUN_BYTES = 32 << 20
"""Rows of a run. While it is sorted, three times as many bytes are held."""

MAX_PARTITIONS = 1 << 10
"""Of ranges: a run has a piece for each, of RUN_BYTES / MAX_PARTITIONS at least."""

MERGE_BYTES = 16 << 20
"""Rows of a partition that are sorted at once, at least."""

PIECE_BLOCKS = 8
"""Blocks of a piece, about: a block at its edge is read by two partitions."""

MIN_BLOCK_BYTES = 16 << 10

SAMPLE_ROWS = 1 << 17
"""Rows of the sample, about: some MB at one worker."""

PARTITION_ROWS = 1 << 10
"""Rows of the sample for each partition: then partitions differ by some percent, where rows are of like sizes."""

_RUN, _BLOCK, _SAMPLE = "run", "block", "sample"
_FOLDER = "_runs"

KIND, NULLS = b"kind", b"nulls"
"""Metadata of samples and bounds: the type of the order's first column, and that it has nulls."""


class SortedRanges(NamedTuple):
    """What SortIntoRanges gives."""

    ranges: beam.PCollection[tuple[bytes, Any]]
    """For a MergeRanges: each range, with or without rows."""
    bounds: beam.PCollection[bytes]
    """One element: an encoded batch of `range_bounds`, with KIND and NULLS where they come from a sample; empty for no
    rows."""


@dataclass(eq=False, kw_only=True)
class SortIntoRanges(beam.PTransform):
    """Rows to ranges of a global order. One shuffle, whose rows cross as files.

    A bundle writes sorted runs into the run's staging folder, which all workers see, and a sample of keys, by hash of
    the address, tells ranges of about equal bytes. What goes through the engine is a row a block of 256 KiB. A range
    merges the blocks that lie in it. So neither the engine's limit of a key nor memory bounds what a range has; a
    worker's thread holds three times RUN_BYTES.

    Input: batches with a tie. Output: SortedRanges, for a DoFn that is a MergeRanges.

    Args:
      order: of rows.
      output, run: folder of the dataset and the run's name, those of the WriteDataset that takes the files.
      partitions: how many ranges are wanted.
      bounds: `key_rows` of the order's columns at which ranges begin, but for the first, where they are known; then no
        sample is taken.
      expected_bytes, expected_rows: of all rows, estimated, for the plan and the sample.

    Raises:
      ValueError: partitions out of range.
    """

    order: Order
    output: str
    run: str
    partitions: int
    bounds: pa.RecordBatch | None = None
    expected_bytes: int
    expected_rows: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        if not 1 <= self.partitions <= MAX_PARTITIONS:
            raise ValueError(f"there are 1 to {MAX_PARTITIONS:,} ranges, got {self.partitions}")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam takes a tuple of PCollections for a mistake
    def expand(self, rows: Batches) -> SortedRanges:
        runs = rows | "Write runs" >> beam.ParDo(
            _WriteRuns(self, self._block_bytes, self._part)
        ).with_output_types(pa.RecordBatch, sample=bytes).with_outputs(_SAMPLE, main="runs")
        bounds = self._bounds(runs.sample)
        ranges = bounds | "Ranges" >> beam.FlatMap(_ranges).with_output_types(tuple[int, bytes])
        blocks = runs.runs | "To ranges" >> beam.FlatMap(
            _located, order=self.order, bounds=beam.pvalue.AsSingleton(bounds)
        ).with_output_types(pa.RecordBatch)
        shuffled = Attachment(ranges, blocks) | "Shuffle" >> Attach(
            by=(PARTITION,), keys=self.partitions, expected_bytes=self.expected_bytes, measured=False
        )
        return SortedRanges(shuffled, bounds)

    @property
    def _block_bytes(self) -> int:
        return min(BLOCK_BYTES, max(MIN_BLOCK_BYTES, RUN_BYTES // self.partitions // PIECE_BLOCKS))

    @property
    def _part(self) -> float | None:
        """Of the rows that the sample has; None where there is none."""
        if self.bounds is not None:
            return None
        wanted = min(SAMPLE_ROWS, PARTITION_ROWS * self.partitions) if self.partitions > 1 else 0
        return wanted / max(self.expected_rows, 1)

    def _bounds(self, sample: beam.PCollection[bytes]) -> beam.PCollection[bytes]:
        if self.bounds is not None:
            known = RecordBatchCoder().encode(self.bounds)
            return sample.pipeline | "Known bounds" >> beam.Create([known], reshuffle=False)
        return (
            sample
            | "Gather sample" >> Gather()
            | "Bounds" >> beam.Map(_bounds, self.order, self.partitions).with_output_types(bytes)
        )


class _WriteRuns(GatherBatches):
    """Sorted runs of what a bundle gathers: a row a block, and a sample of their keys."""

    def __init__(self, writing: SortIntoRanges, block_bytes: int, part: float | None) -> None:
        super().__init__(RUN_BYTES)
        self._output, self._run = writing.output, writing.run
        self._order = writing.order
        self._block_bytes = block_bytes
        self._part = part

    def start_bundle(self) -> None:
        super().start_bundle()
        self._attempt, self._runs = staging.new_attempt(), 0

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[Any]:
        rows = merge_batches(batches)
        batches.clear()
        rows = sort_batch(rows, self._order)
        self._metrics.add(BYTES_CROSSED, rows.nbytes)
        name = f"{self._attempt}-{self._runs}"
        self._runs += 1
        folder = working_folder(self._output, self._run, _FOLDER)
        if folder is None:
            return
        firsts, lasts = write_run(_path(folder, name), rows, self._order, self._block_bytes)
        if self._part is not None:
            yield beam.pvalue.TaggedOutput(_SAMPLE, _sampled(rows, self._order, self._part))
        blocks = (
            with_lasts(firsts, lasts)
            .append_column(_RUN, pa.repeat(name, firsts.num_rows))
            .append_column(_BLOCK, pa.array(range(firsts.num_rows), pa.uint32()))
        )
        yield blocks


def _sampled(rows: pa.RecordBatch, order: Order, part: float) -> bytes:
    first = rows.column(order.columns[0])
    told = {KIND: str(first.type), **({NULLS: ""} if first.null_count else {})}
    sample = sample_keys(key_rows(rows, order), row_bytes(rows), part)
    return RecordBatchCoder().encode(sample.replace_schema_metadata(told))


def _path(folder: str, name: str) -> str:
    return os.path.join(folder, f"{name}.arrow")


def _bounds(packed: list[bytes], order: Order, partitions: int) -> bytes:
    """The bounds of all samples. What these tell of the first column is kept as metadata."""
    samples = [RecordBatchCoder().decode(some) for some in packed]
    if not samples:
        return b""
    told: dict[bytes, bytes] = {}
    for sample in samples:
        told |= sample.schema.metadata
    bare = [sample.replace_schema_metadata(None) for sample in samples]
    return RecordBatchCoder().encode(range_bounds(bare, order, partitions).replace_schema_metadata(told))


def _ranges(bounds: bytes) -> Iterator[tuple[int, bytes]]:
    """Each range by its number, with the bounds before and behind it."""
    if not bounds:
        return
    found = RecordBatchCoder().decode(bounds)
    for number in range(found.num_rows + 1):
        begin, end = max(number - 1, 0), min(number + 1, found.num_rows)
        edges = RecordBatchCoder().encode(found.slice(begin, end - begin))
        yield number, number.to_bytes(8, "little") + edges


def _located(blocks: pa.RecordBatch, bounds: bytes, order: Order) -> Iterator[pa.RecordBatch]:
    yield from split_batch(locate_blocks(blocks, RecordBatchCoder().decode(bounds), order))


class MergeRanges(beam.DoFn):
    """Merges the blocks of each range and gives the rows to `write`, which a subclass has.

    Args:
      order: of rows.
      output, run: as of SortIntoRanges.
    """

    def __init__(self, order: Order, output: str, run: str) -> None:
        self._order = order
        self._output, self._run = output, run
        self._folder = os.path.join(staging.staging_folder(output, run), _FOLDER)
        self._metrics = StepMetrics()

    def write(self, number: int, rows: Iterator[pa.RecordBatch]) -> Iterator[Any]:
        """What becomes of a range that has rows, or a part in a block that has rows before and behind it.

        Args:
          number: of the range, from 0.
          rows: in order.
        """
        raise NotImplementedError

    def start_bundle(self) -> None:
        self._attempt = staging.new_attempt()

    def process(self, element: tuple[bytes, Any]) -> Iterator[Any]:
        yield from self._metrics.timed(self._merge(*element))

    def _merge(self, described: bytes, located: Any) -> Iterator[Any]:
        found = list(located)
        if not found:
            return
        number, edges = int.from_bytes(described[:8], "little"), RecordBatchCoder().decode(described[8:])
        load = _Blocks(self._folder, merge_batches(found), edges, 1 if number else 0, self._order)
        yield from self.write(number, self._rows(load))

    def _rows(self, load: "_Blocks") -> Iterator[pa.RecordBatch]:
        rows = size = 0
        for merged in merge_blocks(keys_of_blocks(load.blocks), load, self._order, MERGE_BYTES):
            rows, size = rows + merged.num_rows, size + merged.nbytes
            yield from split_batch(merged)
            del merged
        self._metrics.saw_partition(rows, size)


class _Blocks:
    """Blocks of a range, each loaded by its place among them, without rows of other ranges.

    Args:
      folder: of the runs.
      blocks: of `locate_blocks`.
      edges: the bounds before and behind the range, where there are such.
      place: which of the ranges between the edges it is.
      order: of rows.
    """

    def __init__(
        self, folder: str, blocks: pa.RecordBatch, edges: pa.RecordBatch, place: int, order: Order
    ) -> None:
        self.blocks = blocks
        self._folder = folder
        self._runs, self._numbers = blocks.column(_RUN), blocks.column(_BLOCK)
        self._is_edge = blocks.column(IS_EDGE)
        self._edges, self._place, self._order = edges, place, order
        self._files = RunFiles()

    def __call__(self, place: int) -> pa.RecordBatch:
        path = _path(self._folder, self._runs[place].as_py())
        rows = self._files.read(path, self._numbers[place].as_py())
        if not self._is_edge[place].as_py():
            return rows
        numbers = range_numbers(key_rows(rows, self._order), self._edges, self._order)
        return rows.filter(pa.array(numbers == self._place))
