"""Windows deduplicated one after another in plain Python: what a stream is held against, whatever the order of arrival."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from beam_etl.kernels.candidates import NearRule
from tests.duplicates import Document, buckets_of, union

Buckets = Callable[[Sequence[Document]], dict[Hashable, list[int]]]
"""Documents by what makes them duplicates, as their places."""


@dataclass(frozen=True)
class Decided:
    """What becomes of documents, by id."""

    kept: dict[str, int]
    """Each with the end of its window."""
    removed: dict[str, tuple[int, str]]
    """Each with the end of its window, and whom it is removed for."""


def near_buckets(rule: NearRule) -> Buckets:
    """Equal bands, as datasketch finds them."""

    def found(rows: Sequence[Document]) -> dict[Hashable, list[int]]:
        return buckets_of([{**row, "address": place} for place, row in enumerate(rows)], rule)

    return found


def equal_buckets(*names: str) -> Buckets:
    """Equal values of columns, where all are known and not one empty text."""

    def found(rows: Sequence[Document]) -> dict[Hashable, list[int]]:
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            key = tuple(row[name] for name in names)
            if None not in key and key != ("",):
                groups[key].append(place)
        return groups

    return found


def decide_windows(
    rows: Iterable[Document],
    buckets: Buckets,
    *,
    size: int,
    remember: int,
    number: Callable[[Document], int],
    worth: Callable[[Document], Any] = lambda row: 0,
) -> Decided:
    """Windows one after another.

    Args:
      rows: documents with id, and time in microseconds.
      buckets: what makes duplicates.
      size: of a window, from 0 on.
      remember: a window sees those that ended less than this before it starts.
      number: of several remembered documents the smallest of a bucket stands for all, and the smallest of these is
        named.
      worth: the smallest of a cluster stays; then the smallest time, then id.
    """
    rows = sorted(rows, key=lambda row: (row["time"], row["id"]))
    ends = [(row["time"] // size + 1) * size for row in rows]
    numbers = [number(row) for row in rows]
    groups = [set(group) for group in buckets(rows).values()]
    done = Decided({}, {})
    for end in sorted(set(ends)):
        own = {place for place, ended in enumerate(ends) if ended == end}
        live = {place for place, ended in enumerate(ends) if end - size - remember < ended < end}
        joined = [
            group & own | set(sorted(group & live, key=numbers.__getitem__)[:1])
            for group in groups
            if group & own
        ]
        clusters = union(joined)
        for place in own:
            cluster = clusters.get(place, {place})
            before = cluster - own
            if before:
                best = min(before, key=numbers.__getitem__)
            else:
                best = min(
                    cluster, key=lambda other: (worth(rows[other]), rows[other]["time"], rows[other]["id"])
                )
            if best != place:
                done.removed[rows[place]["id"]] = (end, rows[best]["id"])
            else:
                done.kept[rows[place]["id"]] = end
    return done
