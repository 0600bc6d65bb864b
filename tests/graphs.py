"""Graphs for tests of components, and the plain-Python union-find that they are compared with."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl import schema

Words = npt.NDArray[np.uint64]
Member = tuple[int, int, int, int]
"""Node, cluster, cluster size, band: a row of schema.MEMBER."""

PATH = 100_000
RANDOM = np.random.default_rng(11)


def links(nodes: npt.ArrayLike, roots: npt.ArrayLike, bands: npt.ArrayLike | None = None) -> pa.RecordBatch:
    """A batch of links; without bands, each has one that its row tells."""
    node, root = np.asarray(nodes, np.uint64), np.asarray(roots, np.uint64)
    band = np.arange(len(node)) * 7 % 20 if bands is None else np.asarray(bands)
    columns = [pa.array(node), pa.array(root), pa.array(band.astype(np.uint16))]
    return pa.record_batch(columns, schema=schema.LINK)


def oracle(batch: pa.RecordBatch) -> list[Member]:
    """Members of the components of `batch`, ordered by cluster and node."""
    parent: dict[int, int] = {}
    band: dict[int, int] = {}

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for node, root, told in zip(*(column.to_pylist() for column in batch.columns), strict=True):
        parent.setdefault(node, node)
        parent.setdefault(root, root)
        band[node] = min(told, band.get(node, schema.NO_BAND))
        one, other = find(node), find(root)
        parent[max(one, other)] = min(one, other)
    components: dict[int, list[int]] = {}
    for node in parent:
        components.setdefault(find(node), []).append(node)
    return [
        (node, cluster, len(nodes), band.get(node, schema.NO_BAND))
        for cluster, nodes in sorted(components.items())
        if len(nodes) > 1
        for node in sorted(nodes)
    ]


def member_rows(batches: Iterable[pa.RecordBatch]) -> list[Member]:
    """Rows in the order in which they come."""
    rows: list[Member] = []
    for batch in batches:
        assert batch.schema == schema.MEMBER
        rows += zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return rows


def path(order: Words) -> pa.RecordBatch:
    """A chain through these nodes."""
    return links(order[1:], order[:-1])


_UP = np.arange(PATH, dtype=np.uint64)
_CLIQUES = [(10 * c + i, 10 * c + j) for c in range(300) for i in range(8) for j in range(8)]
_PAIRS = RANDOM.integers(0, 20_000, (2, 20_000))
_SPARSE = RANDOM.choice(RANDOM.integers(0, 2**64, 8_000, np.uint64), (2, 6_000))

GRAPHS: dict[str, pa.RecordBatch] = {
    "none": links([], []),
    "one link": links([9], [4]),
    "a link to itself": links([4], [4]),
    "one link of no band": links([4, 9], [4, 4], [schema.NO_BAND, schema.NO_BAND]),
    "a band told apart": links([4, 9, 9], [4, 4, 9], [3, 5, 2]),
    "a node tied before it tells its band": links([9, 4, 4], [4, 1, 4], [8, 9, 1]),
    "the ends of the range": links([2**64 - 1, 2**63, 0], [2**63, 0, 0]),
    "a path in order": path(_UP),
    "a path against its order": path(_UP[::-1].copy()),
    "a path in random order": path(RANDOM.permutation(_UP)),
    "the smallest at the far end": path(np.append(_UP[1:5_000], np.uint64(0))),
    "stars": links(np.arange(20_000), np.arange(20_000) % 13),
    "a star whose centre is the largest": links(np.full(9_999, 2**63), np.arange(9_999)),
    "cliques": links([i for i, _ in _CLIQUES], [j for _, j in _CLIQUES]),
    "a random graph": links(*_PAIRS),
    "a sparse random graph, with all links twice": links(*np.concatenate([_SPARSE, _SPARSE], axis=1)),
}
