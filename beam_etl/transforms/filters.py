"""FilterDocuments: documents that keep rules, and a record of each other one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.document_rules import DocumentRule, filter_documents
from beam_etl.kernels.filtering import Filtered
from beam_etl.transforms.batches import Batches, Kernel, run_or_reject, split_batch, tagged
from beam_etl.transforms.documents import REJECTS
from beam_etl.transforms.metrics import RECORDS_REJECTED, StepMetrics

REMOVED = "removed"

STAGE = "filter documents"
"""What rejects have in the column `stage`."""


class FilteredDocuments(NamedTuple):
    """What a filter gives."""

    documents: Batches
    """Those that stay, with all their columns."""
    removals: Batches
    """schema.QUALITY_REMOVAL: the others."""
    rejects: Batches
    """schema.REJECT: documents that can't be judged."""


@dataclass(eq=False, kw_only=True)
class FilterDocuments(beam.PTransform):
    """Removes documents that break a rule, and says which. No shuffle.

    Input: batches of documents that have what the rules look at. Output: FilteredDocuments.

    Args:
      rules: in order; a document is removed for the first that it breaks (see kernels.document_rules).
      id: the column that names documents in the removals.

    Raises:
      ValueError: no rules.
      KernelError: while running, where a column is missing.
    """

    rules: tuple[DocumentRule, ...]
    id: str = schema.ID

    def __post_init__(self) -> None:
        super().__init__()
        if not self.rules:
            raise ValueError("rules is empty: give one at least")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> FilteredDocuments:
        return filtered(documents, partial(_filtered, rules=self.rules, id=self.id), STAGE)


def _filtered(batch: pa.RecordBatch, rules: Sequence[DocumentRule], id: str) -> Iterator[pa.RecordBatch]:
    return both(filter_documents(batch, rules, id))


def both(done: Filtered) -> Iterator[pa.RecordBatch]:
    """The two parts, one after the other, as `filtered` takes them of a kernel."""
    yield done.kept
    yield done.removed


def filtered(documents: Batches, kernel: Kernel, stage: str, removes: bool = True) -> FilteredDocuments:
    """What a kernel keeps and removes.

    Args:
      documents: batches.
      kernel: gives the kept documents, and then, if it `removes`, the removals.
      stage: what rejects have in the column `stage`.
      removes: whether it gives removals.
    """
    work = beam.ParDo(_Filter(kernel, stage, removes)).with_output_types(
        pa.RecordBatch, **{REMOVED: pa.RecordBatch, REJECTS: pa.RecordBatch}
    )
    done = documents | "Filter" >> work.with_outputs(REMOVED, REJECTS, main="documents")
    return FilteredDocuments(done["documents"], done[REMOVED], done[REJECTS])


class _Filter(beam.DoFn):
    def __init__(self, kernel: Kernel, stage: str, removes: bool) -> None:
        self._kernel, self._stage = kernel, stage
        self._step = 2 if removes else 1  # batches of each part of the batch that the kernel was run on
        self._metrics = StepMetrics()

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        self._metrics.took_in(batch)
        yield from self._metrics.timed(self._outputs(batch))

    def _outputs(self, batch: pa.RecordBatch) -> Iterator[Any]:
        made, rejects = run_or_reject(self._kernel, batch, self._stage)
        for kept in made[:: self._step]:
            for part in split_batch(kept):
                self._metrics.gave_out(part)
                yield part
        if self._step == 2:
            yield from tagged(REMOVED, made[1::2])
        if rejects is not None:
            self._metrics.add(RECORDS_REJECTED, rejects.num_rows)
            yield from tagged(REJECTS, [rejects])
