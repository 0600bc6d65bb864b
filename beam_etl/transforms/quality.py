"""FilterQuality: the published quality rules as a filter."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.filtering import annotate_quality, filter_quality
from beam_etl.kernels.quality import Rule, rules_of
from beam_etl.transforms.batches import Batches, split_batch, tagged
from beam_etl.transforms.documents import REJECTS, run_or_reject
from beam_etl.transforms.metrics import RECORDS_REJECTED, StepMetrics

REMOVED = "removed"

STAGE = "judge quality"
"""What rejects have in the column `stage`."""

DEFAULT_RULES = ("gopher_quality", "gopher_repetition", "fineweb")
"""Rule sets that documents are judged by where no others are asked for."""


class FilteredDocuments(NamedTuple):
    """What FilterQuality gives."""

    documents: Batches
    """Those that stay, with all their columns."""
    removals: Batches
    """schema.QUALITY_REMOVAL: the others. Empty where documents are annotated."""
    rejects: Batches
    """schema.REJECT: documents that can't be judged."""


@dataclass(eq=False, kw_only=True)
class FilterQuality(beam.PTransform):
    """Removes documents that fail quality rules, and says which. No shuffle.

    Input: batches of documents that have text. Output: FilteredDocuments.

    Args:
      rules: names of rule sets (quality.RULE_SETS), or rules of your own.
      thresholds: others than those that were published, by the name of the rule; None leaves the rule out.
      annotate: all documents stay, and get the columns `failed`, `reasons` and `signals` (filtering.annotate_quality).
      id: the column that names documents in the removals.

    Raises:
      ValueError: no rules; no such rule set, or no such rule.
      KernelError: while running, where there is no text, or the kernel fails on many documents (see MapDocuments).
    """

    rules: tuple[str | Rule, ...] = DEFAULT_RULES
    thresholds: Mapping[str, float | None] = field(default_factory=dict)
    annotate: bool = False
    id: str = schema.ID

    def __post_init__(self) -> None:
        super().__init__()
        if not rules_of(self.rules, self.thresholds):
            raise ValueError(f"no rules to filter by: rules={self.rules!r}, thresholds={self.thresholds!r}")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> FilteredDocuments:
        rules = rules_of(self.rules, self.thresholds)
        filtering = beam.ParDo(_Filter(rules, self.annotate, self.id)).with_output_types(
            pa.RecordBatch, **{REMOVED: pa.RecordBatch, REJECTS: pa.RecordBatch}
        )
        done = documents | "Filter" >> filtering.with_outputs(REMOVED, REJECTS, main="documents")
        return FilteredDocuments(done["documents"], done[REMOVED], done[REJECTS])


class _Filter(beam.DoFn):
    def __init__(self, rules: tuple[Rule, ...], annotate: bool, id: str) -> None:
        self._kernel = (
            partial(annotate_quality, rules=rules) if annotate else partial(_filtered, rules=rules, id=id)
        )
        self._annotate = annotate
        self._metrics = StepMetrics()

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        self._metrics.took_in(batch)
        yield from self._metrics.timed(self._outputs(batch))

    def _outputs(self, batch: pa.RecordBatch) -> Iterator[Any]:
        made, rejects = run_or_reject(self._kernel, batch, STAGE)
        step = 1 if self._annotate else 2  # batches of each part of the batch that the kernel was run on
        for kept in made[::step]:
            for part in split_batch(kept):
                self._metrics.gave_out(part)
                yield part
        if not self._annotate:
            yield from tagged(REMOVED, made[1::step])
        if rejects is not None:
            self._metrics.add(RECORDS_REJECTED, rejects.num_rows)
            yield from tagged(REJECTS, [rejects])


def _filtered(batch: pa.RecordBatch, rules: tuple[Rule, ...], id: str) -> Iterator[pa.RecordBatch]:
    done = filter_quality(batch, rules, id)
    yield done.kept
    yield done.removed
