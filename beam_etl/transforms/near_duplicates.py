"""Finding near-duplicates: documents to decisions. Text never crosses a shuffle."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.candidates import (
    BUCKET,
    BUCKETS,
    LOW,
    RANK,
    TWIN,
    NearRule,
    bucket_links,
    contract_signatures,
    distinct_links,
    sign,
)
from beam_etl.kernels.choosing import MEMBER_ORDER, choose, join_facts, keep_first
from beam_etl.kernels.components import contract
from beam_etl.kernels.earlier import by_address
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.ordering import ORDER, sign_in_order
from beam_etl.kernels.partition import GATHER_BYTES, plan_partitions
from beam_etl.kernels.verification import CANDIDATE, grant, verify, wishes
from beam_etl.kernels.window_memory import fact_rows
from beam_etl.transforms.batches import Batches, MapBatches, merge_batches, split_batch, tagged
from beam_etl.transforms.components import ConnectedComponents
from beam_etl.transforms.components_of_windows import ComponentsOfWindows
from beam_etl.transforms.decisions import (
    CANDIDATE_SHARE,
    EMPTY_DOCUMENTS,
    VERIFIED_SHARE,
    Decisions,
    bytes_of,
)
from beam_etl.transforms.documents import FailForRejects, MapDocuments
from beam_etl.transforms.earlier import Earlier, MeetKernel, Met, meet_nothing
from beam_etl.transforms.gathering import GatherBatches, combine_all
from beam_etl.transforms.leave_out import LeaveOut
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.memories import Memories
from beam_etl.transforms.metrics import NAMESPACE
from beam_etl.transforms.oversized import SPLIT, Guard, GuardClusters
from beam_etl.transforms.shuffle import KEY_LIMIT, Shuffle

SIGNING = "sign"
"""What is tried with each document: for reasons why one can't be used."""

LINKS = "links"


@dataclass(eq=False, kw_only=True)
class FindNearDuplicates(beam.PTransform):
    """Decisions over near-duplicates. One shuffle, of 16 bytes a band and document, and those that are asked for.

    A rule of what is kept other than the first adds two: of all documents' ranks, and of clusters. A threshold adds
    these two as well, and two of candidates with 128 bytes of their signatures. See ConnectedComponents for graphs
    that are too large for one process.

    Input: batches of documents that have an address, text, and the columns of both rules. Output: Decisions.

    Raises:
      ValueError: a guard that splits, with documents of earlier runs or with one band.

    Args:
      rule: what makes two documents near-duplicates.
      keep: which one stays.
      components: how links become clusters.
      expected_documents: how many there are (in windows: in one), estimated, for partitions and the plan.
      earlier: documents of earlier runs, or for an input in windows, of earlier windows. One of them in a cluster is
        the one that stays: all of this run's or window's go. In the decisions its number is from candidates.FIRST_NEW
        on, and addresses are below. With windows "the first" is the smallest time, then id, then node.
      guard: what becomes of very large clusters. With `split`, two more shuffles: of all documents' buckets by node.
      remember: signatures are wanted for later runs. Documents then need an id and the file they were read from.
      without: decisions of an earlier step: documents that these remove are left out. One more shuffle, of signatures.
    """

    rule: NearRule = field(default_factory=NearRule)
    keep: Keep = field(default_factory=Keep)
    components: ConnectedComponents | ComponentsOfWindows = field(default_factory=ConnectedComponents)
    expected_documents: int | None = None
    guard: Guard = field(default_factory=Guard)
    earlier: Earlier | Memories | None = None
    remember: bool = False
    without: Batches | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if self.earlier is not None and self.guard.action == SPLIT:
            raise ValueError("clusters that documents of earlier runs belong to can't be split")
        if self.earlier is not None and self.without is not None:
            raise ValueError("documents of earlier runs aren't called by the nodes that decisions name")

    @property
    def _in_windows(self) -> bool:
        return isinstance(self.earlier, Memories)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> Decisions:
        signed, unsigned = documents | "Sign" >> MapDocuments(self._signing(), stage=SIGNING)
        if self.without is not None:
            signed = {"rows": signed, "decisions": self.without} | "Leave out" >> LeaveOut(
                expected_bytes=bytes_of(self.expected_documents, 16 + 8 * self.rule.banding.bands)
            )
        contracted = (
            signed
            | "Bands" >> MapBatches(_bands)
            | "Contract" >> beam.ParDo(_Contract(self.rule)).with_outputs(LINKS, main=BUCKETS)
        )
        known = contracted[LINKS]
        size = 16 * self.rule.banding.bands
        linked = (
            contracted[BUCKETS]
            | "By bucket" >> self._shuffle(BUCKET, size)
            | "Link" >> self._meet("buckets", partial(_link, rule=self.rule))
        )
        failures, links, facts = [linked.failures], linked.batches, signed
        if self.rule.threshold is not None:
            granted = self._grant(signed, links, known)
            failures, facts = [*failures, granted.failures], granted.batches
            links = self._verify(facts, self.rule.threshold)
        clusters = (known, links) | "All links" >> beam.Flatten() | "Clusters" >> self.components
        bands = signed | "Node and buckets" >> MapBatches(_buckets)
        guarded = {"members": clusters.members, "signed": bands} | "Guard" >> GuardClusters(
            guard=self.guard,
            banding=self.rule.banding,
            components=self.components,
            expected_bytes=bytes_of(self.expected_documents, 8 + 8 * self.rule.banding.bands),
        )
        decisions = self._decide(guarded.members, facts)
        if self.earlier is not None:
            decisions = decisions | "By address" >> MapBatches(by_address)
        failures += [clusters.failures, guarded.failures, unsigned | "Unsigned" >> FailForRejects()]
        return Decisions(
            decisions, failures | "All failures" >> beam.Flatten(), signed if self.remember else None
        )

    @property
    def _facts(self) -> list[str]:
        """What is asked of a document besides its buckets."""
        low = [] if self.rule.threshold is None else [LOW]
        order = [ORDER] if self._in_windows else [RANK] if self.keep.column else []
        return [schema.NODE, *order, *low]

    def _meet(self, table: str, kernel: MeetKernel) -> beam.PTransform:
        return meet_nothing(kernel) if self.earlier is None else self.earlier.meet(table, kernel)

    def _signing(self) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
        if isinstance(self.earlier, Memories):
            low = self.rule.threshold is not None
            return partial(_sign_in_order, rule=self.rule, keep=self.keep, low=low, id=self.earlier.id)
        return partial(
            _sign,
            rule=self.rule,
            keep=self.keep,
            low=self.remember or self.rule.threshold is not None,
            after_others=self.earlier is not None,
            names=self.remember,
        )

    def _shuffle(self, by: str, size: float, share: float = 1.0) -> Shuffle:
        """A shuffle of so many bytes a document, of a share of them; by what earlier runs kept as well, if they did.

        Partitions have room for all of them: an input that is nothing but duplicates isn't rare.
        """
        meets = self._in_windows or by in (BUCKET, schema.NODE)
        most = bytes_of(self.expected_documents, size)
        return Shuffle(
            by=(by,),
            partitions=self.earlier.partitions
            if self.earlier is not None and meets
            else plan_partitions(most, KEY_LIMIT).partitions,
            expected_bytes=bytes_of(self.expected_documents, size * share),
        )

    def _grant(self, signed: Batches, candidates: Batches, known: Batches) -> Met:
        """The facts of all documents that are linked, once for each candidate link and once more."""
        rows = [
            signed | "Facts of all" >> MapBatches(partial(_known_facts, which=self._facts)),
            candidates | "Wish candidates" >> MapBatches(partial(wishes, candidate=True)),
            known | "Wish known" >> MapBatches(partial(wishes, candidate=False)),
        ]
        if self._in_windows:
            rows.append(signed | "Facts to remember" >> MapBatches(fact_rows))
        granted: Met = (
            rows
            | "Facts and wishes" >> beam.Flatten()
            | "Facts by node" >> self._shuffle(schema.NODE, 16 + self.rule.num_perm)
            | "Grant" >> self._meet("facts", partial(grant, more=(ORDER,) if self._in_windows else ()))
        )
        return granted

    def _verify(self, granted: Batches, threshold: float) -> Batches:
        return (
            granted
            | "Candidates" >> MapBatches(_candidates)
            | "By centre" >> self._shuffle(schema.ROOT, 30 + self.rule.num_perm, CANDIDATE_SHARE)
            | "Verify" >> MapPartitions(kernel=partial(verify, threshold=threshold))
        )

    def _decide(self, members: Batches, facts: Batches) -> Batches:
        verified = self.rule.threshold is not None
        if self.keep.column is None and not verified and not self._in_windows:
            return members | "Keep first" >> MapBatches(keep_first)
        known = facts | "Facts of members" >> MapBatches(partial(_known_facts, which=self._facts))
        size = 38 + (self.rule.num_perm if verified else 0)
        return (
            (members, known)
            | "Members and facts" >> beam.Flatten()
            | "Members by node" >> self._shuffle(schema.NODE, size, CANDIDATE_SHARE if verified else 1)
            | "Join facts"
            >> MapPartitions(
                kernel=partial(join_facts, columns=MEMBER_ORDER) if self._in_windows else join_facts
            )
            | "By cluster"
            >> self._shuffle(schema.CLUSTER, size, VERIFIED_SHARE if verified else CANDIDATE_SHARE)
            | "Choose" >> MapPartitions(kernel=choose)
        )


def _sign(batch: pa.RecordBatch, **how: Any) -> pa.RecordBatch:
    signed = sign(batch, **how)
    Metrics.counter(NAMESPACE, EMPTY_DOCUMENTS).inc(batch.num_rows - signed.num_rows)
    return signed


def _sign_in_order(batch: pa.RecordBatch, **how: Any) -> pa.RecordBatch:
    signed = sign_in_order(batch, **how)
    Metrics.counter(NAMESPACE, EMPTY_DOCUMENTS).inc(batch.num_rows - signed.num_rows)
    return signed


def _buckets(signed: pa.RecordBatch) -> pa.RecordBatch:
    return signed.select([schema.NODE, BUCKETS])


def _bands(signed: pa.RecordBatch) -> pa.RecordBatch:
    return signed.select([schema.NODE, TWIN, BUCKETS])


def _candidates(granted: pa.RecordBatch) -> pa.RecordBatch:
    return granted.filter(granted.column(CANDIDATE)).select([*schema.LINK.names, LOW])


def _known_facts(facts: pa.RecordBatch, which: list[str]) -> pa.RecordBatch:
    """Facts of documents, each once: of signatures, or of links with facts."""
    if CANDIDATE in facts.schema.names:
        facts = facts.filter(pc.invert(facts.column(CANDIDATE)))
    return facts.select(which)


def _link(
    batches: Iterable[pa.RecordBatch], others: Iterable[pa.RecordBatch], rule: NearRule
) -> Iterator[pa.RecordBatch]:
    """Fewer links of the same meaning: a forest, where links don't have to be verified one by one."""
    verified = rule.threshold is not None
    links = bucket_links(batches, rule.banding, others, verified)
    return combine_all(links, distinct_links if verified else contract)


class _Contract(GatherBatches):
    """Links what is alike in a bundle, and sends on the buckets that have to meet others."""

    def __init__(self, rule: NearRule) -> None:
        super().__init__(GATHER_BYTES)
        self._rule = rule

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch | beam.pvalue.TaggedOutput]:
        verified = self._rule.threshold is not None
        rows = merge_batches(batches)
        done = contract_signatures(rows, self._rule.banding, verified)
        # Each linked document asks for its facts where these are compared, so no row may be contracted away.
        yield from tagged(LINKS, [done.links if verified else contract(done.links)])
        for batch in split_batch(done.buckets):
            self._metrics.gave_out(batch)
            yield batch
