"""FilterQuality: the published quality rules as a filter."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.filtering import annotate_quality, filter_quality
from beam_etl.kernels.quality import Rule, rules_of
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.filters import FilteredDocuments, both, filtered

STAGE = "judge quality"
"""What rejects have in the column `stage`."""

DEFAULT_RULES = ("gopher_quality", "gopher_repetition", "fineweb")
"""Rule sets that documents are judged by where no others are asked for."""


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
        if self.annotate:
            return filtered(documents, partial(annotate_quality, rules=rules), STAGE, removes=False)
        return filtered(documents, partial(_filtered, rules=rules, id=self.id), STAGE)


def _filtered(batch: pa.RecordBatch, rules: tuple[Rule, ...], id: str) -> Iterator[pa.RecordBatch]:
    return both(filter_quality(batch, rules, id))
