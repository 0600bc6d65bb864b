"""Scores and ranks of a table of domains, whose totals and counts of scores are gathered."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.domain_join import further_keys, least_keys, scores_of
from beam_etl.kernels.domain_score import (
    ScoreRule,
    as_written,
    corpus_parts,
    corpus_totals,
    rank_domains,
    score_domains,
    score_units,
)
from beam_etl.kernels.domain_table import WHY_UNMARKED
from beam_etl.kernels.hashing import hash_values
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.shuffle import Gather

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
