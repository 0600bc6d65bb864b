"""Connected components of a graph that comes as links, in one process: exact, streaming, some 30 bytes a node."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.numbering import Numbering, with_room

NODE_BYTES = 40
"""Memory of a node at its worst, links take none. 21 to 30 are held (8 the node, 7 to 15 finding it, 6 its parent and
band); the rest goes while arrays grow or members are put in order (37 were measured)."""

MEMBER_ROWS = 16_384
"""Rows of a batch of members."""

_GROWTH = 1.25
_STEP_ROWS = 65_536
"""Links that are numbered at a time, so that their codes stay in the cache."""

Words = npt.NDArray[np.uint64]
Codes32 = npt.NDArray[np.uint32]


class Components:
    """Union-find over links in any number of batches and any order; what it gives depends on the set of links only.

    Not for several threads at once.

    Source: Tarjan and van Leeuwen, Worst-case analysis of set union algorithms (1984): linking by index, halving.
    """

    def __init__(self) -> None:
        self._numbering: Numbering | None = Numbering()
        self._values: Words = np.zeros(0, np.uint64)  # of the nodes, once all are there
        self._parents: Codes32 = np.zeros(0, np.uint32)
        self._bands: npt.NDArray[np.uint16] = np.zeros(0, np.uint16)

    @property
    def nodes(self) -> int:
        """Distinct nodes so far."""
        return len(self._values) if self._numbering is None else len(self._numbering)

    @property
    def nbytes(self) -> int:
        """Bytes held, reserve included."""
        found = self._values.nbytes if self._numbering is None else self._numbering.nbytes
        return found + self._parents.nbytes + self._bands.nbytes

    def add(self, links: pa.RecordBatch) -> None:
        """Adds links.

        Args:
          links: schema.LINK, any number of rows.

        Raises:
          ValueError: after `members` or `stars`, or for more than numbering.MAX_ENTRIES nodes.
        """
        nodes, roots, bands = link_arrays(links)
        for start in range(0, len(nodes), _STEP_ROWS):
            rows = slice(start, start + _STEP_ROWS)
            self._unite(nodes[rows], roots[rows], bands[rows])

    def _unite(
        self, nodes: Words, roots: Words, bands: npt.NDArray[np.uint16]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Adds links; the codes of their two columns."""
        if self._numbering is None:
            raise ValueError("links can't be added once the components were asked for")
        from_codes, to_codes = self._numbering.add(nodes), self._numbering.add(roots)
        self._reserve(len(self._numbering))
        _unite(self._parents, self._bands, from_codes, to_codes, bands)
        return from_codes, to_codes

    def _reserve(self, nodes: int) -> None:
        have = len(self._parents)
        if nodes > have:
            room = max(nodes, int(have * _GROWTH))
            parents = np.arange(room, dtype=np.uint32)
            parents[:have] = self._parents
            self._parents = parents
            self._bands = with_room(self._bands, room, schema.NO_BAND)

    def _finish(self) -> None:
        """Every node gets its root as parent. What finds nodes is let go: it takes as much as what comes next."""
        if self._numbering is not None:
            self._values = self._numbering.values
            self._numbering = None
            self._parents = self._parents[: len(self._values)]
            self._bands = self._bands[: len(self._values)]
            _flatten(self._parents)

    def members(self) -> Iterator[pa.RecordBatch]:
        """Every node of a component of several, in batches of at most MEMBER_ROWS.

        Returns:
          schema.MEMBER, ordered by cluster and node. A node that was never the `node` of a link has NO_BAND.
        """
        self._finish()
        sizes, ends = np.zeros(self.nodes, np.uint32), np.zeros(self.nodes, np.uint32)
        places = _place(np.argsort(self._values), self._parents, sizes, ends)
        for start in range(0, len(places), MEMBER_ROWS):
            codes = places[start : start + MEMBER_ROWS]
            roots = self._parents[codes]
            smallest = places[ends[roots] - sizes[roots]]
            columns = [
                pa.array(self._values[codes]),
                pa.array(self._values[smallest]),
                pa.array(sizes[roots].astype(np.int64)),
                pa.array(self._bands[codes]),
            ]
            yield pa.record_batch(columns, schema=schema.MEMBER)

    def stars(self) -> pa.RecordBatch:
        """Links from every node to the smallest node of its component, as `contract` gives them."""
        self._finish()
        smallest = self._smallest_nodes()
        kept = (smallest != self._values) | (self._bands != schema.NO_BAND)
        return link_batch(self._values[kept], smallest[kept], self._bands[kept])

    def _smallest_nodes(self) -> Words:
        """Of each node, the smallest one of its component."""
        return self._values[_smallest(self._values, self._parents)[self._parents]]


def contract(links: pa.RecordBatch) -> pa.RecordBatch:
    """A forest of stars with the same components and the same bands: a row a node. A merge kernel.

    Args:
      links: schema.LINK.

    Returns:
      schema.LINK: for each node that isn't the smallest of its component here, a row to that; for one that is, a row
      to itself where it has a band. `band` is the smallest of any row of that very node, else NO_BAND.
    """
    components = Components()
    components.add(links)
    return components.stars()


def link_arrays(links: pa.RecordBatch) -> tuple[Words, Words, npt.NDArray[np.uint16]]:
    """The columns of schema.LINK: uint64[rows], uint64[rows], uint16[rows]."""
    node, root, band = (links.column(name).to_numpy() for name in (schema.NODE, schema.ROOT, schema.BAND))
    return node, root, band


def link_batch(nodes: Words, roots: Words, bands: npt.NDArray[np.uint16]) -> pa.RecordBatch:
    """A batch of schema.LINK."""
    return pa.record_batch([pa.array(nodes), pa.array(roots), pa.array(bands)], schema=schema.LINK)


@compiled
def _root(parents: npt.NDArray[np.uint32], code: int) -> int:
    """The root, with half of the way cut short. Parents have smaller codes, roots are their own."""
    while True:
        parent = np.int64(parents[code])
        if parent == code:
            return code
        above = np.int64(parents[parent])
        parents[code] = above
        code = above  # type: ignore[assignment, unused-ignore]  # as NumPy types it


@compiled
def _unite(
    parents: npt.NDArray[np.uint32],
    bands: npt.NDArray[np.uint16],
    nodes: ReadOnly[np.int64],
    roots: ReadOnly[np.int64],
    link_bands: ReadOnly[np.uint16],
) -> None:
    for row in range(nodes.shape[0]):
        bands[nodes[row]] = min(bands[nodes[row]], link_bands[row])
        one, other = _root(parents, nodes[row]), _root(parents, roots[row])
        if one < other:
            parents[other] = one
        elif other < one:
            parents[one] = other


@compiled
def _flatten(parents: npt.NDArray[np.uint32]) -> None:
    for code in range(parents.shape[0]):
        parents[code] = parents[np.int64(parents[code])]  # which is smaller, so flat already


@compiled
def _smallest(values: ReadOnly[np.uint64], roots: ReadOnly[np.uint32]) -> Codes32:
    """Of each root, the code of the smallest node that has it."""
    smallest = np.empty(roots.shape[0], np.uint32)
    for code in range(roots.shape[0]):
        root = np.int64(roots[code])
        if root == code or values[code] < values[np.int64(smallest[root])]:
            smallest[root] = code
    return smallest


@compiled
def _place(
    order: ReadOnly[np.int64],
    roots: ReadOnly[np.uint32],
    sizes: npt.NDArray[np.uint32],
    ends: npt.NDArray[np.uint32],
) -> Codes32:
    """Codes of the nodes of components of several, a component after the other, by its smallest node.

    `order` has the nodes ascending. `sizes` and `ends`, zeros at first, get each root's number of nodes and the place
    behind its last one.
    """
    rows = np.int64(0)
    for code in range(roots.shape[0]):
        sizes[np.int64(roots[code])] += 1
    for code in range(roots.shape[0]):
        if sizes[np.int64(roots[code])] > 1:
            rows += 1
    places = np.empty(rows, np.uint32)
    begun = np.int64(0)
    for code in order:
        root = np.int64(roots[code])
        if sizes[root] > 1:
            if ends[root] == 0:  # its first node; later ones find at least 1 here
                ends[root] = begun
                begun += np.int64(sizes[root])
            places[np.int64(ends[root])] = code
            ends[root] += 1
    return places
