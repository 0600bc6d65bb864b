"""What a deduplication comes to: clusters by size, the largest ones, and what each domain lost."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.candidates import numbers
from beam_etl.kernels.removals import BYTES, COUNTS, assemble

LARGEST = 100
"""Clusters that are shown one by one."""

SAMPLE = 5
"""Ids that are shown of each."""

SIZE_ROW, CLUSTER_ROW, DOMAIN_ROW = 0, 1, 2
KIND, KEY, CLUSTERS, REMOVED, EXACT = "kind", "key", "clusters", "removed", "exact"
BANDS, SAMPLES, SURVIVOR_ID = "bands", "sample_ids", "survivor_id"
SUMS = (CLUSTERS, REMOVED, EXACT, BYTES)

REPORT = pa.schema(
    [
        pa.field(schema.DOMAIN, pa.string()),
        pa.field(KIND, pa.int8(), nullable=False),
        pa.field(KEY, pa.uint64(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in SUMS),
        pa.field(schema.CLUSTER_SIZE, pa.int64(), nullable=False),
        pa.field(SURVIVOR_ID, pa.string()),
        pa.field(BANDS, pa.list_(pa.int32())),
        pa.field(SAMPLES, pa.list_(pa.string())),
    ]
)
"""Partial rows of all three tables, keyed by domain, kind and key: the size, or the cluster. Only rows of domains have
a domain, so the rows of the other kinds meet in one partition."""


def report_rows(removed: pa.RecordBatch, domains: bool) -> pa.RecordBatch:
    """Partial report of some removed documents (removals.REMOVED): REPORT."""
    table = pa.table(
        {
            schema.DOMAIN: removed.column(schema.DOMAIN),
            KEY: removed.column(schema.CLUSTER),
            CLUSTERS: removed.column(COUNTS).cast(pa.int64()),
            REMOVED: pa.array(np.ones(removed.num_rows, np.int64)),
            EXACT: pc.equal(removed.column("reason"), "exact").cast(pa.int64()),
            BYTES: removed.column(BYTES),
            schema.CLUSTER_SIZE: removed.column(schema.CLUSTER_SIZE),
        }
    )
    by_size = _sums(table, [schema.CLUSTER_SIZE])
    by_size = by_size.append_column(KEY, by_size[schema.CLUSTER_SIZE].cast(pa.uint64()))
    parts = [_rows(by_size, SIZE_ROW), _cluster_rows(removed)]
    if domains:
        parts.append(_rows(_sums(table, [schema.DOMAIN]), DOMAIN_ROW))
    return merge_report(pa.concat_batches(parts))


def _sums(table: pa.Table, by: list[str]) -> pa.Table:
    grouped = table.group_by(by).aggregate([(name, "sum") for name in SUMS])
    return grouped.rename_columns([name.removesuffix("_sum") for name in grouped.column_names])


def _rows(table: pa.Table, kind: int) -> pa.RecordBatch:
    """A table of some columns as REPORT; numbers that it lacks are 0."""
    columns = []
    for column in REPORT:
        if column.name in table.column_names:
            columns.append(table[column.name].combine_chunks().cast(column.type))
        elif column.nullable:
            columns.append(pa.nulls(table.num_rows, column.type))
        else:
            columns.append(
                pa.repeat(pa.scalar(kind if column.name == KIND else 0, column.type), table.num_rows)
            )
    return pa.RecordBatch.from_arrays(columns, schema=REPORT)


def _cluster_rows(removed: pa.RecordBatch) -> pa.RecordBatch:
    """The largest clusters among these rows. Sizes are of whole clusters, so no part of a large one is left out."""
    size, cluster = numbers(removed, schema.CLUSTER_SIZE), numbers(removed, schema.CLUSTER)
    found, first = np.unique(cluster, return_index=True)
    largest = np.lexsort((found, -size[first]))[:LARGEST]
    some = removed.filter(pa.array(np.isin(cluster, found[largest])))
    rows: dict[int, dict[str, Any]] = {}
    names = (schema.CLUSTER, schema.CLUSTER_SIZE, "reason", BYTES, schema.BAND, SURVIVOR_ID, schema.ID)
    for key, whole, reason, size_, band, survivor, own in zip(
        *(some.column(name).to_pylist() for name in names), strict=True
    ):
        row = rows.setdefault(key, _new_cluster(key, whole, survivor))
        row[REMOVED] += 1
        row[EXACT] += reason == "exact"
        row[BYTES] += size_
        row[BANDS] += [] if band is None else [band]
        row[SAMPLES] += [] if own is None else [own]
    return _listed(rows.values())


def _new_cluster(key: int, size: int, survivor: str | None) -> dict[str, Any]:
    counts = dict.fromkeys(SUMS, 0)
    return {
        KIND: CLUSTER_ROW, KEY: key, **counts, schema.CLUSTER_SIZE: size, SURVIVOR_ID: survivor, BANDS: [], SAMPLES: [],
    }  # fmt: skip


def _listed(rows: Any) -> pa.RecordBatch:
    for row in rows:
        row[BANDS] = sorted(set(row[BANDS]))
        row[SAMPLES] = sorted(set(row[SAMPLES]))[:SAMPLE]
    return pa.RecordBatch.from_pylist(list(rows), schema=REPORT)


def merge_report(report: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of equal domain, kind and key as one: a merge kernel. Of clusters, the LARGEST ones."""
    is_cluster = pc.equal(report.column(KIND), CLUSTER_ROW)
    others = pa.Table.from_batches([report.filter(pc.invert(is_cluster))])
    grouped = others.group_by([schema.DOMAIN, KIND, KEY]).aggregate(
        [*((name, "sum") for name in SUMS), (schema.CLUSTER_SIZE, "max")]
    )
    grouped = grouped.rename_columns(
        [name.removesuffix("_sum").removesuffix("_max") for name in grouped.column_names]
    )
    rows: dict[int, dict[str, Any]] = {}
    for row in report.filter(is_cluster).to_pylist():
        merged = rows.setdefault(row[KEY], _new_cluster(row[KEY], row[schema.CLUSTER_SIZE], row[SURVIVOR_ID]))
        for name in (*SUMS, BANDS, SAMPLES):
            merged[name] += row[name]
    largest = sorted(rows.values(), key=lambda row: (-row[schema.CLUSTER_SIZE], row[KEY]))[:LARGEST]
    return pa.concat_batches([_rows(grouped, 0), _listed(largest)])


def told_in_place(found: Sequence[pa.RecordBatch]) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    """The removed documents of one place, and its whole report: removals.REMOVED, and REPORT in at most one batch.

    Args:
      found: removals.FOUND of all documents with a decision there.
    """
    removed = list(assemble(found)) if found else []
    reports = [report_rows(batch, domains=True) for batch in removed]
    return removed, [merge_report(pa.concat_batches(reports))] if reports else []


def report_table(report: pa.RecordBatch, kind: int) -> pa.RecordBatch:
    """One of the tables: schema.CLUSTER_SIZES, CLUSTERS or DOMAINS."""
    wanted = {SIZE_ROW: schema.CLUSTER_SIZES, CLUSTER_ROW: schema.CLUSTERS, DOMAIN_ROW: schema.DOMAINS}[kind]
    rows = report.filter(pc.equal(report.column(KIND), kind))
    columns = [rows.column(KEY if name == schema.CLUSTER else name) for name in wanted.names]
    return pa.RecordBatch.from_arrays(columns, schema=wanted)
