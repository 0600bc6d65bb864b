"""Candidates of a run with a threshold are compared by the bytes of their signatures."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.candidates import LOW, RANK, distinct_links, link_rows, numbers
from beam_etl.kernels.similarity import estimate_pairs

PASSES = 3
"""Stars that the documents around one centre may fall into, one after another."""

CANDIDATE = "candidate"

FACT = pa.schema(
    [
        *schema.LINK,
        pa.field(CANDIDATE, pa.bool_(), nullable=False),
        pa.field(RANK, pa.uint64(), nullable=False),
        pa.field(LOW, pa.binary()),
    ]
)
"""A document's facts, or, without `low`, a wish to have them: for a candidate link, or just to know them."""


def facts(signatures: pa.RecordBatch) -> pa.RecordBatch:
    """The facts of signatures that have low bytes: FACT."""
    rank = signatures.column(RANK) if RANK in signatures.schema.names else None
    return fact_rows(signatures.column(schema.NODE), rank=rank, low=signatures.column(LOW).cast(pa.binary()))


def wishes(links: pa.RecordBatch, candidate: bool) -> pa.RecordBatch:
    """The wish for the facts of each link's node: FACT."""
    wanted = pa.array(np.full(links.num_rows, candidate))
    return fact_rows(links.column(schema.NODE), links.column(schema.ROOT), links.column(schema.BAND), wanted)


def fact_rows(
    node: pa.Array,
    root: pa.Array | None = None,
    band: pa.Array | None = None,
    candidate: pa.Array | None = None,
    rank: pa.Array | None = None,
    low: pa.Array | None = None,
) -> pa.RecordBatch:
    """A batch of FACT; columns that aren't given are zero, and `low` null."""
    columns = [node, root, band, candidate, rank, low]
    for place, column in enumerate(FACT):
        if columns[place] is None:
            empty = pa.nulls(len(node), column.type)
            columns[place] = empty if column.nullable else empty.fill_null(pa.scalar(0).cast(column.type))
    return pa.RecordBatch.from_arrays(columns, schema=FACT)


def grant(
    batches: Iterable[pa.RecordBatch], earlier: Iterable[pa.RecordBatch] = ()
) -> Iterator[pa.RecordBatch]:
    """Wishes with the facts of their documents.

    Args:
      batches: FACT of a partition by node, in any order, which can be iterated over twice.
      earlier: facts of documents that were decided before.

    Returns:
      Batches of FACT: a candidate row for each node and root that were wished for, with the smallest band, and for each
      node that was, one row that is no candidate.
    """
    asked = [batch.filter(batch.column(LOW).is_null()) for batch in batches]
    asked = [batch for batch in asked if batch.num_rows]
    if not asked:
        return
    wanted = _wanted(pa.concat_batches(asked))
    node = numbers(wanted, schema.NODE)
    for source in (batches, earlier):
        for batch in source:
            known = batch.filter(batch.column(LOW).is_valid())
            own = numbers(known, schema.NODE)
            begin = np.searchsorted(node, own)
            count = np.searchsorted(node, own, "right") - begin
            rows = np.repeat(begin - np.cumsum(count) + count, count) + np.arange(count.sum())
            whose = pa.array(np.repeat(np.arange(len(own)), count))
            found = wanted.take(pa.array(rows))
            yield fact_rows(
                found.column(schema.NODE),
                found.column(schema.ROOT),
                found.column(schema.BAND),
                found.column(CANDIDATE),
                known.column(RANK).take(whose),
                known.column(LOW).take(whose),
            )


def _wanted(asked: pa.RecordBatch) -> pa.RecordBatch:
    """Each candidate link once, and each node once, ascending by node."""
    links = distinct_links(asked.filter(asked.column(CANDIDATE)))
    everyone = np.unique(numbers(asked, schema.NODE))
    alone = link_rows(everyone, everyone, np.zeros(len(everyone), np.uint16))
    both = pa.concat_batches([wishes(links, True), wishes(alone, False)])
    return both.take(pa.array(np.argsort(numbers(both, schema.NODE), kind="stable")))


def verify(batches: Iterable[pa.RecordBatch], threshold: float) -> Iterator[pa.RecordBatch]:
    """The candidate links that hold: schema.LINK, in one batch.

    Around each centre (the smallest node, which the others were candidates of) those that are similar enough are linked
    to it. Those that aren't form a star among themselves, around the smallest of them, and so on, PASSES times; what
    is left after that stays alone.

    Args:
      batches: candidates of a partition by root, with the facts of their nodes; a root has a row of its own.
      threshold: estimated Jaccard similarity that a link needs.
    """
    rows = pa.concat_batches([batch for batch in batches if batch.num_rows])
    node, root, bands = (numbers(rows, name) for name in (schema.NODE, schema.ROOT, schema.BAND))
    low, size = low_bytes_of(rows.column(LOW))
    left = np.lexsort((node, root))
    for _ in range(PASSES):
        centre = left[_group_starts(root[left])]
        member = centre != left
        centre, others = centre[member], left[member]
        if not len(others):
            return
        holds = estimate_pairs(low, size, centre, others) >= threshold
        linked, to = others[holds], centre[holds]
        yield link_rows(node[linked], node[to], bands[linked])
        yield link_rows(node[to], node[to], bands[linked])
        left = others[~holds]


def low_bytes_of(column: pa.Array) -> tuple[npt.NDArray[np.uint8], int]:
    """The bytes of a column of equally long ones, on end, and how many each has."""
    plain = pc.cast(column, pa.large_binary())
    _, offsets, data = plain.buffers()
    edges = np.frombuffer(offsets, np.int64)[plain.offset : plain.offset + len(plain) + 1]
    size = int(edges[1] - edges[0])
    return np.frombuffer(data, np.uint8)[edges[0] : edges[-1]], size


def _group_starts(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """For each place of ascending keys, the first place of its key."""
    new = np.ones(len(keys), np.bool_)
    new[1:] = keys[1:] != keys[:-1]
    return np.flatnonzero(new)[np.cumsum(new) - 1]
