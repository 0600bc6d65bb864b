"""Duplicates found in plain Python with datasketch's signatures: what the kernels and the pipeline are held against."""

import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa
from datasketch import MinHash

from beam_etl import schema
from beam_etl.kernels.candidates import NearRule
from beam_etl.kernels.minhash import shingle_hashes
from beam_etl.kernels.verification import PASSES

Document = dict[str, Any]
Clusters = dict[int, set[int]]
"""Each node of a cluster of several: all nodes of that cluster."""

WIDTHS = (0, 0, 1, 1, 2, 3, 4, 6, 8, 12, 30)
"""Words that are changed in the documents of a family."""


def families(count: int, seed: int = 1, words: int = 80) -> list[Document]:
    """Documents of `count` families, and beside each family short, empty and missing texts, some of them equal."""
    source = random.Random(seed)
    made: list[Document] = []
    for family in range(count):
        base = [f"w{source.randrange(50_000)}" for _ in range(words)]
        for changes in WIDTHS:
            text = base.copy()
            for place in source.sample(range(words), changes):
                text[place] = f"new{source.randrange(50_000)}"
            made.append({"text": " ".join(text)})
        made += [
            {"text": text} for text in (f"short text {family % 3}", f"SHORT text {family % 3}", "", None)
        ]
    source.shuffle(made)
    for number, row in enumerate(made):
        row |= {
            "address": 3 * number + 7,
            "id": f"d{number}",
            "domain": source.choice(["one.org", "two.org", None]),
            "score": source.choice([None, float("nan"), -1.5, 0.0, 2.25, 7.0]),
        }
    return made


def batch_of(rows: Sequence[Document]) -> pa.RecordBatch:
    """Documents as kernels take them."""
    return pa.record_batch(
        {
            "address": pa.array([row["address"] for row in rows], pa.uint64()),
            "id": pa.array([row["id"] for row in rows], pa.string()),
            "domain": pa.array([row["domain"] for row in rows], pa.string()),
            "score": pa.array([row["score"] for row in rows], pa.float64()),
            "text": pa.array([row["text"] for row in rows], pa.large_string()),
        }
    )


def batches_of(rows: Sequence[Document], size: int) -> list[pa.RecordBatch]:
    return [batch_of(rows[start : start + size]) for start in range(0, len(rows), size)]


def union(groups: Iterable[Iterable[int]]) -> Clusters:
    """Connected components of several, from groups that are connected in themselves."""
    found: Clusters = {}
    for group in groups:
        nodes = set(group)
        joined = nodes.union(*(found[node] for node in nodes if node in found))
        found |= dict.fromkeys(joined, joined)
    return {node: cluster for node, cluster in found.items() if len(cluster) > 1}


def minima(texts: Sequence[str | None], rule: NearRule) -> list[tuple[int, ...] | None]:
    """datasketch's signature of each text; None for those without a shingle."""
    hashes, edges = shingle_hashes(pa.array(texts, pa.large_string()), rule.ngram)
    empty = MinHash(rule.num_perm, rule.seed, hashfunc=int, scheme="affine32")
    found: list[tuple[int, ...] | None] = []
    for begin, end in pairwise(edges):
        made = empty.copy()
        made.update_batch(hashes[begin:end].tolist())
        found.append(tuple(made.hashvalues.tolist()) if end > begin else None)
    return found


def buckets_of(rows: Sequence[Document], rule: NearRule) -> dict[Hashable, list[int]]:
    """Nodes by what makes them candidates: an equal band, or of short texts the text."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    height = rule.banding.rows
    for row, values in zip(rows, minima([row["text"] for row in rows], rule), strict=True):
        apart = row[rule.within] if rule.within else None
        if values is not None:
            for band in range(rule.banding.bands):
                found[apart, band, values[band * height : (band + 1) * height]].append(row["address"])
        elif row["text"]:
            found[apart, row["text"]].append(row["address"])
    return found


def near_clusters(rows: Sequence[Document], rule: NearRule, new: int = 0) -> Clusters:
    """Documents that share a bucket, or with a threshold those that the stars around the smallest join.

    Buckets without a node from `new` on tell nothing.
    """
    found = {key: nodes for key, nodes in buckets_of(rows, rule).items() if max(nodes) >= new}
    if rule.threshold is None:
        return union(found.values())
    mins = minima([row["text"] for row in rows], rule)
    known = {row["address"]: values for row, values in zip(rows, mins, strict=True)}
    apart = {row["address"]: row[rule.within] if rule.within else None for row in rows}
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for node, values in known.items():
        if values is not None:
            groups[apart[node], values].append(node)
    around: dict[int, set[int]] = defaultdict(set)
    for bucket in found.values():
        around[min(bucket)] |= {min(groups.get((apart[node], known[node]), [node])) for node in bucket}
    texts = [nodes for key, nodes in found.items() if isinstance(key, tuple) and len(key) == 2]
    stars = [star for nodes in around.values() for star in stars_of(nodes, known, rule.threshold)]
    return union([*groups.values(), *texts, *stars])


def stars_of(
    nodes: Iterable[int], known: dict[int, tuple[int, ...] | None], threshold: float
) -> list[list[int]]:
    """What is similar to the smallest node; of the rest, what is similar to its smallest, and so on."""
    left, stars = sorted(nodes), []
    for _ in range(PASSES):
        if not left:
            break
        centre, *others = left
        alike = [node for node in others if similarity(known[centre], known[node]) >= threshold]
        stars.append([centre, *alike])
        left = [node for node in others if node not in alike]
    return stars


def similarity(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> float:
    """Estimated from the low bytes of the minima; of texts without shingles 0, or 1 where they are the same."""
    if one is None or other is None:
        return float(one is other)
    agree = sum(a % 256 == b % 256 for a, b in zip(one, other, strict=True)) / len(one)
    return min(1.0, max(0.0, (agree - 1 / 256) / (1 - 1 / 256)))


def survivors(clusters: Clusters, worth: Callable[[int], Any]) -> dict[int, int]:
    """For each node of a cluster, the one that stays: the smallest worth, then the smallest node."""
    return {node: min(cluster, key=lambda other: (worth(other), other)) for node, cluster in clusters.items()}


def clusters_of(decisions: Iterable[pa.RecordBatch]) -> Clusters:
    """The clusters of decisions or members. Fails unless each names its smallest node and its size."""
    told: dict[int, set[int]] = defaultdict(set)
    sizes: dict[int, int] = {}
    for batch in decisions:
        for row in batch.to_pylist():
            told[row[schema.CLUSTER]].add(row[schema.NODE])
            assert sizes.setdefault(row[schema.CLUSTER], row[schema.CLUSTER_SIZE]) == row[schema.CLUSTER_SIZE]
    for cluster, nodes in told.items():
        assert min(nodes) == cluster
        assert len(nodes) == sizes[cluster]
    return {node: nodes for nodes in told.values() for node in nodes}
