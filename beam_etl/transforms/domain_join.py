"""JoinDomainScores: each document with its domain's score, and without those that a score or a sample removes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.domain_join import (
    SALT,
    DomainFilter,
    ScoredDocuments,
    filter_documents,
    filter_partition,
    large_domains,
    salted_documents,
    salted_scores,
    sorted_salts,
    sorted_scores,
)
from beam_etl.kernels.provenance import carry_file
from beam_etl.transforms.batches import Batches, MapBatches, RecordBatchCoder, split_batch, tagged
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import Gather, Partition, Shuffle

BROADCAST, SHUFFLE, AUTO = "broadcast", "shuffle", "auto"
WAYS = (AUTO, BROADCAST, SHUFFLE)

BROADCAST_BYTES = 24 << 20
"""Of scores that each worker is given a copy of: some 400,000 domains. All are under one key, of which Flink holds
32 MiB."""

BY_BROADCAST, BY_SHUFFLE = "documents_scored_by_broadcast", "documents_scored_by_shuffle"
"""Counters that say which way documents met their scores."""

REMOVALS, SHUFFLED = "removals", "shuffled"
"""Tags of outputs."""


class JoinedScores(NamedTuple):
    """What joining gives."""

    documents: Batches
    """Those that are kept, with all their columns and `domain_score`."""
    removals: Batches
    """schema.QUALITY_REMOVAL."""
    failures: beam.PCollection[str]
    """Why the result must not be used, as text; none where it may."""


@dataclass(eq=False, kw_only=True)
class JoinDomainScores(beam.PTransform):
    """Scores to documents: by broadcast, without a shuffle; or by one of documents, which are spread within a domain.

    A counter says which way was gone.

    Input: {"documents": with domain and text, for a shuffle and for samples address, "scores": ScoredDomains.scores},
    each domain's but once. Output: JoinedScores.

    Args:
      min_score: documents of domains with a lower score are removed; None for none.
      sample_by: as for ScoreDomains. Those not in its sample are removed.
      way: BROADCAST fails where the scores have more than broadcast_bytes; SHUFFLE never broadcasts them; AUTO decides
        when they are counted, and has both ways in the pipeline.
      broadcast_bytes: most that is broadcast.
      expected_bytes: of documents, for the shuffle.

    Raises:
      ValueError: another way, or a minimum that no score can be.
    """

    min_score: float | None = None
    sample_by: tuple[str, ...] = (schema.ID,)
    way: str = AUTO
    broadcast_bytes: int = BROADCAST_BYTES
    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if self.way not in WAYS:
            raise ValueError(f"documents are joined by {', '.join(WAYS)}; got {self.way!r}")
        self._rule = DomainFilter(self.min_score, self.sample_by)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, rows: dict[str, Batches]) -> JoinedScores:
        documents, scores = rows["documents"], rows["scores"]
        if self.way == SHUFFLE:
            kept, removals = self._shuffled(documents | "With file" >> MapBatches(carry_file), scores)
            none = scores.pipeline | "No failures" >> beam.Create([], reshuffle=False).with_output_types(str)
            return JoinedScores(kept, removals, none)
        sizes = scores | "Size" >> beam.Map(lambda batch: batch.nbytes).with_output_types(int)
        total = sizes | "Gather sizes" >> Gather() | "Sum" >> beam.Map(sum).with_output_types(int)
        size = beam.pvalue.AsSingleton(total)
        few = scores | "Few" >> self._only(few=True, size=size)
        table = _together(few, "scores", sorted_scores)
        out = documents | "Broadcast" >> beam.ParDo(
            _Broadcast(self._rule, self.broadcast_bytes), size, beam.pvalue.AsSingleton(table)
        ).with_output_types(pa.RecordBatch, removals=pa.RecordBatch, shuffled=pa.RecordBatch).with_outputs(
            REMOVALS, SHUFFLED, main="kept"
        )
        most = self.broadcast_bytes if self.way == BROADCAST else None
        failures = total | "Too large" >> beam.FlatMap(_too_large, most=most).with_output_types(str)
        if self.way == BROADCAST:
            return JoinedScores(out.kept, out[REMOVALS], failures)
        many = scores | "Many" >> self._only(few=False, size=size)
        kept, removals = self._shuffled(out[SHUFFLED], many)
        return JoinedScores(
            (out.kept, kept) | "All kept" >> beam.Flatten(),
            (out[REMOVALS], removals) | "All removals" >> beam.Flatten(),
            failures,
        )

    def _only(self, few: bool, size: Any) -> beam.PTransform:
        return beam.ParDo(_Only(self.broadcast_bytes, few), size).with_output_types(pa.RecordBatch)

    def _shuffled(self, documents: Batches, scores: Batches) -> tuple[Batches, Batches]:
        """What is kept, and removals."""
        table = _together(
            scores | "Large domains" >> MapBatches(large_domains), "large domains", sorted_salts
        )
        large = beam.pvalue.AsSingleton(table)
        spread = beam.Map(salted_documents, large=large).with_output_types(pa.RecordBatch)
        to_each = beam.Map(salted_scores, large=large).with_output_types(pa.RecordBatch)
        out = (
            (documents | "Spread" >> spread, scores | "To each part" >> to_each)
            | "Both" >> beam.Flatten()
            | "By domain"
            >> Shuffle(
                by=(schema.DOMAIN, SALT), expected_bytes=self.expected_bytes, if_needed=self.way == AUTO
            )
            | "Join"
            >> beam.ParDo(_Join(self._rule))
            .with_output_types(pa.RecordBatch, removals=pa.RecordBatch)
            .with_outputs(REMOVALS, main="kept")
        )
        return out.kept, out[REMOVALS]


class _Only(beam.DoFn):
    """The scores where they are few, or where they are many; else none."""

    def __init__(self, most: int, few: bool) -> None:
        self._most = most
        self._few = few

    def process(self, scores: pa.RecordBatch, size: int) -> Iterator[pa.RecordBatch]:
        if (size <= self._most) == self._few:
            yield scores


class _Broadcast(beam.DoFn):
    """Joins scores that every worker has; sends documents on where there are too many."""

    def __init__(self, rule: DomainFilter, most: int) -> None:
        self._rule = rule
        self._most = most
        self._metrics = StepMetrics()

    def process(self, documents: pa.RecordBatch, size: int, scores: pa.RecordBatch) -> Iterator[Any]:
        if size > self._most:
            yield beam.pvalue.TaggedOutput(SHUFFLED, carry_file(documents))
            return
        self._metrics.took_in(documents)
        self._metrics.add(BY_BROADCAST, documents.num_rows)
        with self._metrics.timing():
            filtered = filter_documents(documents, scores, self._rule)
        yield from _outputs(filtered, self._metrics)


class _Join(beam.DoFn):
    """Joins scores that were shuffled with their documents."""

    def __init__(self, rule: DomainFilter) -> None:
        self._rule = rule
        self._metrics = StepMetrics()

    def process(self, partition: Partition) -> Iterator[Any]:
        for filtered in self._metrics.timed(filter_partition(partition[1], self._rule)):
            self._metrics.add(BY_SHUFFLE, filtered.kept.num_rows + filtered.removals.num_rows)
            yield from _outputs(filtered, self._metrics)


def _outputs(filtered: ScoredDocuments, metrics: StepMetrics) -> Iterator[Any]:
    for kept in split_batch(filtered.kept):
        metrics.gave_out(kept)
        yield kept
    yield from tagged(REMOVALS, [filtered.removals])


def _together(
    batches: Batches, what: str, sort: Callable[[Iterable[pa.RecordBatch]], pa.RecordBatch]
) -> Batches:
    """All of them as one batch, at one worker. They travel as bytes: a pickled batch takes its parent along."""
    encoded = batches | f"Encode {what}" >> beam.Map(RecordBatchCoder().encode).with_output_types(bytes)
    gathered = encoded | f"Gather {what}" >> Gather()
    return gathered | f"Sort {what}" >> beam.Map(_decoded, sort=sort).with_output_types(pa.RecordBatch)


def _decoded(
    encoded: list[bytes], sort: Callable[[Iterable[pa.RecordBatch]], pa.RecordBatch]
) -> pa.RecordBatch:
    return sort(map(RecordBatchCoder().decode, encoded))


def _too_large(size: int, most: int | None) -> Iterator[str]:
    if most is not None and size > most:
        yield (
            f"the scores of all domains have {size:,} bytes, of which at most {most:,} are broadcast. "
            f"Use --join=shuffle, or a larger --broadcast_bytes."
        )
