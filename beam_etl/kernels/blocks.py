"""Blocks: the postings of a term, merged from its pieces, cut by a rule that depends on the postings alone."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.pieces import (
    FIRST,
    GRANULE_BITS,
    PACKED,
    WIDTH,
    Edges,
    Numbers,
    Postings,
    competitive,
    unpack,
)
from beam_etl.schema import POSITIONS, POSTING, RANGE, TERM

BLOCK_POSTINGS = 1 << 16
"""A block has no more: what a search reads and decides on at once. A granule can't have more."""

MERGE_BYTES = 4 << 20
"""Packed bytes of pieces that are unpacked together. One term's are never apart, so a hot one's may be more."""


def posting_schema(positions: bool) -> pa.Schema:
    """The columns of `postings`."""
    return pa.schema([*POSTING, POSITIONS]) if positions else POSTING


Merge = Callable[[Iterable[pa.RecordBatch]], pa.RecordBatch]


def merge_pieces(
    pieces: Iterable[pa.RecordBatch],
    merge: Merge,
    positions: bool,
    merge_bytes: int = MERGE_BYTES,
    block_postings: int = BLOCK_POSTINGS,
) -> Iterator[pa.RecordBatch]:
    """The blocks of all terms of a partition, by (term, first document).

    Memory is that of the packed pieces, and of MERGE_BYTES of them unpacked.

    Args:
      pieces: batches of pieces.PIECE, in any order; at least one.
      merge: puts batches together.
      positions: whether the pieces have them.
      merge_bytes, block_postings: for tests.

    Returns:
      Batches of posting_schema, of any size.
    """
    rows = merge(pieces)
    terms = _ranked(rows.column(TERM))
    order = np.lexsort((rows.column(FIRST).to_numpy(), terms))
    sizes = pc.binary_length(rows.column(PACKED)).to_numpy()[order].astype(np.int64)
    before = np.cumsum(sizes) - sizes
    begins = np.flatnonzero(np.diff(terms[order], prepend=-1))  # of terms
    slices = np.searchsorted(before[begins], np.arange(0, int(sizes.sum()) + 1, merge_bytes))
    cuts = np.unique(np.append(begins[slices[slices < begins.size]], len(order)))
    for begin, end in pairwise(cuts.tolist()):
        yield _blocks(rows.take(pa.array(order[begin:end])), positions, block_postings)


def _ranked(terms: pa.Array) -> npt.NDArray[np.int64]:
    """A number for each row, equal for equal terms, ascending as their bytes do."""
    encoded = terms.dictionary_encode()
    order = pc.array_sort_indices(encoded.dictionary.cast(pa.binary())).to_numpy()
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    ranks: npt.NDArray[np.int64] = rank[encoded.indices.to_numpy()]
    return ranks


def _blocks(rows: pa.RecordBatch, positions: bool, block_postings: int) -> pa.RecordBatch:
    """The blocks of pieces that are in order."""
    found = unpack(rows.column(FIRST), rows.column(PACKED), positions)
    parts = _begins(rows)
    widths = _widths(rows, found, parts, block_postings)
    blocks = rows.column(FIRST).to_numpy().astype(np.int64) >> widths
    new = np.diff(blocks, prepend=-1) != 0
    new[parts] = True
    pieces = np.append(np.flatnonzero(new), rows.num_rows)
    first = pieces[:-1]
    edges = found.edges[pieces]
    impact_edges, impact_frequencies, impact_lengths = competitive(rows.column(PACKED), pieces, positions)
    columns = {
        TERM: rows.column(TERM).take(pa.array(first)),
        "width": pa.array(widths[first].astype(np.uint8)),
        "block": pa.array(blocks[first].astype(np.uint32)),
        "document_frequency": pa.array(np.diff(edges).astype(np.uint32)),
        "first_document": pa.array(found.documents[edges[:-1]]),
        "last_document": pa.array(found.documents[edges[1:] - 1]),
        "documents": _lists(edges, found.documents),
        "frequencies": _lists(edges, found.frequencies),
        "impact_frequencies": _lists(impact_edges, impact_frequencies),
        "impact_lengths": _lists(impact_edges, impact_lengths),
    }
    if found.positions is not None:
        occurrences = np.concatenate([[0], np.cumsum(found.frequencies, dtype=np.int64)])
        columns[POSITIONS.name] = _lists(occurrences[edges], found.positions)
    schema = posting_schema(positions)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _begins(rows: pa.RecordBatch) -> Edges:
    """Where a term begins, or another range of it."""
    term, part = rows.column(TERM), rows.column(RANGE).to_numpy()
    same = pc.equal(term[1:], term[:-1]).to_numpy(zero_copy_only=False) & (part[1:] == part[:-1])
    return np.append(0, np.flatnonzero(~same) + 1)


def _widths(rows: pa.RecordBatch, found: Postings, parts: Edges, block_postings: int) -> Edges:
    """Of each piece, how many documents a block of its term has: 2^width."""
    widths = rows.column(WIDTH).to_numpy().astype(np.int64)
    ends = np.append(parts[1:], rows.num_rows)
    many = np.flatnonzero(found.edges[ends] - found.edges[parts] > block_postings)
    for begin, end in zip(parts[many].tolist(), ends[many].tolist(), strict=True):
        documents = found.documents[found.edges[begin] : found.edges[end]].astype(np.int64)
        width = int(widths[begin])
        while width > GRANULE_BITS and _most(documents >> width) > block_postings:
            width -= 1
        widths[begin:end] = width
    return widths


def _most(ascending: Edges) -> int:
    """How often the most frequent number is there."""
    edges = np.append(np.flatnonzero(np.diff(ascending)) + 1, ascending.size)
    return int(np.diff(edges, prepend=0).max())


def _lists(edges: Edges, values: Numbers) -> pa.ListArray:
    begin = int(edges[0])
    values = pa.array(values[begin : int(edges[-1])])
    return pa.ListArray.from_arrays(pa.array((edges - begin).astype(np.int32)), values).cast(_LIST)


_LIST = POSITIONS.type
