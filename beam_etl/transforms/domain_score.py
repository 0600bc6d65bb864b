"""ScoreDomains: how much of each domain passes quality rules, as a ranked table and as scores for its documents."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.domain_facts import document_facts, facts_statistics
from beam_etl.kernels.domain_join import further_keys, least_keys, scores_of
from beam_etl.kernels.domain_measures import Measures
from beam_etl.kernels.domain_score import (
    UNIQUE,
    ScoreRule,
    as_written,
    corpus_parts,
    corpus_totals,
    rank_domains,
    score_domains,
    score_units,
)
from beam_etl.kernels.domain_statistics import merge_statistics, partial_statistics
from beam_etl.kernels.domain_table import WHY_UNMARKED, domain_table
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.judging import MAIN_SIGNALS, JudgeDocuments
from beam_etl.kernels.quality import Rule, rules_of
from beam_etl.kernels.sampling import Flags
from beam_etl.transforms.aggregate import Aggregate
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.documents import MapDocuments
from beam_etl.transforms.gathering import combine_all
from beam_etl.transforms.quality import DEFAULT_RULES
from beam_etl.transforms.shuffle import Gather, MapPartitions, Partition

Judge: TypeAlias = Callable[[pa.RecordBatch], pa.RecordBatch]
"""From documents to what domain_statistics.partial_statistics takes as `judged`."""

Mark: TypeAlias = Callable[[pa.RecordBatch], Flags | str]
"""From documents to bool[rows], which are duplicates; or why that can't be known, for ScoredDomains.failures."""

STAGE = "count domains"
"""What rejects have in the column `stage`."""

REPEATED_HASHES = 64
"""So many domains at most, of those that are in several partitions, are looked at by their names."""


class ScoredDomains(NamedTuple):
    """What scoring gives."""

    domains: Batches
    """A row a domain: rank, score and its parts, and the statistics that it is made of (docs/domain_score.md). The
    rows of a batch are in the order of ranks."""
    parts: Batches
    """domain_score.PARTS: one batch, what the whole corpus is like."""
    scores: Batches
    """domain_join.SCORES, for JoinDomainScores."""
    failures: beam.PCollection[str]
    """Why the result must not be used, as text; none where it may."""
    rejects: Batches | None = None
    """schema.REJECT: documents that can't be counted, and are in no domain; None where they make a run fail."""


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


@dataclass(eq=False, kw_only=True)
class ScoreTable(beam.PTransform):
    """Scores and ranks for a table of domains. No shuffle: totals and counts of scores are gathered.

    Input: domain_table.table_schema, each domain once. Output: ScoredDomains.

    Args:
      rule: how a score is made.
      partitioned: the table is of partitions; a domain of several of them is a failure. 8 bytes a domain are gathered.
    """

    rule: ScoreRule
    partitioned: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, table: Batches) -> ScoredDomains:
        rule = self.rule
        totals = (
            table
            | "Count" >> beam.Map(corpus_totals, rule=rule).with_output_types(tuple[int, ...])
            | "Gather totals" >> Gather()
            | "Sum" >> beam.Map(_sum, places=1 + len(rule.weights)).with_output_types(tuple[int, ...])
        )
        scored = table | "Score" >> beam.Map(
            score_domains, totals=beam.pvalue.AsSingleton(totals), rule=rule
        ).with_output_types(pa.RecordBatch)
        units = (
            scored
            | "Scores" >> beam.Map(_pack_units).with_output_types(bytes)
            | "Gather scores" >> Gather()
            | "Distinct scores" >> beam.Map(_distinct).with_output_types(bytes)
        )
        ranked = scored | "Rank" >> beam.Map(_rank, units=beam.pvalue.AsSingleton(units)).with_output_types(
            pa.RecordBatch
        )
        return ScoredDomains(
            ranked,
            totals | "Parts" >> beam.Map(corpus_parts, rule=rule).with_output_types(pa.RecordBatch),
            self._scores(table, scored),
            self._failures(table),
        )

    def _scores(self, table: Batches, scored: Batches) -> Batches:
        further = table | "Further keys" >> beam.Map(further_keys).with_output_types(int)
        total = further | "Gather further keys" >> Gather() | "Sum further keys" >> beam.Map(sum)
        least = beam.pvalue.AsSingleton(total | "Least keys" >> beam.Map(least_keys))
        scores = beam.Map(scores_of, least=least).with_output_types(pa.RecordBatch)
        return scored | "For documents" >> scores

    def _failures(self, table: Batches) -> beam.PCollection[str]:
        unmarked = table | "Unmarked" >> beam.FlatMap(_unmarked).with_output_types(str)
        if not self.partitioned:
            return unmarked
        hashes = table | "Hashes" >> beam.Map(_pack_hashes).with_output_types(bytes)
        gathered = hashes | "Gather hashes" >> Gather()
        repeated = gathered | "Repeated" >> beam.Map(_repeated).with_output_types(bytes)
        named = beam.FlatMap(_names, hashes=beam.pvalue.AsSingleton(repeated)).with_output_types(str)
        names = table | "Names" >> named
        twice = names | "Gather names" >> Gather() | "Twice" >> beam.FlatMap(_twice).with_output_types(str)
        return (unmarked, twice) | "Failures" >> beam.Flatten()


def _unmarked(table: pa.RecordBatch) -> list[str]:
    return pc.unique(table.column(WHY_UNMARKED)).drop_null().to_pylist()


def _pack_hashes(table: pa.RecordBatch) -> bytes:
    return hash_values(table.column(schema.DOMAIN)).astype("<u8").tobytes()


def _repeated(packed: list[bytes]) -> bytes:
    """Some hashes that occur more than once."""
    hashes, counts = np.unique(np.frombuffer(b"".join(packed), "<u8"), return_counts=True)
    return hashes[counts > 1][:REPEATED_HASHES].tobytes()


def _names(table: pa.RecordBatch, hashes: bytes) -> Iterator[str]:
    """What has these hashes, which two names may share."""
    domain = table.column(schema.DOMAIN)
    there = np.isin(hash_values(domain), np.frombuffer(hashes, "<u8"))
    for name in domain.filter(pa.array(there)).to_pylist():
        yield "documents without a domain are" if name is None else f"the domain {name} is"


def _twice(names: list[str]) -> Iterator[str]:
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        yield (
            f"{repeated[0]} in several partitions of the input, of which each gives a score. Leave out --partitioned, "
            f"or give files that each have all documents of their domains."
        )


def _sum(totals: list[tuple[int, ...]], places: int) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip(*totals, strict=True)) or (0,) * places


def _pack_units(scored: pa.RecordBatch) -> bytes:
    """The distinct scores and how many domains have each: 12 bytes a score."""
    units, counts = np.unique(score_units(scored), return_counts=True)
    return units.astype("<i4").tobytes() + counts.astype("<i8").tobytes()


def _unpack_units(packed: bytes) -> tuple[np.ndarray, np.ndarray]:
    size = len(packed) // 12
    return np.frombuffer(packed, "<i4", size), np.frombuffer(packed, "<i8", size, 4 * size)


def _distinct(packed: list[bytes]) -> bytes:
    """The same of several together."""
    if not packed:
        return b""
    units, counts = map(np.concatenate, zip(*map(_unpack_units, packed), strict=True))
    order = np.argsort(units, kind="stable")
    found, first = np.unique(units[order], return_index=True)
    return found.astype("<i4").tobytes() + np.add.reduceat(counts[order], first).astype("<i8").tobytes()


def _rank(scored: pa.RecordBatch, units: bytes) -> pa.RecordBatch:
    return as_written(rank_domains(scored, *_unpack_units(units)))
