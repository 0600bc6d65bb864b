import random
from collections import Counter, defaultdict
from typing import Any

import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels import cluster_report
from beam_etl.kernels.cluster_report import (
    CLUSTER_ROW,
    DOMAIN_ROW,
    REPORT,
    SAMPLE,
    SIZE_ROW,
    merge_report,
    report_rows,
    report_table,
)
from beam_etl.kernels.removals import COUNTS, REMOVED
from beam_etl.testing import check_kernel, check_merge, sorted_rows

Row = dict[str, Any]


def made_up(clusters: int, seed: int = 1) -> list[Row]:
    """Removed documents of clusters of 2 to 9, in any order."""
    source = random.Random(seed)
    rows: list[Row] = []
    for cluster in range(clusters):
        size = source.choice([2, 2, 2, 3, 3, 5, 9])
        for place in range(1, size):
            exact = source.random() < 0.4
            rows.append(
                {
                    "id": source.choice([None, f"{cluster}-{place:02d}"]),
                    "cluster": cluster * 2**40,
                    "cluster_size": size,
                    "survivor_id": None if cluster % 5 == 0 else f"{cluster}-00",
                    "reason": "exact" if exact else "near",
                    "band": None if source.random() < 0.2 else source.randrange(16),
                    "bytes": source.randrange(10**12),
                    "domain": source.choice(["one.org", "two.org", None]),
                    COUNTS: place == 1,
                }
            )
    source.shuffle(rows)
    return rows


ROWS = made_up(400)


def removed(rows: list[Row]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, REMOVED)


def parts(size: int, domains: bool = True) -> list[pa.RecordBatch]:
    return [report_rows(removed(ROWS[at : at + size]), domains) for at in range(0, len(ROWS), size)]


def table(kind: int, size: int = 100) -> list[Row]:
    found = report_table(merge_report(pa.concat_batches(parts(size))), kind)
    rows: list[Row] = found.to_pylist()
    return rows


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few are shown that most clusters are left out."""
    monkeypatch.setattr(cluster_report, "LARGEST", 30)


def counts(rows: list[Row]) -> Row:
    return {
        "removed": len(rows),
        "exact": sum(row["reason"] == "exact" for row in rows),
        "bytes": sum(row["bytes"] for row in rows),
    }


def grouped(name: str) -> dict[Any, list[Row]]:
    groups = defaultdict(list)
    for row in ROWS:
        groups[row[name]].append(row)
    return groups


@pytest.mark.parametrize("size", [11, 200, 5000])
def test_sizes_are_those_of_a_plain_count(size: int) -> None:
    expected = [
        {"cluster_size": key, "clusters": len({row["cluster"] for row in rows}), **counts(rows)}
        for key, rows in grouped("cluster_size").items()
    ]
    assert sorted(table(SIZE_ROW, size), key=str) == sorted(expected, key=str)


@pytest.mark.parametrize("size", [11, 200, 5000])
def test_domains_are_those_of_a_plain_count(size: int) -> None:
    expected = [{"domain": key, **counts(rows)} for key, rows in grouped("domain").items()]
    assert sorted(table(DOMAIN_ROW, size), key=str) == sorted(expected, key=str)
    assert {row["domain"] for row in expected} == {None, "one.org", "two.org"}


@pytest.mark.parametrize("size", [11, 200, 5000])
def test_the_largest_clusters_are_told_whole(size: int) -> None:
    clusters = grouped("cluster")
    sizes = Counter({key: rows[0]["cluster_size"] for key, rows in clusters.items()})
    largest = sorted(clusters, key=lambda key: (-sizes[key], key))[:30]
    expected = {
        key: {
            "cluster": key,
            "cluster_size": sizes[key],
            **counts(clusters[key]),
            "bands": sorted({row["band"] for row in clusters[key] if row["band"] is not None}),
            "survivor_id": clusters[key][0]["survivor_id"],
            "sample_ids": sorted(row["id"] for row in clusters[key] if row["id"] is not None)[:SAMPLE],
        }
        for key in largest
    }
    assert {row["cluster"]: row for row in table(CLUSTER_ROW, size)} == expected


def test_partial_reports_merge_in_any_order() -> None:
    check_merge(merge_report, parts(200))
    whole = merge_report(pa.concat_batches(parts(5000)))
    for size in (13, 60):
        made = parts(size)
        random.Random(size).shuffle(made)
        found = made[0]
        for start in range(1, len(made), 9):
            found = merge_report(pa.concat_batches([found, *made[start : start + 9]]))
        assert sorted_rows(found) == sorted_rows(whole)
        assert found.schema == REPORT


def test_a_report_is_the_same_anywhere() -> None:
    check_kernel(report_with_domains, removed(made_up(25)), row_wise=False)


def report_with_domains(batch: pa.RecordBatch) -> pa.RecordBatch:
    return report_rows(batch, domains=True)


def test_nothing_removed_reports_nothing() -> None:
    found = merge_report(report_rows(removed([]), domains=True))
    for kind, wanted in (
        (SIZE_ROW, schema.CLUSTER_SIZES),
        (CLUSTER_ROW, schema.CLUSTERS),
        (DOMAIN_ROW, schema.DOMAINS),
    ):
        rows = report_table(found, kind)
        assert rows.schema == wanted
        assert rows.num_rows == 0


def test_documents_without_domains_report_none() -> None:
    rows = merge_report(pa.concat_batches(parts(50, domains=False)))
    assert report_table(rows, DOMAIN_ROW).num_rows == 0
    assert sorted_rows(report_table(rows, SIZE_ROW)) == sorted(
        map(tuple, map(dict.values, table(SIZE_ROW))), key=repr
    )
