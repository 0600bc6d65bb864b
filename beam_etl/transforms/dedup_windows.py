"""DeduplicateWindows: documents that keep arriving, without their duplicates, window after window."""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import FixedWindows
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.candidates import NearRule
from beam_etl.kernels.earlier import own_decisions
from beam_etl.kernels.exact import ExactRule
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.ordering import number_documents
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.components_of_windows import ComponentsOfWindows
from beam_etl.transforms.dedup import JoinDecisions
from beam_etl.transforms.earlier import Earlier
from beam_etl.transforms.exact_duplicates import FindExactDuplicates
from beam_etl.transforms.memories import PARTITIONS, Asked, DescribeRemembered, Memories
from beam_etl.transforms.near_duplicates import FindNearDuplicates
from beam_etl.transforms.oversized import Guard
from beam_etl.transforms.removals import DescribeRemovals

REMEMBER = 7 * 86_400 * 1_000_000
"""A week, in microseconds."""


class DeduplicatedWindows(NamedTuple):
    """What DeduplicateWindows gives."""

    documents: Batches
    """Those that are kept, with all their columns but the address."""
    removals: Batches
    """schema.REMOVAL: each document that was removed, and for which one."""
    clusters: Batches
    """schema.CLUSTERS: the largest ones of each window."""
    cluster_sizes: Batches
    """schema.CLUSTER_SIZES."""
    domains: Batches
    """schema.DOMAINS; without rows where documents have no domain."""
    failures: beam.PCollection[str]
    """Why the result must not be used, as text; none where it may."""


@dataclass(eq=False, kw_only=True)
class DeduplicateWindows(beam.PTransform):
    """Documents in fixed windows without their duplicates. One shuffle of text, and seven of what is derived from it.

    A document is decided once, when its window closes. Within the window the decision is that of DeduplicateNear or
    DeduplicateExact: clusters, and one survivor each by the rule, ties by time and id. Against earlier windows: a
    cluster with a document that is like a remembered one is removed as a whole, and names the remembered one, whose own
    survivor, where it was removed itself, stands in the removals of its own window. Every document is remembered,
    whether it was removed or not, for `remember` after its window's end.

    So for any order of arrival the result is that of processing the windows one after another, as long as no document
    comes later than its window waits. Limits: documents of one id, time and text in a window are one that came several
    times, and are kept once. The newest of a cluster stays within a window only: what earlier windows gave out stays
    out. Links between the documents of a window go to one worker, at most ComponentsOfWindows.most of them.

    Input: batches of documents with text, time, and the columns of both rules, in fixed windows of one pane without
    allowed lateness. Output: DeduplicatedWindows, in the same windows; documents without an address, removals without
    file.

    Raises:
      ValueError: when the pipeline is made, documents aren't in fixed windows; arguments out of range.

    Args:
      rule: what makes two documents duplicates.
      keep: which one of a cluster stays.
      remember: microseconds of event time.
      id: the column that names documents.
      start: what earlier runs kept of theirs, remembered for ever. Of near-duplicates only.
      shards: partitions of what is remembered and of each shuffle of a window, each below what engines hold for one
        key: 64 have room for 8 million remembered documents and 2 GiB of text in a window.
      guard: what becomes of very large clusters.
      components: how many links a window may have.
    """

    rule: NearRule | ExactRule = field(default_factory=NearRule)
    keep: Keep = field(default_factory=Keep)
    remember: int = REMEMBER
    id: str = schema.ID
    start: Earlier | None = None
    shards: int = PARTITIONS
    guard: Guard = field(default_factory=Guard)
    components: ComponentsOfWindows = field(default_factory=ComponentsOfWindows)

    def __post_init__(self) -> None:
        super().__init__()
        if self.remember < 1 or self.shards < 1:
            raise ValueError(f"remember and shards are at least 1, got {self.remember} us and {self.shards}")
        if self.start is not None and isinstance(self.rule, ExactRule):
            raise ValueError("what earlier runs kept is of near-duplicates, and the rule is of exact ones")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> DeduplicatedWindows:
        windowing = documents.windowing
        if not isinstance(windowing.windowfn, FixedWindows) or windowing.allowed_lateness != 0:
            raise ValueError(
                f"a window is decided once, so documents are in fixed windows without allowed lateness, got {windowing}"
            )
        exact = self.rule if isinstance(self.rule, ExactRule) else None
        near = self.rule if isinstance(self.rule, NearRule) else None
        memories = Memories(
            rule=near, remember=self.remember, id=self.id, shards=self.shards, start=self.start
        )
        documents = documents | "Name" >> MapBatches(partial(number_documents, id=self.id))
        found = documents | "Find duplicates" >> self._finder(memories)
        survivors, gone = Asked(documents, found.decisions) | "Remembered documents" >> DescribeRemembered(
            memories=memories
        )
        rows = {"documents": documents, "decisions": found.decisions | "Own" >> MapBatches(own_decisions)}
        joined = rows | "Apply" >> JoinDecisions(copies=True, partitions=memories.partitions)
        told = joined.found | "Describe removals" >> DescribeRemovals(
            exact=exact, domains=True, id=self.id, survivors=survivors, partitions=memories.partitions
        )
        failures = (found.failures, gone) | "All failures" >> beam.Flatten()
        kept = joined.kept | "Without address" >> MapBatches(_without_address)
        return DeduplicatedWindows(
            kept, told.removals, told.clusters, told.cluster_sizes, told.domains, failures
        )

    def _finder(self, memories: Memories) -> FindNearDuplicates | FindExactDuplicates:
        if isinstance(self.rule, ExactRule):
            return FindExactDuplicates(rule=self.rule, keep=self.keep, earlier=memories)
        return FindNearDuplicates(
            rule=self.rule,
            keep=self.keep,
            earlier=memories,
            components=self.components,
            guard=self.guard,
        )


def _without_address(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.drop_columns([schema.ADDRESS])
