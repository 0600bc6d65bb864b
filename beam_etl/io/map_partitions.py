"""MapDocumentPartitions: a kernel over whole partitions, shuffled only where the input isn't partitioned so."""

from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.io.file_source import FileSource
from beam_etl.io.map_files import FileKernel, MapFiles, MappedFiles
from beam_etl.io.together import together
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.shuffle import Shuffle


@dataclass(eq=False, kw_only=True)
class MapDocumentPartitions(beam.PTransform):
    """`kernel` over each partition: its batches in order, as an iterator. One shuffle, or none.

    None where the input is a dataset whose manifest says that documents with equal `by` are in one partition: then the
    partitions are handed out, all files of one to a worker. Which it is shows in the plan.

    Input: the pipeline. Output: MappedFiles. How many partitions there are, and what else is in one, may differ; the
    documents of one come in the order of their addresses, and all that are equal in `by` come to one call.

    Args:
      source: the input; its documents() needn't be called.
      kernel: reads the batches of a partition once, and gives batches. It may keep what it likes meanwhile.
      by: columns of the documents.
      columns: as for FileSource.documents.
      expected_bytes: that cross, where they are shuffled.
    """

    source: FileSource
    kernel: FileKernel
    by: tuple[str, ...]
    columns: Columns | None = None
    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if not self.by:
            raise ValueError("by needs at least one column")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, pipeline: beam.Pipeline) -> MappedFiles:
        columns = self.columns or self.source.read.columns
        found = together(self.source.read, columns, self.by)
        if found is not None:
            whole = MapFiles(source=self.source, kernel=self.kernel, columns=columns, groups=found.files)
            mapped: MappedFiles = pipeline | "Partitions" >> whole
            return mapped
        documents, rejects, _ = self.source.documents(columns)
        shuffle = Shuffle(by=self.by, expected_bytes=self.expected_bytes, order_by=(schema.ADDRESS,))
        batches = documents | "Shuffle" >> shuffle | "Map" >> MapPartitions(kernel=_Once(self.kernel))
        return MappedFiles(batches, rejects)


@dataclass(frozen=True)
class _Once:
    """The kernel, given an iterator."""

    kernel: FileKernel

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        return self.kernel(iter(batches))
