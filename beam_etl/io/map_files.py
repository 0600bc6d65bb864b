"""MapFiles: files, or groups of them, that have nothing to do with each other, each worked on as a whole."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl.io.columns import Columns
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats import FileEntry, Split
from beam_etl.io.read import (
    GROUP_FILES,
    REJECTS,
    ReadDocuments,
    count_split,
    pack_files,
    tag_rejects,
    unpack_files,
)
from beam_etl.io.rejects import Reject
from beam_etl.io.splits import plan_splits, read_split
from beam_etl.transforms.batches import Batches, split_batch
from beam_etl.transforms.metrics import ROWS_READ, StepMetrics
from beam_etl.transforms.shuffle import Distribute

FileKernel: TypeAlias = Callable[..., Iterable[pa.RecordBatch]]
"""From all documents of a file or a group of files, an iterator that reads them, to batches. Where there is a side
input, its value comes behind."""

Groups: TypeAlias = Sequence[Sequence[FileEntry]]
"""Files that are worked on together, by one worker, in their order."""


class MappedFiles(NamedTuple):
    """What MapFiles gives."""

    batches: Batches
    rejects: Batches
    """schema.REJECT."""


@dataclass(eq=False, kw_only=True)
class MapFiles(beam.PTransform):
    """`kernel` over the documents of each file, or each group of files. No shuffle: they are handed out whole.

    Input: the pipeline. Output: MappedFiles.

    Args:
      source: the input; its documents() needn't be called.
      kernel: it reads all documents, once.
      columns: as for FileSource.documents.
      groups: of the input's files; None for each by itself.
      side: what the kernel gets besides.
    """

    source: FileSource
    kernel: FileKernel
    columns: Columns | None = None
    groups: Groups | None = None
    side: beam.pvalue.AsSideInput | None = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, pipeline: beam.Pipeline) -> MappedFiles:
        read = self.source.read
        columns = self.columns or read.columns
        sides = () if self.side is None else (self.side,)
        work = beam.ParDo(_MapFile(read, columns, self.kernel), *sides).with_output_types(
            pa.RecordBatch, rejects=pa.RecordBatch
        )
        groups = [(file,) for file in read.files] if self.groups is None else self.groups
        out = hand_out_groups(pipeline, groups) | "Map" >> work.with_outputs(REJECTS, main="batches")
        return MappedFiles(out.batches, out[REJECTS])


def hand_out_groups(pipeline: beam.Pipeline, groups: Groups) -> beam.PCollection[bytes]:
    """The groups, one by one, each as `pack_files` packs it. GROUP_FILES files are one element of the job."""
    packs: list[list[bytes]] = []
    count = GROUP_FILES
    for group in groups:
        if count >= GROUP_FILES:
            packs.append([])
            count = 0
        packs[-1].append(pack_files(group))
        count += len(group)
    return (
        pipeline
        | "Files" >> beam.Create(packs, reshuffle=False)
        | "Unpack" >> beam.FlatMap(iter).with_output_types(bytes)
        | "Distribute files" >> Distribute()
    )


class _MapFile(beam.DoFn):
    def __init__(self, read: ReadDocuments, columns: Columns, kernel: FileKernel) -> None:
        self._how = (read.known, columns, read.stored_schema)
        self._split_bytes = read.split_bytes
        self._kernel = kernel
        self._metrics = StepMetrics()

    def process(self, group: bytes, *side: Any) -> Iterator[Any]:
        splits = [
            split
            for file in unpack_files(group)
            for split in plan_splits(file, self._how[0], self._split_bytes)
        ]
        self._rejected = False
        for out in self._metrics.timed(iter(self._kernel(self._documents(splits), *side))):
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
