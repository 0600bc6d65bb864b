"""The removal table and the cluster report, from what a second look found of documents with decisions."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.cluster_report import (
    CLUSTER_ROW,
    DOMAIN_ROW,
    KIND,
    REPORT,
    SIZE_ROW,
    merge_report,
    report_rows,
    report_table,
)
from beam_etl.kernels.exact import ExactRule
from beam_etl.kernels.partition import plan_partitions
from beam_etl.kernels.removals import SALT, assemble, describe, removal_table
from beam_etl.transforms.aggregate import Aggregate
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.metrics import NAMESPACE
from beam_etl.transforms.shuffle import KEY_LIMIT, Fold, Shuffle

REPORT_BYTES = 80 << 10
"""Of the partial report of a bundle: 680 rows of 122 bytes of the benchmarks' 1 GB.

That is its largest clusters, its sizes of clusters and 500 domains. Nobody knows before how many these will be.
"""

SURVIVORS_LOST = "removed_for_unreadable"
"""Counter: documents removed for one that couldn't be read a second time, so that their text is nowhere."""


class RemovalTables(NamedTuple):
    """What is told of removed documents."""

    removals: Batches
    """schema.REMOVAL: each of them."""
    clusters: Batches
    """schema.CLUSTERS: the largest ones."""
    cluster_sizes: Batches
    """schema.CLUSTER_SIZES."""
    domains: Batches
    """schema.DOMAINS; without rows where documents have no domain."""


@dataclass(eq=False, kw_only=True)
class DescribeRemovals(beam.PTransform):
    """Removed documents beside their survivors, and the report. Two shuffles, without text.

    The first is of a row for each removed document and its survivor, the second of a few rows a bundle.

    Input: batches of documents with their decision: schema.DECISION, text, and where there are id and domain. Output:
    RemovalTables.

    Args:
      exact: the rule of the run, where it compared exactly.
      domains: documents have a domain.
      id: the column that names documents.
      expected_bytes: of the first shuffle.
      most_bytes: of it, if all documents had duplicates. Its partitions have room for so many.
      bundles: how many the engine makes of its partitions, at most: each sends a partial report.
      survivors: removals.FOUND of survivors that are not among the input's documents.
      partitions: of the first shuffle; None computes them from the bytes.
    """

    exact: ExactRule | None = None
    domains: bool = False
    id: str = schema.ID
    expected_bytes: int | None = None
    most_bytes: int | None = None
    bundles: int = 1
    survivors: Batches | None = None
    partitions: int | None = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, found: Batches) -> RemovalTables:
        expected = self.most_bytes or self.expected_bytes
        partitions = plan_partitions(expected, KEY_LIMIT, self.partitions).partitions
        described = found | "Describe" >> MapBatches(partial(describe, exact=self.exact, id=self.id))
        if self.survivors is not None:
            described = (described, self.survivors) | "All survivors" >> beam.Flatten()
        removed = (
            described
            | "To survivors"
            >> Shuffle(
                by=(schema.SURVIVOR, SALT),
                partitions=partitions,
                expected_bytes=self.expected_bytes,
            )
            | "Assemble" >> MapPartitions(kernel=assemble)
        )
        report = (
            removed
            | "Count" >> MapBatches(partial(report_rows, domains=self.domains))
            | "Report"
            >> Aggregate(
                by=(schema.DOMAIN,),
                merge=merge_report,
                expected_bytes=REPORT_BYTES * min(self.bundles, partitions),
            )
        )
        return removal_tables(removed, report)


def fold_reports(report: Batches) -> Batches:
    """Reports of places that told their own (cluster_report.REPORT) as one, but for rows of domains. No shuffle."""
    clusters = report | "Of clusters" >> MapBatches(partial(_of_domains, wanted=False))
    domains = report | "Of domains" >> MapBatches(partial(_of_domains, wanted=True))
    return (domains, clusters | "Fold clusters" >> Fold(merge=_folded)) | "Reports" >> beam.Flatten()


def _of_domains(report: pa.RecordBatch, wanted: bool) -> pa.RecordBatch:
    is_domain = pc.equal(report.column(KIND), DOMAIN_ROW)
    return report.filter(is_domain if wanted else pc.invert(is_domain))


def _folded(reports: list[pa.RecordBatch]) -> pa.RecordBatch:
    return merge_report(pa.concat_batches(reports)) if reports else pa.RecordBatch.from_pylist([], REPORT)


def removal_tables(removed: Batches, report: Batches) -> RemovalTables:
    """The tables of removals.REMOVED and cluster_report.REPORT."""
    clusters, sizes, domains = (
        report | f"Table {kind}" >> MapBatches(partial(report_table, kind=kind))
        for kind in (CLUSTER_ROW, SIZE_ROW, DOMAIN_ROW)
    )
    return RemovalTables(removed | "Removals" >> MapBatches(_table), clusters, sizes, domains)


def _table(removed: pa.RecordBatch) -> pa.RecordBatch:
    told = removal_table(removed)
    nowhere = told.filter(
        pc.and_(told.column("survivor_file").is_null(), told.column(schema.FILE).is_valid())
    )
    Metrics.counter(NAMESPACE, SURVIVORS_LOST).inc(nowhere.num_rows)
    return told
