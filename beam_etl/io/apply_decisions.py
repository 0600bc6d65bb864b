"""ApplyDecisions: spilled documents once more, without those that several steps removed one after the other."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.io.formats import FileEntry, Split
from beam_etl.io.rewrite import FAILURES, SPLIT, Starts, or_failure, sorted_addresses, with_split
from beam_etl.io.spill_files import Spilled, read_spilled
from beam_etl.io.split_copy import Decisions, is_removed
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.metrics import BYTES_READ_AGAIN, StepMetrics, count_live
from beam_etl.transforms.shuffle import Attach, Attachment, Gather

_OF_STEP = "beam_etl.step"
"""uint8: the place of the step that decided. Only while rows travel."""

Count = Callable[[pa.RecordBatch, str], pa.RecordBatch]
"""From the documents that a step has left, and its name, to rows of the output `counts`."""

COUNTS = "counts"


class Applied(NamedTuple):
    """What is left, and what was found."""

    documents: Batches
    """Those that no step removed, as they were spilled."""
    found: dict[str, Batches]
    """By step: the decision's columns, and those wanted of its document, with the metadata of what was spilled."""
    counts: Batches
    failures: beam.PCollection[str]
    """Why the documents must not be used."""


@dataclass(eq=False, kw_only=True)
class ApplyDecisions(beam.PTransform):
    """Removes spilled documents by the decisions of steps. One shuffle, of decisions to the files that hold them.

    Input: {"spilled": Spilled, "decisions": a dict of step to schema.DECISION, in the order of the steps}. Output:
    Applied.

    Args:
      table: whose files are read.
      wanted: columns that are wanted of documents with a decision, where they are there.
      count: makes the counts.
      files: how many there are, estimated.
      expected_bytes: of the decisions.
    """

    table: str
    wanted: tuple[str, ...]
    count: Count
    files: int | None = None
    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for a dict of dicts
    def expand(self, inputs: dict[str, Any]) -> Applied:
        spilled, decisions = inputs["spilled"], inputs["decisions"]
        own = spilled | "Of the table" >> beam.Filter(_is_of, table=self.table)
        starts = (
            own
            | "As splits" >> beam.Map(_split).with_output_types(Split)
            | "Starts" >> beam.ParDo(Starts()).with_output_types(bytes)
            | "Gather starts" >> Gather()
            | "Sort starts" >> beam.Map(sorted_addresses)
        )
        located = [
            rows
            | f"To files: {step}"
            >> beam.FlatMap(_located, place, starts=beam.pvalue.AsSingleton(starts)).with_output_types(
                pa.RecordBatch
            )
            for place, (step, rows) in enumerate(decisions.items())
        ]
        elements = own | "Key" >> beam.Map(_keyed).with_output_types(tuple[Any, Spilled])
        tags = [_tag(step) for step in decisions]
        kinds: Mapping[str, Any] = {**dict.fromkeys(tags, pa.RecordBatch), COUNTS: pa.RecordBatch}
        out = (
            Attachment(elements, located | "All decisions" >> beam.Flatten())
            | "Attach" >> Attach(by=(SPLIT,), keys=self.files, expected_bytes=self.expected_bytes)
            | "Apply"
            >> beam.ParDo(_Apply(tuple(decisions), self.wanted, self.count))
            .with_output_types(pa.RecordBatch, **{FAILURES: str}, **kinds)
            .with_outputs(FAILURES, *kinds, main="documents")
        )
        found = {step: out[tag] for step, tag in zip(decisions, tags, strict=True)}
        return Applied(out["documents"], found, out[COUNTS], out[FAILURES])


def _is_of(spilled: Spilled, table: str) -> bool:
    return spilled.table == table


def _tag(step: str) -> str:
    return f"found_{step}"


def _split(spilled: Spilled) -> Split:
    """A file as what `rewrite` and `split_copy` know: its address is that of its first document."""
    number, first = divmod(spilled.first, 1 << schema.POSITION_BITS)
    return Split(FileEntry(number, spilled.path, spilled.bytes), 0, spilled.bytes, first)


def _keyed(spilled: Spilled) -> tuple[int, Spilled]:
    return spilled.first, spilled


def _located(decisions: pa.RecordBatch, place: int, starts: bytes) -> Iterator[pa.RecordBatch]:
    for batch in with_split(decisions, starts):
        yield batch.append_column(_OF_STEP, pa.repeat(pa.scalar(place, pa.uint8()), batch.num_rows))


class _Apply(beam.DoFn):
    def __init__(self, steps: tuple[str, ...], wanted: tuple[str, ...], count: Count) -> None:
        self._steps, self._wanted, self._count = steps, wanted, count
        self._metrics = StepMetrics()

    def process(self, element: tuple[Spilled, Any]) -> Iterator[Any]:
        yield from or_failure(self._metrics.timed(self._applied(*element)))
        count_live(BYTES_READ_AGAIN, element[0].bytes)

    def _applied(self, spilled: Spilled, decisions: Any) -> Iterator[Any]:
        pending = [
            Decisions(_of_step(decisions, place), _split(spilled)) for place in range(len(self._steps))
        ]
        for stored in read_spilled(spilled):
            self._metrics.took_in(stored)
            batch = stored
            for step, known in zip(self._steps, pending, strict=True):
                rows, at = known.take(batch.column(schema.ADDRESS).to_numpy())
                if rows is not None:
                    yield beam.pvalue.TaggedOutput(_tag(step), self._found(batch, at, rows))
                    batch = _without(batch, at[is_removed(rows)])
                yield beam.pvalue.TaggedOutput(COUNTS, self._count(batch, step))
            if batch.num_rows:
                self._metrics.gave_out(batch)
                yield batch
        for known in pending:
            known.end()

    def _found(self, batch: pa.RecordBatch, at: np.ndarray, decisions: pa.RecordBatch) -> pa.RecordBatch:
        """The decisions, each with what is wanted of its document."""
        there = batch.select([name for name in self._wanted if name in batch.schema.names])
        documents = there.take(pa.array(at))
        for field, column in zip(documents.schema, documents.columns, strict=True):
            decisions = decisions.append_column(field, column)
        return decisions.replace_schema_metadata(batch.schema.metadata)


def _of_step(decisions: Any, place: int) -> Iterator[pa.RecordBatch]:
    for batch in decisions:
        own = batch.filter(pc.equal(batch.column(_OF_STEP), pa.scalar(place, pa.uint8())))
        yield own.drop_columns([SPLIT, _OF_STEP])


def _without(batch: pa.RecordBatch, removed: np.ndarray) -> pa.RecordBatch:
    held = np.ones(batch.num_rows, np.bool_)
    held[removed] = False
    return batch.filter(pa.array(held))
