"""DeduplicateNear and DeduplicateExact: documents without their duplicates, in a pipeline of one's own."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl import schema
from beam_etl.kernels.applying import (
    Applied,
    apply_decisions,
    apply_in_partition,
    is_decision,
    sorted_decisions,
    with_address,
    without_copies,
)
from beam_etl.kernels.candidates import NearRule
from beam_etl.kernels.cluster_report import told_in_place
from beam_etl.kernels.exact import ExactRule
from beam_etl.kernels.in_place import exact_decisions, near_decisions
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.provenance import carry_file
from beam_etl.kernels.removals import describe
from beam_etl.transforms.batches import Batches, MapBatches, split_batch, tagged
from beam_etl.transforms.component_rounds import typed
from beam_etl.transforms.components import ConnectedComponents
from beam_etl.transforms.exact_duplicates import FindExactDuplicates
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.near_duplicates import FindNearDuplicates
from beam_etl.transforms.removals import DescribeRemovals, removal_tables
from beam_etl.transforms.shuffle import Gather, Partition, Shuffle

BROADCAST_ROWS = 1 << 19
"""Decisions that each worker is given a copy of: 46 bytes each, all under one key. With more, documents and decisions
are shuffled."""

BY_BROADCAST, BY_SHUFFLE = "documents_joined_by_broadcast", "documents_joined_by_shuffle"
"""Counters that say which way decisions met their documents."""

COPIES = "documents_again"
"""Counter: documents of an id, time and text that came before in their window."""

FOUND, SHUFFLED, REMOVED, REPORT = "found", "shuffled", "removed", "report"
"""Tags of outputs."""

Decide = Callable[[Iterator[pa.RecordBatch]], Iterable[pa.RecordBatch]]
"""From all documents of one place to decisions."""


class Deduplicated(NamedTuple):
    """What deduplicating gives."""

    documents: Batches
    """Those that are kept, with all their columns."""
    removals: Batches
    """schema.REMOVAL: each document that was removed, and for which one."""
    clusters: Batches
    """schema.CLUSTERS: the largest ones."""
    cluster_sizes: Batches
    """schema.CLUSTER_SIZES."""
    failures: beam.PCollection[str]
    """Why the result must not be used, as text; none where it may."""


@dataclass(eq=False, kw_only=True)
class DeduplicateNear(beam.PTransform):
    """Documents without their near-duplicates. Four shuffles, of which one is of text.

    It carries no rows where at most BROADCAST_ROWS documents have duplicates: their decisions are broadcast then, and
    a counter says so. The others are those of FindNearDuplicates and DescribeRemovals. A pipeline over files that can
    be read again needs none of text: see `beam_etl.pipelines.dedup`.

    Input: batches of documents that have text and the columns of both rules, in the global window; where they are
    partitioned, what Shuffle gives. Output: Deduplicated.

    Raises:
      ValueError: partitioned, and no column that the rule is within; when the pipeline is made, documents are in other
        windows.

    Args:
      rule: what makes two documents near-duplicates.
      keep: which one of a cluster stays. "The first" is the smallest address.
      id: the column that names documents, each by one of its own; None where they have an address (ReadDocuments).
      components: how clusters are made of links.
      expected_documents: how many there are, estimated.
      partitioned: each partition of the input has all documents of its values of `rule.within`. Then there is no
        shuffle at all; each partition reports for itself, and its signatures are held, some 300 bytes a document.
    """

    rule: NearRule = field(default_factory=NearRule)
    keep: Keep = field(default_factory=Keep)
    id: str | None = None
    components: ConnectedComponents = field(default_factory=ConnectedComponents)
    expected_documents: int | None = None
    partitioned: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        _check_partitioned(self.partitioned, self.rule.within)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches | beam.PCollection[Partition]) -> Deduplicated:
        if self.partitioned:
            decide = partial(near_decisions, rule=self.rule, keep=self.keep)
            return _in_place(documents, decide, self.id, None)
        find = FindNearDuplicates(
            rule=self.rule,
            keep=self.keep,
            components=self.components,
            expected_documents=self.expected_documents,
        )
        return _deduplicated(documents, find, self.id, None)


@dataclass(eq=False, kw_only=True)
class DeduplicateExact(beam.PTransform):
    """Documents without their exact duplicates. Four shuffles, of which one is of text; see DeduplicateNear.

    Input and errors as of DeduplicateNear. Output: Deduplicated.

    Args:
      rule: what makes two documents exact duplicates.
      keep, id, expected_documents, partitioned: as for DeduplicateNear.
    """

    rule: ExactRule = field(default_factory=ExactRule)
    keep: Keep = field(default_factory=Keep)
    id: str | None = None
    expected_documents: int | None = None
    partitioned: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        _check_partitioned(self.partitioned, self.rule.within)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches | beam.PCollection[Partition]) -> Deduplicated:
        if self.partitioned:
            decide = partial(exact_decisions, rule=self.rule, keep=self.keep)
            return _in_place(documents, decide, self.id, self.rule)
        find = FindExactDuplicates(rule=self.rule, keep=self.keep, expected_documents=self.expected_documents)
        return _deduplicated(documents, find, self.id, self.rule)


def _deduplicated(
    documents: Batches, find: beam.PTransform, id: str | None, exact: ExactRule | None
) -> Deduplicated:
    if id is not None:
        documents = documents | "Name" >> MapBatches(partial(with_address, id=id))
    duplicates = documents | "Find duplicates" >> find
    rows = {"documents": documents, "decisions": duplicates.decisions}
    kept, found = rows | "Apply" >> ApplyDecisions()
    told = found | "Describe removals" >> DescribeRemovals(exact=exact, id=id or schema.ID)
    return Deduplicated(kept, told.removals, told.clusters, told.cluster_sizes, duplicates.failures)


def _check_partitioned(partitioned: bool, within: str | None) -> None:
    if partitioned and within is None:
        raise ValueError("a partitioned input needs rule.within: the column that it is partitioned by")


def _in_place(
    partitions: beam.PCollection[Partition], decide: Decide, id: str | None, exact: ExactRule | None
) -> Deduplicated:
    done = partitions | "Deduplicate" >> beam.ParDo(
        _DeduplicatePartition(decide, id, partial(describe, exact=exact, id=id or schema.ID))
    ).with_outputs(REMOVED, REPORT, main="kept")
    told = removal_tables(done[REMOVED], done[REPORT])
    none = partitions.pipeline | "No failures" >> beam.Create([], reshuffle=False).with_output_types(str)
    return Deduplicated(done.kept, told.removals, told.clusters, told.cluster_sizes, none)


class Joined(NamedTuple):
    """Documents and what was decided of them."""

    kept: Batches
    found: Batches
    """Documents with a decision, and its columns."""


class ApplyDecisions(beam.PTransform):
    """Removes documents. No row crosses where there are few decisions; with many, one shuffle of documents.

    Input: documents that have an address, and decisions (schema.DECISION), as a dict. Output: Joined.
    """

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, rows: dict[str, Batches]) -> Joined:
        documents, decisions = rows["documents"], rows["decisions"]
        counts = decisions | "Count" >> beam.ParDo(_Count()).with_output_types(int)
        total = beam.pvalue.AsSingleton(counts | "Gather counts" >> Gather() | "Sum" >> beam.Map(sum))
        few = decisions | "Few" >> beam.Filter(lambda _, total: total <= BROADCAST_ROWS, total=total)
        sort = beam.Map(sorted_decisions).with_output_types(pa.RecordBatch)
        table = beam.pvalue.AsSingleton(few | "Gather decisions" >> Gather() | "Sort" >> sort)
        broadcast = documents | "Broadcast" >> beam.ParDo(_Broadcast(), total, table).with_outputs(
            FOUND, SHUFFLED, main="kept"
        )
        many = decisions | "Many" >> beam.Filter(lambda _, total: total > BROADCAST_ROWS, total=total)
        rows = {"documents": broadcast[SHUFFLED], "decisions": many}
        shuffled: Joined = rows | "Shuffled" >> JoinDecisions()
        return Joined(
            (broadcast.kept, shuffled.kept) | "Kept" >> beam.Flatten(),
            (broadcast[FOUND], shuffled.found) | "Found" >> beam.Flatten(),
        )


@dataclass(eq=False, kw_only=True)
class JoinDecisions(beam.PTransform):
    """Removes documents. One shuffle of documents, window by window.

    Input and output: as of ApplyDecisions.

    Args:
      copies: documents of one address are one that came several times; one of them is kept. Else there are none.
      partitions: as of Shuffle.
    """

    copies: bool = False
    partitions: int | None = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, rows: dict[str, Batches]) -> Joined:
        decisions = rows["decisions"] | "Decisions by address" >> MapBatches(_decision_address)
        joined = (
            (rows["documents"], decisions)
            | "Both" >> beam.Flatten()
            | "By address" >> Shuffle(by=(schema.ADDRESS,), partitions=self.partitions)
            | "Join" >> beam.ParDo(_Join(self.copies)).with_outputs(FOUND, main="kept")
        )
        return Joined(typed(joined.kept), typed(joined[FOUND]))


class _Count(beam.DoFn):
    """Rows of a bundle."""

    def start_bundle(self) -> None:
        self._rows = 0

    def process(self, batch: pa.RecordBatch) -> None:
        self._rows += batch.num_rows

    def finish_bundle(self) -> Iterator[Any]:
        yield WindowedValue(self._rows, MIN_TIMESTAMP, (GlobalWindow(),))


class _Broadcast(beam.DoFn):
    """Applies decisions that every worker has; sends documents on where there are too many."""

    def __init__(self) -> None:
        self._metrics = StepMetrics()

    def process(self, batch: pa.RecordBatch, total: int, decisions: pa.RecordBatch) -> Iterator[Any]:
        self._metrics.took_in(batch)
        if total > BROADCAST_ROWS:
            self._metrics.add(BY_SHUFFLE, batch.num_rows)
            yield beam.pvalue.TaggedOutput(SHUFFLED, carry_file(batch))
            return
        self._metrics.add(BY_BROADCAST, batch.num_rows)
        with self._metrics.timing():
            applied = apply_decisions(batch, decisions)
        yield from _outputs(applied, self._metrics)


class _Join(beam.DoFn):
    """Applies decisions that were shuffled with their documents."""

    def __init__(self, copies: bool) -> None:
        self._copies = copies
        self._metrics = StepMetrics()

    def process(self, partition: Partition) -> Iterator[Any]:
        batches = self._without_copies(partition[1]) if self._copies else partition[1]
        for applied in self._metrics.timed(iter(apply_in_partition(batches))):
            yield from _outputs(applied, self._metrics)

    def _without_copies(self, batches: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
        once = [batch for batch in batches if is_decision(batch)]
        for batch, copies in without_copies(batch for batch in batches if not is_decision(batch)):
            self._metrics.add(COPIES, copies)
            once.append(batch)
        return once


class _DeduplicatePartition(beam.DoFn):
    """Finds and removes the duplicates of a partition, which is read twice."""

    def __init__(
        self, decide: Decide, id: str | None, describe: Callable[[pa.RecordBatch], pa.RecordBatch]
    ) -> None:
        self._decide = decide
        self._id = id
        self._describe = describe
        self._metrics = StepMetrics()

    def process(self, partition: Partition) -> Iterator[Any]:
        return self._metrics.timed(self._deduplicate(partition))

    def _deduplicate(self, partition: Partition) -> Iterator[Any]:
        decisions = sorted_decisions(self._decide(self._documents(partition)))
        found = []
        for batch in self._documents(partition):
            applied = apply_decisions(batch, decisions)
            self._metrics.took_in(batch)
            self._metrics.gave_out(applied.kept)
            yield from split_batch(applied.kept)
            found.append(self._describe(applied.found))
        removed, report = told_in_place(found)
        yield from tagged(REMOVED, removed)
        yield from tagged(REPORT, report)

    def _documents(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        for batch in partition[1]:
            yield batch if self._id is None else with_address(batch, self._id)


def _outputs(applied: Applied, metrics: StepMetrics) -> Iterator[Any]:
    metrics.gave_out(applied.kept)
    yield from split_batch(applied.kept)
    yield from tagged(FOUND, [applied.found])


def _decision_address(decisions: pa.RecordBatch) -> pa.RecordBatch:
    """Decisions under the name that their documents are shuffled by."""
    return decisions.append_column(schema.DOCUMENT.field(schema.ADDRESS), decisions.column(schema.NODE))
