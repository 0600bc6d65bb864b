"""Connected components of a graph that no process holds: kernels of partitions, repeated until nothing changes.

A round is a large star and a small star. Links are keyed by both ends, and each partition ties the larger neighbours
of its nodes to the smallest node it knows of their component; then links are keyed by `node`, and each partition
contracts what it has. What ties a node to the smallest of its neighbours in the paper does so here with the smallest
of all that the partition can reach: a union-find over its rows. The number of links stays about the same. A path of
100,000 nodes takes 11 to 13 rounds, whatever its order.

Nodes travel as ranks: other numbers, one for each, in no order that a corpus could have. Else a path whose nodes ascend
would take longer than others.

Source: Kiveris, Lattanzi, Mirrokni, Rastogi, Vassilvitskii, Connected Components in MapReduce and Beyond (2014).
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.components import Components, Words, contract, link_arrays, link_batch
from beam_etl.kernels.numbering import Numbering, with_room

KEY = "key"
LINK_END = schema.LINK.append(pa.field(KEY, pa.uint64(), nullable=False))
"""A link as one of its ends has it."""

_NONE = 0xFFFF_FFFF_FFFF_FFFF
"""No smaller neighbour: it would have to be smaller than a node, so it is never this."""

_OWNED, _HAS_LARGER, _HAS_SEVERAL, _TOLD, _KEPT = 1, 2, 4, 8, 16
"""Of a node: its links are all here; one to a larger node; several to smaller ones; one to itself; its row goes on."""


class Progress(NamedTuple):
    """How far the nodes of a partition are."""

    nodes: int
    unfinished: int
    """Nodes that are neither the centre of a star nor tied to a centre alone."""


def rank_links(links: pa.RecordBatch) -> pa.RecordBatch:
    """schema.LINK of nodes to contracted schema.LINK of ranks, where `root` is the smaller one."""
    nodes, roots, bands = link_arrays(links)
    return contract(link_batch(_rank(nodes), _rank(roots), bands))


def both_ends(links: pa.RecordBatch) -> pa.RecordBatch:
    """LINK_END: each link twice, with its root and with its node as KEY; a link to itself once."""
    nodes, roots, bands = link_arrays(links)
    apart = nodes != roots
    columns = [np.concatenate([column, column[apart]]) for column in (nodes, roots, bands)]
    keys = np.concatenate([nodes, roots[apart]])
    return pa.record_batch([pa.array(column) for column in (*columns, keys)], schema=LINK_END)


def large_star(ends: Iterable[pa.RecordBatch]) -> tuple[pa.RecordBatch, Progress]:
    """One partition of a large star.

    Args:
      ends: LINK_END of ranks, all rows of each KEY that there is.

    Returns:
      schema.LINK: the larger neighbours of each key, tied to the smallest rank that was reached; and how far the rows
      that came in were. Where no partition has unfinished nodes, all of them were a forest of stars: then what is
      returned is the same forest, each row once.
    """
    neighbours = _Neighbours()
    for batch in ends:
        neighbours.add_ends(batch)
    return neighbours.tied(), neighbours.progress()


def small_star(links: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """One partition of a small star: schema.LINK of ranks, all rows of each `node` that there is, contracted."""
    components = Components()
    for batch in links:
        components.add(batch)
    return components.stars()


def star_members(links: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Members of finished stars. Memory is that of the roots; the links are read twice.

    Args:
      links: schema.LINK of ranks, all rows of each `root` that there is, each once. Can be iterated over again.

    Returns:
      schema.MEMBER of nodes, in no order; one batch of links gives one of members, and the roots come last.
    """
    roots = Numbering()
    sizes: npt.NDArray[np.int64] = np.zeros(0, np.int64)
    smallest: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
    bands: npt.NDArray[np.uint16] = np.zeros(0, np.uint16)
    for batch in links:
        ranks, centres, told = link_arrays(batch)
        before, codes = len(roots), roots.add(centres)
        sizes = with_room(sizes, len(roots), 1)
        smallest = with_room(smallest, len(roots), _NONE)
        smallest[before : len(roots)] = _unrank(roots.values[before:])
        bands = with_room(bands, len(roots), schema.NO_BAND)
        _gather_stars(codes, ranks == centres, _unrank(ranks), told, sizes, smallest, bands)
    for batch in links:
        ranks, centres, told = link_arrays(batch)
        apart = ranks != centres
        codes = roots.find(centres[apart])
        yield _members(_unrank(ranks[apart]), smallest[codes], sizes[codes], told[apart])
    stars = np.flatnonzero(sizes > 1)
    yield _members(_unrank(roots.values[stars]), smallest[stars], sizes[stars], bands[stars])


def _members(
    nodes: Words, clusters: Words, sizes: npt.NDArray[np.int64], bands: npt.NDArray[np.uint16]
) -> pa.RecordBatch:
    columns = [pa.array(column) for column in (nodes, clusters, sizes, bands)]
    return pa.record_batch(columns, schema=schema.MEMBER)


class _Neighbours(Components):
    """Components of a partition's rows, and what is next to each node that the partition owns."""

    def __init__(self) -> None:
        super().__init__()
        self._nearest: Words = np.zeros(0, np.uint64)
        self._flags: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)

    def add_ends(self, ends: pa.RecordBatch) -> None:
        nodes, roots, bands = link_arrays(ends)
        from_codes, to_codes = self._unite(nodes, roots, bands)
        keys = ends.column(KEY).to_numpy()
        _note(self._nearest, self._flags, from_codes, to_codes, roots, keys == roots)

    def tied(self) -> pa.RecordBatch:
        self._finish()
        values, flags = self._values, self._flags[: self.nodes]
        smallest = self._smallest_nodes()
        nearest = np.minimum(self._nearest[: self.nodes], values)
        further = ((flags & _OWNED) != 0) & (smallest < nearest)
        kept = further | ((flags & (_KEPT | _TOLD)) != 0)
        return link_batch(values[kept], smallest[kept], self._bands[kept])

    def progress(self) -> Progress:
        owned = (self._flags & _OWNED) != 0
        tied = self._nearest != _NONE
        more = (self._flags & (_HAS_LARGER | _HAS_SEVERAL | _TOLD)) != 0
        return Progress(int(np.count_nonzero(owned)), int(np.count_nonzero(owned & tied & more)))

    def _reserve(self, nodes: int) -> None:
        super()._reserve(nodes)
        self._flags = with_room(self._flags, len(self._parents), 0)
        self._nearest = with_room(self._nearest, len(self._parents), _NONE)


@compiled
def _note(
    nearest: npt.NDArray[np.uint64],
    flags: npt.NDArray[np.uint8],
    nodes: ReadOnly[np.int64],
    roots: ReadOnly[np.int64],
    root_values: ReadOnly[np.uint64],
    at_root: ReadOnly[np.bool_],
) -> None:
    """Writes down what each row says of its key, `root` where `at_root` says so, else `node`."""
    for row in range(nodes.shape[0]):
        node, root, value = nodes[row], roots[row], root_values[row]
        if node == root:
            flags[node] |= np.uint8(_OWNED | _TOLD)
        elif at_root[row]:
            flags[root] |= np.uint8(_OWNED | _HAS_LARGER)
            flags[node] |= np.uint8(_KEPT)
        else:
            flags[node] |= np.uint8(_OWNED)
            if nearest[node] != np.uint64(_NONE) and nearest[node] != value:
                flags[node] |= np.uint8(_HAS_SEVERAL)
            nearest[node] = min(nearest[node], value)


@compiled
def _gather_stars(
    codes: ReadOnly[np.int64],
    is_centre: ReadOnly[np.bool_],
    nodes: ReadOnly[np.uint64],
    told: ReadOnly[np.uint16],
    sizes: npt.NDArray[np.int64],
    smallest: npt.NDArray[np.uint64],
    bands: npt.NDArray[np.uint16],
) -> None:
    for row in range(codes.shape[0]):
        code = codes[row]
        if is_centre[row]:
            bands[code] = min(bands[code], told[row])
        else:
            sizes[code] += 1
            smallest[code] = min(smallest[code], nodes[row])


_FACTORS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9)
_INVERSES = tuple(pow(factor, -1, 1 << 64) for factor in _FACTORS)


def _rank(nodes: Words) -> Words:
    """A permutation of all uint64 that leaves nothing of their order."""
    ranks = nodes ^ (nodes >> np.uint64(32))
    for factor in _FACTORS:
        ranks = ranks * np.uint64(factor)
        ranks ^= ranks >> np.uint64(32)
    return ranks


def _unrank(ranks: Words) -> Words:
    """The nodes of ranks: shifts by half the width undo themselves, odd factors have an inverse."""
    nodes = ranks ^ (ranks >> np.uint64(32))
    for inverse in reversed(_INVERSES):
        nodes = nodes * np.uint64(inverse)
        nodes ^= nodes >> np.uint64(32)
    return nodes
