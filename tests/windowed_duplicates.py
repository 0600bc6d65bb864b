"""Windows deduplicated one after another in plain Python: what a stream is held against, in any order of arrival."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from beam_etl.kernels.candidates import NearRule
from tests.duplicates import Clusters, Document, buckets_of, near_clusters, union

NEW = 1 << 63
"""Nodes of documents of earlier windows are below."""

Cluster = Callable[[Sequence[Document], Sequence[Document]], Clusters]
"""Clusters of nodes, of a window's documents and of those that are remembered."""


@dataclass(frozen=True)
class Decided:
    """What becomes of documents, by id."""

    kept: dict[str, int]
    """Each with the end of its window."""
    removed: dict[str, tuple[int, str]]
    """Each with the end of its window, and whom it is removed for."""


def near(rule: NearRule) -> Cluster:
    """Equal bands, as datasketch finds them; with a threshold, what is alike in a bucket."""

    def found(own: Sequence[Document], live: Sequence[Document]) -> Clusters:
        if rule.threshold is not None:
            return near_clusters([*own, *live], rule, NEW)
        return _around_the_smallest(buckets_of([*own, *live], rule))

    return found


def equal(*names: str) -> Cluster:
    """Equal values of columns, where all are known and not one empty text."""

    def found(own: Sequence[Document], live: Sequence[Document]) -> Clusters:
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for row in (*own, *live):
            key = tuple(row[name] for name in names)
            if None not in key and key != ("",):
                groups[key].append(row["address"])
        return _around_the_smallest(groups)

    return found


def _around_the_smallest(groups: dict[Hashable, list[int]]) -> Clusters:
    """Of several remembered documents that are alike the smallest stands for all."""
    joined = []
    for nodes in groups.values():
        own = [node for node in nodes if node >= NEW]
        joined.append([*own, *sorted(set(nodes) - set(own))[:1]] if own else [])
    return union(group for group in joined if group)


def decide_windows(
    rows: Iterable[Document],
    cluster: Cluster,
    *,
    size: int,
    remember: int,
    number: Callable[[Document], int],
    worth: Callable[[Document], Any] = lambda row: 0,
) -> Decided:
    """Windows one after another.

    Args:
      rows: documents with id, and time in microseconds.
      cluster: what makes duplicates.
      size: of a window, from 0 on.
      remember: a window sees those that ended less than this before it starts.
      number: of a document, below NEW. Of several remembered ones in a cluster the smallest is named.
      worth: the smallest of a cluster stays; then the smallest time, then id.
    """
    windows: dict[int, list[Document]] = defaultdict(list)
    for row in rows:
        windows[(row["time"] // size + 1) * size].append({**row, "address": number(row)})
    done = Decided({}, {})
    for end in sorted(windows):
        own = [{**row, "address": row["address"] + NEW} for row in windows[end]]
        live = [row for ended in windows if end - size - remember < ended < end for row in windows[ended]]
        by_node = {row["address"]: row for row in (*own, *live)}
        clusters = cluster(own, live)
        for row in own:
            alike = clusters.get(row["address"], {row["address"]})
            before = [node for node in alike if node < NEW]
            best = min(before) if before else min(alike, key=_in_order(by_node, worth))
            if best == row["address"]:
                done.kept[row["id"]] = end
            else:
                done.removed[row["id"]] = (end, by_node[best]["id"])
    return done


def _in_order(by_node: dict[int, Document], worth: Callable[[Document], Any]) -> Callable[[int], Any]:
    def key(node: int) -> Any:
        row = by_node[node]
        return worth(row), row["time"], row["id"]

    return key
