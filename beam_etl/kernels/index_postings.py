"""Whether the blocks of postings are what docs/index.md says, beyond being the bytes that were written."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.findings import Found, found
from beam_etl.kernels.impacts import compete
from beam_etl.schema import POSITIONS, TERM

Places = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint32]

_ORDER, _BOUND, _UNKNOWN = 0, 1, 2
_CODES = 4
"""A place is a posting times so many, plus one of these."""


@dataclass(frozen=True)
class Lists:
    """A column of lists: list i is from `edges[i]` up to `edges[i + 1]` of `values`."""

    edges: npt.NDArray[np.int32]
    values: Numbers

    @classmethod
    def of(cls, batch: pa.RecordBatch, name: str) -> "Lists":
        """A column of a batch, without a copy."""
        column = batch.column(name)
        return cls(column.offsets.to_numpy(), column.values.to_numpy())

    @property
    def sizes(self) -> Places:
        """int64[lists]."""
        edges = self.edges.astype(np.int64)
        return edges[1:] - edges[:-1]

    def at(self, row: int) -> Numbers:
        """One list."""
        return self.values[self.edges[row] : self.edges[row + 1]]


@dataclass(frozen=True)
class Block:
    """The postings of a batch of blocks, for what is compared with other tables."""

    documents: Lists
    frequencies: Lists
    positions: Lists | None
    occurrences: Places
    """How often the documents of each block have the term: int64[rows]."""


def check_blocks(
    batch: pa.RecordBatch, documents: int, lengths: Numbers | None
) -> tuple[Block | None, list[Found]]:
    """What is wrong within blocks: bounds, order, counts, frequencies, positions, impacts.

    Args:
      batch: of blocks.posting_schema, without offset.
      documents: how many there are.
      lengths: uint32[documents]; None where they aren't known, then impacts aren't looked at.

    Returns:
      The postings, None where they can't be used: lists of different sizes, or documents that aren't there. What was
      found.
    """
    docs, often = Lists.of(batch, "documents"), Lists.of(batch, "frequencies")
    stored = {name: batch.column(name).to_numpy().astype(np.int64) for name in _COUNTS}
    uneven = (docs.sizes != often.sizes) | (docs.sizes != stored["document_frequency"]) | (docs.sizes == 0)
    if uneven.any():
        return None, found(
            "document_frequency",
            uneven,
            lambda row: (
                f"{_name(batch, row)}: document_frequency is {stored['document_frequency'][row]:,}, it has "
                f"{docs.sizes[row]:,} documents and {often.sizes[row]:,} frequencies"
            ),
        )
    problems = _first_and_last(batch, docs, stored)
    places = _scan_documents(docs.edges, docs.values, stored["width"], stored["block"], documents)
    problems += _misplaced(batch, docs, places, documents)
    occurrences = (
        np.add.reduceat(often.values.astype(np.int64), often.edges[:-1]) if batch.num_rows else docs.sizes
    )
    problems += _frequencies(batch, docs, often)
    positions = Lists.of(batch, POSITIONS.name) if POSITIONS.name in batch.schema.names else None
    if positions is not None:
        problems += _positions(batch, docs, often, positions, occurrences)
    if any(each.kind == "unknown document" for each in problems):
        return None, problems
    if lengths is not None:
        problems += _impacts(batch, docs, often, lengths)
    return Block(docs, often, positions, occurrences), problems


_COUNTS = ("width", "block", "document_frequency", "first_document", "last_document")


def _name(batch: pa.RecordBatch, row: int) -> str:
    return f"term {batch.column(TERM)[row].as_py()!r}, block {batch.column('block')[row].as_py()}"


def _first_and_last(batch: pa.RecordBatch, docs: Lists, stored: dict[str, Places]) -> list[Found]:
    first, last = docs.values[docs.edges[:-1]], docs.values[docs.edges[1:] - 1]
    return found(
        "first and last document",
        (first != stored["first_document"]) | (last != stored["last_document"]),
        lambda row: (
            f"{_name(batch, row)}: documents {stored['first_document'][row]} to "
            f"{stored['last_document'][row]} are stated, {first[row]} to {last[row]} are there"
        ),
    )


def _misplaced(batch: pa.RecordBatch, docs: Lists, places: Places, documents: int) -> list[Found]:
    at, code = places // _CODES, np.where(places < 0, -1, places % _CODES)
    width, block = batch.column("width").to_numpy(), batch.column("block").to_numpy()
    return [
        *found(
            "order of documents",
            code == _ORDER,
            lambda row: (
                f"{_name(batch, row)}: document {docs.values[at[row]]} comes after {docs.values[at[row] - 1]}"
            ),
        ),
        *found(
            "bounds of a block",
            code == _BOUND,
            lambda row: (
                f"{_name(batch, row)}: document {docs.values[at[row]]} isn't in block {block[row]} of "
                f"width {width[row]}"
            ),
        ),
        *found(
            "unknown document",
            code == _UNKNOWN,
            lambda row: f"{_name(batch, row)}: document {docs.values[at[row]]}, of {documents:,}",
        ),
    ]


def _frequencies(batch: pa.RecordBatch, docs: Lists, often: Lists) -> list[Found]:
    zeros = np.flatnonzero(often.values == 0)
    rows, first = np.unique(np.searchsorted(often.edges, zeros, side="right") - 1, return_index=True)
    none = np.zeros(batch.num_rows, np.bool_)
    none[rows] = True
    at = dict(zip(rows.tolist(), zeros[first].tolist(), strict=True))
    return found(
        "frequencies",
        none,
        lambda row: f"{_name(batch, row)}: document {docs.values[at[row]]} has it 0 times",
    )


def _positions(
    batch: pa.RecordBatch, docs: Lists, often: Lists, positions: Lists, occurrences: Places
) -> list[Found]:
    uneven = positions.sizes != occurrences
    if uneven.any():
        return found(
            "number of positions",
            uneven,
            lambda row: (
                f"{_name(batch, row)}: {positions.sizes[row]:,} positions, the frequencies add up to "
                f"{occurrences[row]:,}"
            ),
        )
    at = _scan_positions(often.edges, often.values, positions.values)
    return found(
        "order of positions",
        at >= 0,
        lambda row: f"{_name(batch, row)}: the positions in document {docs.values[at[row]]} don't ascend",
    )


def _impacts(batch: pa.RecordBatch, docs: Lists, often: Lists, lengths: Numbers) -> list[Found]:
    pairs = [Lists.of(batch, name) for name in ("impact_frequencies", "impact_lengths")]
    uneven = pairs[0].sizes != pairs[1].sizes
    if uneven.any():
        return found(
            "impacts",
            uneven,
            lambda row: (
                f"{_name(batch, row)}: {pairs[0].sizes[row]} frequencies, {pairs[1].sizes[row]} lengths"
            ),
        )
    wrong = _scan_impacts(
        docs.edges, docs.values, often.values, lengths, pairs[0].edges, pairs[0].values, pairs[1].values
    )
    return found(
        "impacts",
        wrong >= 0,
        lambda row: (
            f"{_name(batch, row)}: the pairs {_pairs(pairs, row)} aren't the competitive ones of its postings"
        ),
    )


def _pairs(pairs: list[Lists], row: int) -> str:
    some = list(zip(*(each.at(row)[:3].tolist() for each in pairs), strict=True))
    return ", ".join(map(str, some)) + (", ..." if pairs[0].sizes[row] > len(some) else "")


@compiled
def _scan_documents(
    edges: ReadOnly[np.int32],
    documents: ReadOnly[np.uint32],
    widths: ReadOnly[np.int64],
    blocks: ReadOnly[np.int64],
    count: int,
) -> Places:
    """Of each block, its first posting that is wrong and in which way; -1 where none is."""
    places = np.full(edges.size - 1, -1, np.int64)
    for row in range(edges.size - 1):
        width, block, before = min(widths[row], 63), blocks[row], np.int64(-1)
        for posting in range(edges[row], edges[row + 1]):
            document = np.int64(documents[np.uintp(posting)])
            if document > before and document >> width == block and document < count:
                before = document
                continue
            code = _UNKNOWN if document >= count else _ORDER if document <= before else _BOUND
            places[row] = posting * _CODES + code
            break
    return places


@compiled
def _scan_positions(
    edges: ReadOnly[np.int32], frequencies: ReadOnly[np.uint32], positions: ReadOnly[np.uint32]
) -> Places:
    """Of each block, its first posting whose positions don't ascend; -1 where all do."""
    wrong = np.full(edges.size - 1, -1, np.int64)
    place = 0
    for row in range(edges.size - 1):
        for posting in range(edges[row], edges[row + 1]):
            before = np.int64(-1)
            for _ in range(np.int64(frequencies[np.uintp(posting)])):
                here = np.int64(positions[np.uintp(place)])
                if here <= before and wrong[row] < 0:
                    wrong[row] = posting
                before = here
                place += 1
    return wrong


@compiled
def _scan_impacts(
    edges: ReadOnly[np.int32],
    documents: ReadOnly[np.uint32],
    frequencies: ReadOnly[np.uint32],
    lengths: ReadOnly[np.uint32],
    pair_edges: ReadOnly[np.int32],
    pair_frequencies: ReadOnly[np.uint32],
    pair_lengths: ReadOnly[np.uint32],
) -> Places:
    """0 for each block whose pairs aren't the competitive ones of its postings; -1 for the others."""
    most = 1
    for row in range(edges.size - 1):
        most = max(most, np.int64(edges[row + 1]) - np.int64(edges[row]) + 1)
    own_frequencies, own_lengths = np.empty(most, np.uint32), np.empty(most, np.uint32)
    wrong = np.full(edges.size - 1, -1, np.int64)
    for row in range(edges.size - 1):
        end = 0
        for posting in range(edges[row], edges[row + 1]):
            frequency = np.int64(frequencies[np.uintp(posting)])
            length = np.int64(lengths[np.uintp(documents[np.uintp(posting)])])
            end = compete(frequency, length, own_frequencies, own_lengths, 0, end)
        begin = np.int64(pair_edges[row])
        if np.int64(pair_edges[row + 1]) - begin != end:
            wrong[row] = 0
            continue
        for pair in range(end):
            if (
                own_frequencies[pair] != pair_frequencies[np.uintp(begin + pair)]
                or own_lengths[pair] != pair_lengths[np.uintp(begin + pair)]
            ):
                wrong[row] = 0
    return wrong
