"""Documents judged by quality rules, as statistics of domains take it: a bit for each rule, and signals as counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.domain_measures import FAILED_BITS, Measures
from beam_etl.kernels.quality import SIGNAL_SCHEMA, Rule, signals

MAIN_SIGNALS = (
    "characters",
    "words",
    "lines",
    "duplicate_line_characters",
    "top_2gram_characters",
    "c4_sentences",
)
"""What the table of domains tells sums and quantiles of: how much there is, and how much of it repeats."""


@dataclass(frozen=True)
class JudgeDocuments:
    """A kernel: makes the signals of documents, and asks all rules.

    Args:
      rules: see quality.rules_of.
      signals: those that statistics are made of.

    Raises:
      ValueError: there is no such signal.
    """

    rules: tuple[Rule, ...]
    signals: tuple[str, ...] = MAIN_SIGNALS

    def __post_init__(self) -> None:
        unknown = [name for name in self.signals if name not in SIGNAL_SCHEMA.names]
        if unknown:
            raise ValueError(f"no signal {unknown[0]!r}; there are {', '.join(SIGNAL_SCHEMA.names)}")

    def __call__(self, documents: pa.RecordBatch) -> pa.RecordBatch:
        """What domain_statistics.partial_statistics takes as `judged`, of documents whose text isn't null."""
        found = signals(documents.column(schema.TEXT))
        failed = np.zeros(documents.num_rows, np.int64)
        for place, rule in enumerate(self.rules):
            failed |= rule.broken_by(rule.values(found)).astype(np.int64) << place
        return found.select(list(self.signals)).append_column(
            pa.field(FAILED_BITS, pa.int64(), nullable=False), pa.array(failed)
        )

    def measures(self, sample: int | None = None, sample_by: Sequence[str] = (schema.ID,)) -> Measures:
        """What is counted: these rules, their sets, these signals, and a sample."""
        names = tuple(rule.name for rule in self.rules)
        sets = dict.fromkeys(map(set_of, names))
        return Measures(
            rules=names,
            rule_sets=tuple(
                (one, tuple(place for place, name in enumerate(names) if set_of(name) == one)) for one in sets
            ),
            signals=self.signals,
            sample=sample,
            sample_by=tuple(sample_by),
        )


def set_of(rule: str) -> str:
    """The rule set of a rule, by its name."""
    return rule.partition(".")[0]
