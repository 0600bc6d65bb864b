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
from beam_etl.transforms.batches import Batches, Kernel
from beam_etl.transforms.documents import REJECTS, run_with_outputs
from beam_etl.transforms.metrics import StepMetrics

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
    work = beam.ParDo(MapWithOutputs(kernel, stage, (REMOVED,) if removes else ())).with_output_types(
        pa.RecordBatch, **{REMOVED: pa.RecordBatch, REJECTS: pa.RecordBatch}
    )
    done = documents | "Filter" >> work.with_outputs(REMOVED, REJECTS, main="documents")
    return FilteredDocuments(done["documents"], done[REMOVED], done[REJECTS])


class MapWithOutputs(beam.DoFn):
    """A kernel as of documents.run_with_outputs, over batches."""

    def __init__(self, kernel: Kernel, stage: str, tags: tuple[str, ...]) -> None:
        self._kernel, self._stage, self._tags = kernel, stage, tags
        self._metrics = StepMetrics()

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        self._metrics.took_in(batch)
        yield from self._metrics.timed(
            run_with_outputs(self._kernel, batch, self._stage, self._tags, self._metrics)
        )
