"""Pieces: the postings of a term in some neighbouring documents, packed. What an index is shuffled as.

A piece is a row. Its postings are numbers of 7 bits a byte (see varint), each group of them as often as it says:

    postings, (occurrences - postings,) pairs, (frequency, length) of each competitive pair,
    of each posting: 2 * (document - the document before) + (1 if its frequency is 1), (the frequency if it isn't,)
        (and of each of its places: place - the place before)

What stands in parentheses depends: occurrences and places are there where positions are kept. The document before the
first one is the piece's `first` itself, the place before the first is 0.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels import varint
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.hashing import string_buffers
from beam_etl.kernels.impacts import Pairs, compete
from beam_etl.schema import RANGE, TERM

FIRST, WIDTH, PACKED = "first", "width", "packed"

GRANULE_BITS = 14
"""A piece has documents of one granule only, 2^14 of them, and so do the ranges of split terms: what is cut behind the
shuffle is cut between pieces, and their impacts stay right."""

UNSPLIT_WIDTH = 32
"""Every document is in range 0 of a term that isn't split: they are numbered in 32 bits."""

LOCAL_PIECE = pa.schema(
    [
        pa.field(TERM, pa.string(), nullable=False),
        pa.field(FIRST, pa.uint32(), nullable=False),
        pa.field(PACKED, pa.binary(), nullable=False),
    ]
)
"""A piece as a batch of documents makes it: they are numbered within the batch."""

NUMBERED_PIECE = LOCAL_PIECE
"""A piece of documents of one granule, by the numbers of all documents."""

PIECE = pa.schema(
    [
        pa.field(TERM, pa.string(), nullable=False),
        pa.field(RANGE, pa.uint32(), nullable=False),
        pa.field(WIDTH, pa.uint8(), nullable=False),
        pa.field(FIRST, pa.uint32(), nullable=False),
        pa.field(PACKED, pa.binary(), nullable=False),
    ]
)
"""As it is shuffled: with the numbers of all documents, and with the range it is in, of 2^width documents."""

Numbers = npt.NDArray[np.uint32]
Edges = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Postings:
    """Postings of some terms, or pieces of terms, end on end.

    edges: int64[n + 1]. Piece i has the postings from `edges[i]` up to `edges[i + 1]`.
    documents: uint32[postings], ascending within a piece.
    frequencies: uint32[postings].
    positions: uint32[occurrences], each posting as many as its frequency; None where they aren't kept.
    """

    edges: Edges
    documents: Numbers
    frequencies: Numbers
    positions: Numbers | None


def pack(postings: Postings, lengths: Numbers) -> tuple[pa.Array, pa.Array]:
    """The columns `first` and `packed` of these pieces.

    Args:
      postings: a piece has at least one.
      lengths: uint32[postings], of each posting's document.
    """
    edges, positions = postings.edges, postings.positions
    occurrences = 0 if positions is None else positions.size
    room = 4 * varint.LONGEST * (postings.documents.size + 1) + varint.LONGEST * occurrences
    data = np.empty(room, np.uint8)  # pages that aren't written aren't there
    ends = np.empty(edges.size, np.int64)
    most = int(np.diff(edges).max(initial=0)) + 1
    _pack(
        edges,
        postings.documents,
        postings.frequencies,
        np.empty(0, np.uint32) if positions is None else positions,
        positions is not None,
        lengths,
        np.empty(most, np.uint32),
        np.empty(most, np.uint32),
        data,
        ends,
    )
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(data[: ends[-1]].copy())]
    packed = pa.Array.from_buffers(pa.large_binary(), edges.size - 1, buffers).cast(pa.binary())
    return pa.array(postings.documents[edges[:-1]]), packed


def unpack(first: pa.Array, packed: pa.Array, positions: bool) -> Postings:
    """The postings of pieces, whose columns these are: the contrary of `pack`."""
    offsets, data = string_buffers(packed)
    pieces = len(packed)
    counts, occurrences = np.empty(pieces, np.int64), np.empty(pieces, np.int64)
    _measure(data, offsets, positions, counts, occurrences)
    edges = np.concatenate([[0], np.cumsum(counts)])
    documents, frequencies = np.empty(edges[-1], np.uint32), np.empty(edges[-1], np.uint32)
    places = np.empty(int(occurrences.sum()) if positions else 0, np.uint32)
    _unpack(data, offsets, first.to_numpy(), positions, documents, frequencies, places)
    return Postings(edges, documents, frequencies, places if positions else None)


def competitive(packed: pa.Array, edges: Edges, positions: bool) -> tuple[Edges, Pairs, Pairs]:
    """The competitive pairs of blocks.

    Args:
      packed: of pieces.
      edges: int64[blocks + 1]. Block i has the pieces from `edges[i]` up to `edges[i + 1]`.
      positions: whether the pieces have them.

    Returns:
      int64[blocks + 1], and frequency and length, uint32[pairs]: block i has the pairs from its edge up to the next.
    """
    offsets, data = string_buffers(packed)
    room = (data.size if len(packed) == 0 else int(offsets[-1] - offsets[0])) // 2 + edges.size
    frequencies, lengths = np.empty(room, np.uint32), np.empty(room, np.uint32)
    ends = np.empty(edges.size, np.int64)
    _competitive(data, offsets, edges, positions, frequencies, lengths, ends)
    return ends, frequencies[: ends[-1]], lengths[: ends[-1]]


def cut(postings: Postings, runs: Edges | None = None) -> tuple[Postings, npt.NDArray[np.int64]]:
    """Pieces cut where a granule ends, or a run: the pieces, and the number of the one that each is a part of.

    Args:
      postings: of any granules.
      runs: int64[postings], what else pieces may not go across.
    """
    granule = postings.documents >> np.uint32(GRANULE_BITS)
    new = np.zeros(postings.documents.size, np.bool_)
    new[1:] = granule[1:] != granule[:-1]
    if runs is not None:
        new[1:] |= runs[1:] != runs[:-1]
    new[postings.edges[:-1]] = True
    begins = np.flatnonzero(new)
    parents = np.searchsorted(postings.edges, begins, side="right") - 1
    edges = np.append(begins, postings.documents.size)
    return Postings(edges, postings.documents, postings.frequencies, postings.positions), parents


@compiled
def _pack(  # noqa: PLR0913 - room for all that it writes
    edges: ReadOnly[np.int64],
    documents: ReadOnly[np.uint32],
    frequencies: ReadOnly[np.uint32],
    positions: ReadOnly[np.uint32],
    with_positions: bool,
    lengths: ReadOnly[np.uint32],
    pair_frequencies: npt.NDArray[np.uint32],
    pair_lengths: npt.NDArray[np.uint32],
    data: npt.NDArray[np.uint8],
    ends: npt.NDArray[np.int64],
) -> None:
    at, place = 0, 0
    ends[0] = 0
    for piece in range(edges.size - 1):
        begin, end = edges[piece], edges[piece + 1]
        pairs, occurrences = 0, 0
        for posting in range(begin, end):
            frequency, length = np.int64(frequencies[np.uintp(posting)]), np.int64(lengths[np.uintp(posting)])
            occurrences += frequency
            pairs = compete(frequency, length, pair_frequencies, pair_lengths, 0, pairs)
        at = varint.write(end - begin, data, at)
        if with_positions:
            at = varint.write(occurrences - (end - begin), data, at)
        at = varint.write(pairs, data, at)
        for pair in range(pairs):
            at = varint.write(np.int64(pair_frequencies[pair]), data, at)
            at = varint.write(np.int64(pair_lengths[pair]), data, at)
        before = np.int64(documents[np.uintp(begin)])
        for posting in range(begin, end):
            document, frequency = (
                np.int64(documents[np.uintp(posting)]),
                np.int64(frequencies[np.uintp(posting)]),
            )
            at = varint.write((document - before) << 1 | (frequency == 1), data, at)
            if frequency != 1:
                at = varint.write(frequency, data, at)
            before = document
            if with_positions:
                last = 0
                for step in range(frequency):
                    here = np.int64(positions[np.uintp(place + step)])
                    at = varint.write(here - last, data, at)
                    last = here
                place += frequency
        ends[piece + 1] = at


@compiled
def _head(data: ReadOnly[np.uint8], at: int, with_positions: bool) -> tuple[int, int, int, int]:
    """Of a piece: its postings, occurrences less postings, competitive pairs, and where these begin."""
    count, at = varint.read(data, at)
    more = 0
    if with_positions:
        more, at = varint.read(data, at)
    pairs, at = varint.read(data, at)
    return count, more, pairs, at


@compiled
def _measure(
    data: ReadOnly[np.uint8],
    offsets: ReadOnly[np.int64],
    with_positions: bool,
    counts: npt.NDArray[np.int64],
    occurrences: npt.NDArray[np.int64],
) -> None:
    for piece in range(offsets.size - 1):
        count, more, _, _ = _head(data, offsets[piece], with_positions)
        counts[piece], occurrences[piece] = count, count + more


@compiled
def _unpack(
    data: ReadOnly[np.uint8],
    offsets: ReadOnly[np.int64],
    firsts: ReadOnly[np.uint32],
    with_positions: bool,
    documents: npt.NDArray[np.uint32],
    frequencies: npt.NDArray[np.uint32],
    positions: npt.NDArray[np.uint32],
) -> None:
    posting, place = 0, 0
    for piece in range(offsets.size - 1):
        count, _, pairs, at = _head(data, offsets[piece], with_positions)
        for _ in range(2 * pairs):
            value, at = varint.read(data, at)
        document = np.int64(firsts[piece])
        for _ in range(count):
            value, at = varint.read(data, at)
            document += value >> 1
            frequency = 1
            if value & 1 == 0:
                frequency, at = varint.read(data, at)
            documents[np.uintp(posting)] = document
            frequencies[np.uintp(posting)] = frequency
            posting += 1
            if with_positions:
                here = 0
                for _ in range(frequency):
                    value, at = varint.read(data, at)
                    here += value
                    positions[np.uintp(place)] = here
                    place += 1


@compiled
def _competitive(
    data: ReadOnly[np.uint8],
    offsets: ReadOnly[np.int64],
    edges: ReadOnly[np.int64],
    with_positions: bool,
    frequencies: npt.NDArray[np.uint32],
    lengths: npt.NDArray[np.uint32],
    ends: npt.NDArray[np.int64],
) -> None:
    begin, end = 0, 0
    ends[0] = 0
    for block in range(edges.size - 1):
        for piece in range(edges[block], edges[block + 1]):
            _, _, pairs, at = _head(data, offsets[piece], with_positions)
            for _ in range(pairs):
                frequency, at = varint.read(data, at)
                length, at = varint.read(data, at)
                end = compete(frequency, length, frequencies, lengths, begin, end)
        ends[block + 1] = end
        begin = end
