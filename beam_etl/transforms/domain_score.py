"""ScoreDomains: how much of each domain passes quality rules, as a ranked table and as scores for its documents."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.domain_facts import document_facts, facts_statistics
from beam_etl.kernels.domain_measures import Measures
from beam_etl.kernels.domain_score import UNIQUE, ScoreRule, as_written
from beam_etl.kernels.domain_statistics import merge_statistics, partial_statistics
from beam_etl.kernels.domain_table import domain_table
from beam_etl.kernels.judging import MAIN_SIGNALS, JudgeDocuments
from beam_etl.kernels.quality import Rule, rules_of
from beam_etl.kernels.sampling import Flags
from beam_etl.transforms.aggregate import Aggregate
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.documents import MapDocuments
from beam_etl.transforms.gathering import combine_all
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.quality import DEFAULT_RULES
from beam_etl.transforms.score_table import ScoredDomains, ScoreTable
from beam_etl.transforms.shuffle import Partition

Judge: TypeAlias = Callable[[pa.RecordBatch], pa.RecordBatch]
"""From documents to what domain_statistics.partial_statistics takes as `judged`."""

Mark: TypeAlias = Callable[[pa.RecordBatch], Flags | str]
"""From documents to bool[rows], which are duplicates; or why that can't be known, for ScoredDomains.failures."""

STAGE = "count domains"
"""What rejects have in the column `stage`."""


class TabulatedDomains(NamedTuple):
    """What counting gives."""

    domains: Batches
    """domain_table.table_schema, each domain once."""
    rejects: Batches
    """schema.REJECT: documents that can't be counted."""


@dataclass(frozen=True, kw_only=True)
class CountDomains:
    """A kernel: partial statistics of the documents of a batch.

    Args:
      judge: makes signals and finds failures.
      measures: which ones.
      mark: finds duplicates.
    """

    judge: Judge
    measures: Measures
    mark: Mark | None = None

    def __call__(self, documents: pa.RecordBatch) -> pa.RecordBatch:
        """domain_measures.STATISTIC. A null text is no document."""
        if documents.column(schema.TEXT).null_count:
            documents = documents.filter(pc.is_valid(documents.column(schema.TEXT)))
        duplicate = None if self.mark is None else self.mark(documents)
        return partial_statistics(documents, self.judge(documents), self.measures, duplicate)

    def facts(self, documents: pa.RecordBatch) -> pa.RecordBatch:
        """What of each document is counted, without its text (domain_facts.document_facts)."""
        return document_facts(documents, self.judge, self.measures)

    def of_facts(self, facts: pa.RecordBatch) -> pa.RecordBatch:
        """domain_measures.STATISTIC of what `facts` gave."""
        return facts_statistics(facts, self.measures)

    def merge(self, statistics: pa.RecordBatch) -> pa.RecordBatch:
        """The merge kernel of what this one gives."""
        return merge_statistics(statistics, self.measures)

    def finish(self, statistics: pa.RecordBatch) -> pa.RecordBatch:
        """The table of domains, of all their statistics."""
        return domain_table(statistics, self.measures)

    def in_place(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The table of the domains of one place, which has all their documents."""
        return combine_all(map(self, batches), self.merge, self.finish)


@dataclass(eq=False, kw_only=True)
class ScoreDomains(beam.PTransform):
    """A score for each domain. One small shuffle, of statistics; none where the input is partitioned.

    Input: batches of documents that have text and domain, and where there are language, date and id; where they are
    partitioned by domain, what Shuffle gives. Output: ScoredDomains.

    Args:
      rules, thresholds: as for FilterQuality: what documents pass or fail.
      weights: of rule sets, and of UNIQUE where there is `mark`; those not named have 1.
      prior, confidence: as for domain_score.ScoreRule.
      signals: what the table tells sums and quantiles of; "words" are always among it.
      sample: documents to choose of each domain, for JoinDomainScores; None for all.
      sample_by: columns whose hash chooses them.
      mark: finds duplicates, or says why it can't.
      partitioned: each partition of the input has all documents of its domains.
      partitions, expected_bytes: as for Shuffle.

    Attributes:
      count: the kernel that counts documents.
      rule: how a score is made of what it counts.

    Raises:
      ValueError: no such rules, signals or parts of a score, or a number out of range.
    """

    rules: tuple[str | Rule, ...] = DEFAULT_RULES
    thresholds: Mapping[str, float | None] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    prior: float = ScoreRule.prior
    confidence: float = ScoreRule.confidence
    signals: tuple[str, ...] = MAIN_SIGNALS
    sample: int | None = None
    sample_by: tuple[str, ...] = (schema.ID,)
    mark: Mark | None = None
    partitioned: bool = False
    partitions: int | None = None
    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        rules = rules_of(self.rules, self.thresholds)
        if not rules:
            raise ValueError(f"no rules to judge documents by: {self.rules!r}, {self.thresholds!r}")
        judge = JudgeDocuments(rules, tuple(dict.fromkeys(("words", *self.signals))))
        measures = judge.measures(self.sample, self.sample_by)
        self.count = CountDomains(judge=judge, measures=measures, mark=self.mark)
        parts = [name for name, _ in measures.rule_sets] + ([] if self.mark is None else [UNIQUE])
        unknown = [part for part in self.weights if part not in parts]
        if unknown:
            raise ValueError(f"no part {unknown[0]!r} of a score to weigh; there are {', '.join(parts)}")
        weights = tuple((part, self.weights.get(part, 1.0)) for part in parts)
        self.rule = ScoreRule(weights=weights, prior=self.prior, confidence=self.confidence)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches | beam.PCollection[Partition]) -> ScoredDomains:
        if self.partitioned:
            table = documents | "Count in place" >> MapPartitions(kernel=self.count.in_place)
            return table | "Score" >> ScoreTable(rule=self.rule, partitioned=True)
        table, rejects = self.tabulate(documents)
        scored: ScoredDomains = table | "Score" >> ScoreTable(rule=self.rule)
        return scored._replace(rejects=rejects)

    def tabulate(self, documents: Batches, keep_partition: bool = False) -> TabulatedDomains:
        """The table of domains before it is scored. One shuffle; `keep_partition` as for Aggregate."""
        counted, rejects = documents | "Count" >> MapDocuments(self.count, stage=STAGE)
        return TabulatedDomains(self.summed(counted, keep_partition), rejects)

    def summed(self, counted: Batches, keep_partition: bool = False) -> Batches:
        """The table of domains, of what CountDomains made. One small shuffle."""
        table: Batches = counted | "Sum" >> Aggregate(
            by=(schema.DOMAIN,),
            merge=self.count.merge,
            finish=self.count.finish,
            partitions=self.partitions,
            expected_bytes=self.expected_bytes,
            keep_partition=keep_partition,
        )
        return table


@dataclass(eq=False, kw_only=True)
class ScoreFacts(beam.PTransform):
    """Scores of documents of which no more is left than facts. One small shuffle, of statistics.

    Input: what CountDomains.facts gives. Output: ScoredDomains.

    Args:
      scoring: what is counted, and how it is scored.
    """

    scoring: ScoreDomains

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, facts: Batches) -> ScoredDomains:
        counted = facts | "Count" >> MapBatches(self.scoring.count.of_facts)
        scored: ScoredDomains = self.scoring.summed(counted) | "Score" >> ScoreTable(rule=self.scoring.rule)
        return scored


@dataclass(eq=False, kw_only=True)
class TabulateDomains(beam.PTransform):
    """What each domain has in each window, without scores. One small shuffle, of statistics.

    A score compares a domain with all others, whose panes come on their own: kernels/domain_windows.py makes scores of
    these tables, window by window, where they are read.

    Input: as of ScoreDomains, in windows. Output: TabulatedDomains.

    Args:
      scoring: what is counted.
      keep_partition: as for Aggregate.
    """

    scoring: ScoreDomains
    keep_partition: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> TabulatedDomains:
        table, rejects = self.scoring.tabulate(documents, self.keep_partition)
        return TabulatedDomains(table | "As written" >> MapBatches(as_written), rejects)
