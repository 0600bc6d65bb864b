"""GuardClusters: what becomes of clusters that are larger than a user believes in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.banding import Banding
from beam_etl.kernels.candidates import BUCKET, bucket_links, numbers
from beam_etl.kernels.components import contract
from beam_etl.kernels.oversized import beyond_limit, strict_buckets, within_limit
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.components import ConnectedComponents
from beam_etl.transforms.gathering import combine_all
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.metrics import NAMESPACE
from beam_etl.transforms.shuffle import Shuffle

OVERSIZED_CLUSTERS = "oversized_clusters"
"""Counter: clusters above the limit."""

KEEP, SPLIT, FAIL = "keep", "split", "fail"
ACTIONS = (KEEP, SPLIT, FAIL)


@dataclass(frozen=True, kw_only=True)
class Guard:
    """The size from which a cluster looks like boilerplate, and what is done then.

    Args:
      limit: documents. A bucket of more lies in a cluster of more.
      action: `keep` it as any other; `split` it, so that documents of it must agree in two neighbouring bands; `fail`.

    Raises:
      ValueError: an unknown action, or a limit below 2.
    """

    limit: int = 10_000
    action: str = KEEP

    def __post_init__(self) -> None:
        if self.action not in ACTIONS or self.limit < 2:
            raise ValueError(
                f"a guard is one of {', '.join(ACTIONS)} from 2 documents on, got {self.action!r} from {self.limit}"
            )


class Guarded(NamedTuple):
    """What GuardClusters gives."""

    members: Batches
    failures: beam.PCollection[str]


@dataclass(eq=False, kw_only=True)
class GuardClusters(beam.PTransform):
    """Counts clusters above a limit, and does what the guard says. No shuffle, and two where they are split.

    Input: a dict of `members` (schema.MEMBER) and `signed` (node and buckets of all documents). Output: Guarded.

    Args:
      guard: the limit, and what to do.
      banding: of the buckets.
      components: how the parts of a split cluster are found.
      expected_bytes: of the shuffle by node.

    Raises:
      ValueError: a cluster is to be split along fewer than two bands.
    """

    guard: Guard
    banding: Banding
    components: ConnectedComponents
    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if self.guard.action == SPLIT and self.banding.bands < 2:
            raise ValueError(f"clusters are split along two bands or more, got {self.banding}")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, rows: dict[str, Batches]) -> Guarded:
        members = rows["members"] | "Oversized" >> MapBatches(
            partial(count_oversized, limit=self.guard.limit)
        )
        if self.guard.action != SPLIT:
            failures = members | "Judge" >> beam.FlatMap(_judge, guard=self.guard).with_output_types(str)
            return Guarded(members, failures)
        big = members | "Beyond" >> MapBatches(partial(beyond_limit, limit=self.guard.limit))
        links = (
            (big, rows["signed"])
            | "Members and bands" >> beam.Flatten()
            | "Bands by node" >> Shuffle(by=(schema.NODE,), expected_bytes=self.expected_bytes)
            | "Pair bands" >> MapPartitions(kernel=partial(strict_buckets, banding=self.banding))
            | "By pair" >> Shuffle(by=(BUCKET,), expected_bytes=self.expected_bytes)
            | "Link pairs" >> MapPartitions(kernel=partial(_link, banding=self.banding))
        )
        parts = links | "Parts" >> self._components()
        small = members | "Within" >> MapBatches(partial(within_limit, limit=self.guard.limit))
        return Guarded((small, parts.members) | "All members" >> beam.Flatten(), parts.failures)

    def _components(self) -> ConnectedComponents:
        folder = self.components.folder
        return replace(self.components, folder=f"{folder}-parts" if folder else None)


def count_oversized(members: pa.RecordBatch, limit: int) -> pa.RecordBatch:
    """The same members; those clusters are counted that are larger than `limit` and whose first member is here."""
    first = numbers(members, schema.NODE) == numbers(members, schema.CLUSTER)
    large = numbers(members, schema.CLUSTER_SIZE) > limit
    Metrics.counter(NAMESPACE, OVERSIZED_CLUSTERS).inc(int(np.count_nonzero(first & large)))
    return members


def _judge(members: pa.RecordBatch, guard: Guard) -> Iterator[str]:
    if guard.action != FAIL:
        return
    big = beyond_limit(members, guard.limit)
    first = numbers(big, schema.NODE) == numbers(big, schema.CLUSTER)
    for size in numbers(big, schema.CLUSTER_SIZE)[first].tolist():
        yield (
            f"a cluster of {size:,} documents, above --max_cluster_size={guard.limit}. See what joins them in the "
            f"table `clusters` of a run with --oversized=keep; --oversized=split, more --band_rows or --threshold help."
        )


def _link(batches: Iterable[pa.RecordBatch], banding: Banding) -> Iterator[pa.RecordBatch]:
    return combine_all(bucket_links(batches, banding), contract)
