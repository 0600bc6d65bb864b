"""DeduplicateFiles: files, or groups, that have nothing to do with each other, each deduplicated where it is read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.io.data_files import Finished
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats import Split
from beam_etl.io.map_files import Groups, hand_out_groups
from beam_etl.io.read import REJECTS, count_split, tag_rejects, unpack_files
from beam_etl.io.rejects import Reject
from beam_etl.io.rewrite import FAILURES, STAGE, copying, has_records, or_failure
from beam_etl.io.split_copy import Copying, copy_split
from beam_etl.io.splits import plan_splits, read_split
from beam_etl.kernels.applying import sorted_decisions
from beam_etl.kernels.cluster_report import told_in_place
from beam_etl.transforms.batches import Batches, tagged
from beam_etl.transforms.metrics import ROWS_READ, StepMetrics

Decide = Callable[[Iterator[pa.RecordBatch]], Iterable[pa.RecordBatch]]
"""From the documents of a file to decisions: schema.DECISION."""

REMOVED, REPORT = "removed", "report"
"""Tags of outputs."""


class DeduplicatedFiles(NamedTuple):
    """What DeduplicateFiles gives."""

    files: beam.PCollection[Finished]
    removed: Batches
    """kernels.removals.REMOVED."""
    report: Batches
    """kernels.cluster_report.REPORT, of each file for itself."""
    rejects: Batches
    failures: beam.PCollection[str]
    """As of RewriteDocuments."""


@dataclass(eq=False, kw_only=True)
class DeduplicateFiles(beam.PTransform):
    """Each file, or group of files, without its duplicates, found and removed where it is read. No shuffle.

    For input in which documents of different groups are never duplicates, because each has all documents of its
    domains, say. A worker holds the signatures of one group, some 300 bytes a document.

    Input: the pipeline. Output: DeduplicatedFiles.

    Args:
      source: the input; its documents() needn't be called.
      decide: finds the duplicates among the documents of a group.
      describe: as kernels.removals.describe, of documents with decisions.
      output, run: as for RewriteDocuments.
      groups: as of MapFiles.
    """

    source: FileSource
    decide: Decide
    describe: Callable[[pa.RecordBatch], pa.RecordBatch]
    output: str
    run: str
    groups: Groups | None = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam takes a tuple of PCollections for a mistake
    def expand(self, pipeline: beam.Pipeline) -> DeduplicatedFiles:
        read = self.source.read
        how = copying(self.source, read.columns, self.output, self.run)
        work = _DeduplicateFile(how, read.split_bytes, self.decide, self.describe)
        types = {**dict.fromkeys((REMOVED, REPORT, REJECTS), pa.RecordBatch), FAILURES: str}
        groups = [(file,) for file in read.files] if self.groups is None else self.groups
        out = hand_out_groups(pipeline, groups) | "Deduplicate" >> beam.ParDo(work).with_output_types(
            Finished, **types
        ).with_outputs(*types, main="files")
        return DeduplicatedFiles(out.files, out[REMOVED], out[REPORT], out[REJECTS], out[FAILURES])


class _DeduplicateFile(beam.DoFn):
    """Reads a group of files twice: for decisions, and for what is kept."""

    def __init__(
        self,
        how: Copying,
        split_bytes: int,
        decide: Decide,
        describe: Callable[[pa.RecordBatch], pa.RecordBatch],
    ) -> None:
        self._how = how
        self._split_bytes = split_bytes
        self._decide = decide
        self._describe = describe
        self._metrics = StepMetrics()

    def process(self, group: bytes) -> Iterator[Any]:
        return self._metrics.timed(or_failure(self._deduplicate(group)))

    def _deduplicate(self, group: bytes) -> Iterator[Any]:
        splits = [
            split
            for file in unpack_files(group)
            for split in plan_splits(file, self._how.known, self._split_bytes)
        ]
        self._rejected = 0
        decisions = sorted_decisions(self._decide(self._documents(splits)))
        found: list[pa.RecordBatch] = []
        for split, mine in _by_split([split for split in splits if has_records(split)], decisions):
            copied = copy_split(split, mine, self._how, self._metrics)
            for out in tag_rejects(copied, self._metrics, STAGE):
                if isinstance(out, pa.RecordBatch):
                    found.append(self._describe(out))
                else:
                    yield out
        removed, report = told_in_place(found)
        yield from tagged(REMOVED, removed)
        yield from tagged(REPORT, report)
        if self._rejected:  # read once more, since they may be many, and too large to be held
            yield from tag_rejects(self._read(splits, Reject), self._metrics)

    def _read(self, splits: list[Split], kind: type[Any]) -> Iterator[Any]:
        """The documents, or what is rejected."""
        for split in splits:
            for found in read_split(split, self._how.known, self._how.first, self._how.stored):
                if isinstance(found, kind):
                    yield found
                else:
                    self._rejected += isinstance(found, Reject)

    def _documents(self, splits: list[Split]) -> Iterator[pa.RecordBatch]:
        for split in splits:
            for batch in self._read([split], pa.RecordBatch):
                self._metrics.add(ROWS_READ, batch.num_rows)
                yield batch
            count_split(split, self._metrics)


def _by_split(splits: list[Split], decisions: pa.RecordBatch) -> Iterator[tuple[Split, list[pa.RecordBatch]]]:
    """Each split with the decisions about its documents, which are ascending by node."""
    node = decisions.column(schema.NODE).to_numpy()
    starts = np.array([split.address for split in splits], np.uint64)
    edges = [*np.searchsorted(node, starts).tolist(), len(node)]
    for split, begin, end in zip(splits, edges[:-1], edges[1:], strict=True):
        yield split, [decisions.slice(begin, end - begin)]
