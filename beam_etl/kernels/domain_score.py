"""The score of a domain: how much of it passes, drawn to the corpus where there is little to judge by.

For each part of the score, which is a rule set or being no duplicate, with N documents in the corpus of which F fail,
and n of a domain of which f fail:

    mean  = (N - F + 1) / (N + 2)
    rate  = (n - f + prior * mean) / (n + prior)
    bound = max(0, rate - confidence * sqrt(rate * (1 - rate) / (n + prior + 1)))

`rate` is what the domain would pass of its own and of `prior` more documents, that are like the corpus: the mean of a
beta distribution. `bound` is so many of its standard deviations below: what the domain reaches all but surely. The
score is the mean of the bounds by weight, in [0, 1], rounded down to SCORE_UNIT.

One more passing document never lowers a domain's score, one more failing document never raises it, and of two domains
that pass entirely the larger one has the higher.

Source: Gelman and others, Bayesian Data Analysis, 3rd edition (2013), section 2.4 (the beta posterior of a share). The
first formula is Laplace's rule of succession: without it a corpus in which all pass would leave no doubt anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.domain_measures import DOCUMENTS, DUPLICATES
from beam_etl.kernels.domain_table import CUT_KEY, CUT_TIE, WHY_UNMARKED, failed_column

Floats = npt.NDArray[np.float64]

UNIQUE = "unique"
"""The part of the score that falls with duplicates."""

SCORE, RANK = "score", "rank"

SCORE_UNIT = 1e-6
"""Scores that differ by less are equal: there is nothing in it, and ranks are counted by it."""

_UNITS = 1_000_000

PARTS = pa.schema(
    [
        pa.field("part", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field(DOCUMENTS, pa.int64(), nullable=False),
        pa.field("failed", pa.int64(), nullable=False),
        pa.field("mean", pa.float64(), nullable=False),
    ]
)
"""A part of the score, over the whole corpus."""


@dataclass(frozen=True)
class ScoreRule:
    """How domains are scored.

    Args:
      weights: parts of the score, which are rule sets or UNIQUE, and their weights. A weight of 0 shows a part that
        doesn't count.
      prior: documents like the corpus that every domain is given, above 0.
      confidence: standard deviations that the bound is below the rate, 0 or more. 1.645 leaves one domain in twenty
        below its bound.

    Raises:
      ValueError: no weight above 0, a negative one, a part twice, or prior or confidence out of range.
    """

    weights: tuple[tuple[str, float], ...]
    prior: float = 10.0
    confidence: float = 1.645

    def __post_init__(self) -> None:
        weights = [weight for _, weight in self.weights]
        if not sum(weights) > 0 or not min(weights) >= 0 or not sum(weights) < np.inf:
            raise ValueError(f"a score needs weights of 0 or more, one of them above 0; got {self.weights}")
        if len(set(self.parts)) < len(weights):
            raise ValueError(f"each part of a score has one weight, got {self.weights}")
        if not 0 < self.prior < np.inf or not 0 <= self.confidence < np.inf:
            raise ValueError(f"needs prior > 0 and confidence >= 0, got {self.prior} and {self.confidence}")

    @property
    def parts(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(part for part, _ in self.weights)


def corpus_totals(table: pa.RecordBatch, rule: ScoreRule) -> tuple[int, ...]:
    """Documents, and those that fail each part, over some domains. Totals are added place by place."""
    columns = [table.column(DOCUMENTS), *(table.column(part_column(part)) for part in rule.parts)]
    return tuple(int(column.to_numpy().sum()) for column in columns)


def corpus_parts(totals: tuple[int, ...], rule: ScoreRule) -> pa.RecordBatch:
    """PARTS: what the whole corpus is like."""
    documents, *failed = totals
    columns = [
        list(rule.parts),
        [weight for _, weight in rule.weights],
        [documents] * len(failed),
        failed,
        [_mean(documents, count) for count in failed],
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, PARTS, strict=True)], schema=PARTS
    )


def score_domains(table: pa.RecordBatch, totals: tuple[int, ...], rule: ScoreRule) -> pa.RecordBatch:
    """The table of domains with `score` behind the domain, and a `PART_rate` and `PART_bound` for each part.

    Args:
      table: domain_table.table_schema.
      totals: of the whole corpus, see corpus_totals.
      rule: weights and doubt.
    """
    names = [DOCUMENTS, *map(part_column, rule.parts)]
    counts = np.stack([table.column(name).to_numpy().astype(np.float64) for name in names], axis=1)
    score, parts = score_counts(counts, totals, rule)
    for place, (name, values) in enumerate([(SCORE, score), *parts], 1):
        table = table.add_column(place, pa.field(name, pa.float64(), nullable=False), pa.array(values))
    return table


def score_counts(
    counts: Floats, totals: Sequence[float], rule: ScoreRule
) -> tuple[Floats, list[tuple[str, Floats]]]:
    """The score of each domain, and `PART_rate` and `PART_bound` for each part.

    Args:
      counts: float64[domains, 1 + parts]: documents, and of them those that fail each part.
      totals: the same of the whole corpus.
      rule: weights and doubt.
    """
    documents = counts[:, 0]
    score, parts = np.zeros(len(counts)), []
    for place, (part, weight) in enumerate(rule.weights, 1):
        rate, bound = bounds(documents, documents - counts[:, place], _mean(totals[0], totals[place]), rule)
        score += weight * bound
        parts += [(f"{part}_rate", rate), (f"{part}_bound", bound)]
    score /= sum(weight for _, weight in rule.weights)
    return np.floor(np.clip(score, 0, 1) * _UNITS) / _UNITS, parts


def bounds(documents: Floats, passed: Floats, mean: float, rule: ScoreRule) -> tuple[Floats, Floats]:
    """Rate and bound of each domain; see the module."""
    rate = (passed + rule.prior * mean) / (documents + rule.prior)
    deviation = np.sqrt(rate * (1 - rate) / (documents + rule.prior + 1))
    return rate, np.maximum(0.0, rate - rule.confidence * deviation)


def score_units(table: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Scores in SCORE_UNIT, which are whole: int64[rows]."""
    return np.rint(table.column(SCORE).to_numpy() * _UNITS).astype(np.int64)


def rank_domains(
    table: pa.RecordBatch, scores: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> pa.RecordBatch:
    """The table with `rank` behind the domain, in the order of ranks: 1 and how many domains have a higher score.

    Equal scores have equal ranks; the larger domain comes first among them.

    Args:
      table: scored domains, some or all.
      scores: score_units of all domains, ascending, each once.
      counts: how many have them.
    """
    below = np.concatenate([[0], np.cumsum(counts)])
    rank = 1 + below[-1] - below[np.searchsorted(scores, score_units(table), side="right")]
    table = table.add_column(1, pa.field(RANK, pa.int64(), nullable=False), pa.array(rank))
    order = [(RANK, "ascending"), (DOCUMENTS, "descending"), (schema.DOMAIN, "ascending")]
    return table.sort_by(order)


def as_written(table: pa.RecordBatch) -> pa.RecordBatch:
    """The table without what is for the run only."""
    return table.drop_columns([CUT_KEY, CUT_TIE, WHY_UNMARKED])


def _mean(documents: float, failed: float) -> float:
    return (documents - failed + 1) / (documents + 2)


def part_column(part: str) -> str:
    """The column of the table of domains that counts the documents which fail a part."""
    return DUPLICATES if part == UNIQUE else failed_column(part)
