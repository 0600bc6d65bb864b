"""RemoveRepeatedLines: documents without the lines or paragraphs that repeat."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.repeated_lines import (
    HASH,
    LineRule,
    count_lines,
    merge_counts,
    remove_lines,
    those_that_go,
)
from beam_etl.transforms.aggregate import Aggregate
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.component_rounds import typed
from beam_etl.transforms.documents import REJECTS, MapDocuments, run_with_outputs
from beam_etl.transforms.line_tables import (
    FAILURES,
    HELD,
    LineFile,
    PutTogether,
    Table,
    WriteRepeated,
    told_gone,
)
from beam_etl.transforms.link_files import BeamFiles, Files
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import Gather

COUNTING, REMOVING = "count lines", "remove lines"
"""What rejects have in the column `stage`."""

PIECES_REMOVED = "pieces_removed"
"""Counter: lines or paragraphs that were cut out of documents."""

EDITS, REMOVALS = "edits", "removals"
"""Tags of outputs."""


class FoundLines(NamedTuple):
    """What FindRepeatedLines gives."""

    table: beam.PCollection[LineFile]
    """One element, for RemoveLines."""
    rejects: Batches
    """schema.REJECT: documents that can't be counted."""
    failures: beam.PCollection[str]
    """Why the result must not be used, as text; none where it may."""


class EditedDocuments(NamedTuple):
    """What removing lines gives."""

    documents: Batches
    """Those of which anything is left, with all their columns."""
    edits: Batches
    """schema.EDIT: what was cut out of those that changed."""
    removals: Batches
    """schema.QUALITY_REMOVAL: documents of which nothing but white space would be left."""
    rejects: Batches
    """schema.REJECT."""
    failures: beam.PCollection[str]
    """As of FoundLines."""


@dataclass(eq=False, kw_only=True)
class FindRepeatedLines(beam.PTransform):
    """Which lines or paragraphs repeat. One shuffle, of hashes and counts: 20 bytes a distinct line of a bundle.

    Those that repeat go to a file, 16 bytes each (8 where none is kept), which every worker maps.

    Input: batches of documents that have what the rule needs, and addresses. Output: FoundLines.

    Args:
      rule: what repeats, and what is kept of it.
      folder: for files, seen by all workers, and removed by whoever made it.
      files: how they are written and read.
      memory: bytes that a process may hold of the repeated lines; with more, the result is a failure.
      partitions, expected_bytes: as for Shuffle.

    Raises:
      ValueError: memory below 1.
    """

    rule: LineRule
    folder: str
    files: Files = field(default_factory=BeamFiles)
    memory: int = 2 << 30
    partitions: int | None = None
    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if self.memory < 1:
            raise ValueError(f"memory must be at least 1, got {self.memory}")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> FoundLines:
        rule = self.rule
        counted, rejects = documents | "Count" >> MapDocuments(
            partial(count_lines, rule=rule), stage=COUNTING
        )
        gone = counted | "Sum" >> Aggregate(
            by=(HASH,),
            merge=partial(merge_counts, rule=rule),
            finish=partial(those_that_go, rule=rule),
            partitions=self.partitions,
            expected_bytes=self.expected_bytes,
        )
        write = WriteRepeated(rule, self.folder, self.files)
        done = (
            gone
            | "Write" >> beam.ParDo(write).with_output_types(LineFile)
            | "Files" >> Gather()
            | "Put together"
            >> beam.ParDo(PutTogether(rule, self.folder, self.files, self.memory)).with_outputs(
                FAILURES, main="table"
            )
        )
        return FoundLines(done.table, rejects, done[FAILURES])


@dataclass(eq=False, kw_only=True)
class RemoveLines(beam.PTransform):
    """Cuts out of documents what FindRepeatedLines found. No shuffle.

    Input: as a dict `documents`, as FindRepeatedLines took them, at the same addresses, and `repeated`, its table.
    Output: EditedDocuments.

    Args:
      rule: that of FindRepeatedLines.
      id: the column that names documents in the tables.
      files: as of FindRepeatedLines.
      told: a column that documents get: how many pieces were cut out of each; None: they get none.
    """

    rule: LineRule
    id: str = schema.ID
    files: Files = field(default_factory=BeamFiles)
    told: str | None = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, rows: dict[str, Any]) -> EditedDocuments:
        tags = (EDITS, REMOVALS, REJECTS)
        work = beam.ParDo(
            _Remove(self.rule, self.id, self.files, self.told), beam.pvalue.AsSingleton(rows["repeated"])
        ).with_output_types(pa.RecordBatch, **dict.fromkeys(tags, pa.RecordBatch), failures=str)
        done = rows["documents"] | "Remove" >> work.with_outputs(*tags, FAILURES, main="documents")
        documents, edits, removals, rejects = map(typed, (done.documents, *(done[tag] for tag in tags)))
        return EditedDocuments(documents, edits, removals, rejects, done[FAILURES])


@dataclass(eq=False, kw_only=True)
class RemoveRepeatedLines(beam.PTransform):
    """Documents without the lines or paragraphs that repeat. One shuffle, as of FindRepeatedLines; no text crosses.

    Input: batches of documents, which are gone through twice; give a second read as `again`, or the engine keeps them.
    Output: EditedDocuments.

    Args:
      find: what repeats, and how it is found.
      again: the same documents at the same addresses, with the columns that are wanted; None for the input.
      id, told: as of RemoveLines.
    """

    find: FindRepeatedLines
    again: Batches | None = None
    id: str = schema.ID
    told: str | None = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> EditedDocuments:
        found = documents | "Find" >> self.find
        again = documents if self.again is None else self.again
        removing = RemoveLines(rule=self.find.rule, id=self.id, files=self.find.files, told=self.told)
        edited: EditedDocuments = {"documents": again, "repeated": found.table} | "Edit" >> removing
        failures = (found.failures, edited.failures) | "Failures" >> beam.Flatten()
        return edited._replace(
            failures=failures
        )  # what can't be counted can't be edited: it is a reject once


class _Remove(beam.DoFn):
    def __init__(self, rule: LineRule, id: str, files: Files, told: str | None) -> None:
        self._rule, self._id, self._files, self._told = rule, id, files, told
        self._table: Table | None = None
        self._metrics = StepMetrics()

    def process(self, batch: pa.RecordBatch, file: LineFile) -> Iterator[Any]:
        self._metrics.took_in(batch)
        yield from self._metrics.timed(self._outputs(batch, file))

    def _outputs(self, batch: pa.RecordBatch, file: LineFile) -> Iterator[Any]:
        try:
            if self._table is None or self._table.file != file:
                self._table = HELD.get(file, self._rule, self._files)
        except FileNotFoundError as error:
            yield beam.pvalue.TaggedOutput(FAILURES, told_gone(error))
            return
        kernel = partial(remove_lines, rule=self._rule, gone=self._table.lines, id=self._id, told=self._told)
        for out in run_with_outputs(kernel, batch, REMOVING, (EDITS, REMOVALS), self._metrics):
            if isinstance(out, beam.pvalue.TaggedOutput) and out.tag == EDITS:
                self._metrics.add(PIECES_REMOVED, pc.sum(out.value.column("pieces")).as_py())
            yield out
