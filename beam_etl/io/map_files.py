"""MapFiles: files that have nothing to do with each other, each worked on as a whole where it is read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl.io.columns import Columns
from beam_etl.io.formats import FileEntry, Split
from beam_etl.io.read import REJECTS, FileSource, ReadDocuments, count_split, hand_out_files, tag_rejects
from beam_etl.io.rejects import Reject
from beam_etl.io.splits import plan_splits, read_split
from beam_etl.transforms.batches import Batches, split_batch
from beam_etl.transforms.metrics import ROWS_READ, StepMetrics

FileKernel: TypeAlias = Callable[[Iterator[pa.RecordBatch]], Iterable[pa.RecordBatch]]
"""From all documents of a file, read as they are iterated, to batches."""


class MappedFiles(NamedTuple):
    """What MapFiles gives."""

    batches: Batches
    rejects: Batches
    """schema.REJECT."""


@dataclass(eq=False, kw_only=True)
class MapFiles(beam.PTransform):
    """`kernel` over the documents of each file. No shuffle: files are handed out whole.

    Input: the pipeline. Output: MappedFiles.

    Args:
      source: the input; its documents() needn't be called.
      kernel: it reads all documents, once.
      columns: as for FileSource.documents.
    """

    source: FileSource
    kernel: FileKernel
    columns: Columns | None = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, pipeline: beam.Pipeline) -> MappedFiles:
        read = self.source.read
        columns = self.columns or read.columns
        work = beam.ParDo(_MapFile(read, columns, self.kernel)).with_output_types(
            pa.RecordBatch, rejects=pa.RecordBatch
        )
        out = hand_out_files(pipeline, read.files) | "Map" >> work.with_outputs(REJECTS, main="batches")
        return MappedFiles(out.batches, out[REJECTS])


class _MapFile(beam.DoFn):
    def __init__(self, read: ReadDocuments, columns: Columns, kernel: FileKernel) -> None:
        self._how = (read.known, columns, read.stored_schema)
        self._split_bytes = read.split_bytes
        self._kernel = kernel
        self._metrics = StepMetrics()

    def process(self, file: FileEntry) -> Iterator[Any]:
        splits = list(plan_splits(file, self._how[0], self._split_bytes))
        self._rejected = False
        for out in self._metrics.timed(iter(self._kernel(self._documents(splits)))):
            for batch in split_batch(out):
                self._metrics.gave_out(batch)
                yield batch
        if self._rejected:  # read once more, since they may be many, and too large to be held
            rejects = (found for found in self._read(splits) if isinstance(found, Reject))
            yield from tag_rejects(rejects, self._metrics)

    def _documents(self, splits: list[Split]) -> Iterator[pa.RecordBatch]:
        for split in splits:
            for found in self._read([split]):
                if isinstance(found, Reject):
                    self._rejected = True
                else:
                    self._metrics.add(ROWS_READ, found.num_rows)
                    yield found
            count_split(split, self._metrics)

    def _read(self, splits: list[Split]) -> Iterator[pa.RecordBatch | Reject]:
        for split in splits:
            yield from read_split(split, *self._how)
