"""The forward index from both sides: what each document has by the postings, and by its own text, as digests.

A document's digest is the sum of a hash of each of its terms (with frequency and positions) and of a hash of its row in
`documents`, modulo 2^64. A sum doesn't depend on the order, so postings are added as they lie, term by term, and texts
as they are read. Two documents that differ have the same digest once in 2^64. That is enough against mistakes; someone
who wants a wrong index to pass could have it written soundly as well.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.hashing import Hashes, hash_rows
from beam_etl.kernels.indexing import LENGTH
from beam_etl.kernels.provenance import POSITION
from beam_etl.schema import FILE, ID, URL

Numbers = npt.NDArray[np.uint32]

OWN = (ID, URL, LENGTH, POSITION)
"""Columns of a document that are compared, besides its file."""

_NO_PLACES = np.empty(0, np.uint32)

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


class Entry(NamedTuple):
    """A term of a document."""

    frequency: int
    positions: tuple[int, ...] | None


Forward = dict[int, dict[str, Entry]]
"""Of each document its terms."""


def posting_hashes(
    terms: Hashes, edges: npt.NDArray[np.int64], frequencies: Numbers, positions: Numbers | None
) -> Hashes:
    """A hash of each posting without its document: of term, frequency and positions.

    Args:
      terms: uint64[terms], of `hash_values`.
      edges: int64[terms + 1]. Term i has the postings from `edges[i]` up to `edges[i + 1]`.
      frequencies: uint32[postings].
      positions: uint32[occurrences]; None where they aren't kept.
    """
    places = _NO_PLACES if positions is None else positions
    return _hash_postings(terms, edges, frequencies, places, positions is not None)


def document_hashes(rows: pa.RecordBatch) -> Hashes:
    """A hash of each document's own columns: of INDEXED_DOCUMENT, or of indexing.LOCAL_DOCUMENT.

    Of the path it has the last part, so that documents may be moved.
    """
    return hash_rows([rows.column(name) for name in OWN] + [base_names(rows.column(FILE))])


def base_names(paths: pa.StringArray) -> pa.DictionaryArray:
    """The last part of each path."""
    encoded = paths.dictionary_encode()
    names = [path.rpartition("/")[2] for path in encoded.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(encoded.indices, pa.array(names, pa.string()))


def add(documents: Numbers, values: npt.NDArray, sums: npt.NDArray) -> None:
    """Adds values to the sums of documents, modulo 2^64 or 2^32 as the type of the sums is.

    Not atomic: threads that add to the same sums take turns.
    """
    (_add_wide if sums.dtype == np.uint64 else _add)(documents, values, sums)


def entries(
    term: pa.StringArray,
    edges: npt.NDArray[np.int64],
    documents: Numbers,
    frequencies: Numbers,
    positions: Numbers | None,
    wanted: Numbers,
    into: Forward,
) -> None:
    """Adds the terms of a few documents to what is known of them.

    Args:
      term, edges: string[terms] and int64[terms + 1]. Term i has the postings from `edges[i]` up to `edges[i + 1]`.
      documents, frequencies, positions: of the postings, as in `posting_hashes`.
      wanted: the documents.
      into: gets them.
    """
    at = np.flatnonzero(np.isin(documents, wanted))
    rows = np.searchsorted(edges, at, side="right") - 1
    begins = np.cumsum(frequencies, dtype=np.int64) - frequencies
    for posting, row in zip(at.tolist(), rows.tolist(), strict=True):
        begin, often = int(begins[posting]), int(frequencies[posting])
        places = None if positions is None else tuple(positions[begin : begin + often].tolist())
        into.setdefault(int(documents[posting]), {})[term[row].as_py()] = Entry(often, places)


def differences(index: dict[str, Entry], text: dict[str, Entry]) -> list[str]:
    """How the terms of a document differ, in words, by term."""
    return [
        _difference(term, index.get(term), text.get(term))
        for term in sorted(index.keys() | text.keys())
        if index.get(term) != text.get(term)
    ]


def _difference(term: str, index: Entry | None, text: Entry | None) -> str:
    if index is None or text is None:
        where = "text only" if index is None else "index only"
        return f"{term!r} is in the {where}"
    if index.frequency != text.frequency:
        return f"{term!r} is there {text.frequency:,} times, {index.frequency:,} in the index"
    at = next(
        pair for pair in zip(index.positions or (), text.positions or (), strict=False) if pair[0] != pair[1]
    )
    return f"{term!r} is at position {at[1]}, {at[0]} in the index"


@compiled
def _mix(state: np.uint64) -> np.uint64:
    """SplitMix64's output function (Steele, Lea and Flood 2014)."""
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))


@compiled
def _hash_postings(
    terms: ReadOnly[np.uint64],
    edges: ReadOnly[np.int64],
    frequencies: ReadOnly[np.uint32],
    positions: ReadOnly[np.uint32],
    with_positions: bool,
) -> npt.NDArray[np.uint64]:
    hashes = np.empty(frequencies.size, np.uint64)
    place = 0
    for term in range(edges.size - 1):
        for posting in range(edges[term], edges[term + 1]):
            frequency = np.int64(frequencies[np.uintp(posting)])
            state = _mix(terms[term] + _STEP * np.uint64(frequency))
            if with_positions:
                for step in range(place, place + frequency):
                    state = _mix(state + _STEP * (np.uint64(positions[np.uintp(step)]) + np.uint64(1)))
                place += frequency
            hashes[posting] = state
    return hashes


@compiled
def _add_wide(
    documents: ReadOnly[np.uint32], values: ReadOnly[np.uint64], sums: npt.NDArray[np.uint64]
) -> None:
    for posting in range(documents.size):
        sums[np.uintp(documents[posting])] += values[posting]


@compiled
def _add(documents: ReadOnly[np.uint32], values: ReadOnly[np.uint32], sums: npt.NDArray[np.uint32]) -> None:
    for posting in range(documents.size):
        sums[np.uintp(documents[posting])] += values[posting]
