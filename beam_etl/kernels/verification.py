"""Candidates of a run with a threshold are compared by the bytes of their signatures."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.candidates import LOW, RANK, distinct_links, numbers
from beam_etl.kernels.components import link_arrays, link_batch
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.similarity import estimate_pairs

PASSES = 3
"""Stars that the documents around one centre may fall into, one after another."""

CANDIDATE = "candidate"

FACT = pa.schema(
    [
        *schema.LINK,
        pa.field(CANDIDATE, pa.bool_(), nullable=False),
        pa.field(RANK, pa.uint64(), nullable=False),
        pa.field(LOW, pa.binary(), nullable=False),
    ]
)
"""A link with the facts of its node: a candidate, or one that only asked for the facts."""


def wishes(links: pa.RecordBatch, candidate: bool) -> pa.RecordBatch:
    """Links that ask for the facts of their nodes: schema.LINK and whether they are candidates."""
    return links.append_column(
        pa.field(CANDIDATE, pa.bool_(), nullable=False), pa.array(np.full(links.num_rows, candidate))
    )


def grant(
    batches: Iterable[pa.RecordBatch], earlier: Iterable[pa.RecordBatch] = (), more: tuple[str, ...] = ()
) -> Iterator[pa.RecordBatch]:
    """Wishes with the facts of their documents.

    Args:
      batches: a partition by node, in any order, which can be iterated over twice: wishes, and facts, which are
        node, low and maybe rank.
      earlier: facts of documents that were decided before.
      more: binary columns that facts have besides, or lack where they are of earlier documents.

    Returns:
      Batches of FACT and `more`: a candidate row for each node and root that were wished for, with the smallest band,
      and for each node that was, one row that is no candidate.
    """
    asked = [batch for batch in batches if CANDIDATE in batch.schema.names]
    if not asked:
        return
    wanted = _wanted(pa.concat_batches(asked))
    node = numbers(wanted, schema.NODE)
    for source in (batches, earlier):
        for known in (batch for batch in source if LOW in batch.schema.names):
            own = numbers(known, schema.NODE)
            begin = np.searchsorted(node, own)
            count = np.searchsorted(node, own, "right") - begin
            rows = np.repeat(begin - np.cumsum(count) + count, count) + np.arange(count.sum())
            whose = pa.array(np.repeat(np.arange(len(own)), count))
            columns = [*wanted.take(pa.array(rows)).columns, ranks_of(known).take(whose)]
            columns.append(known.column(LOW).take(whose).cast(pa.binary()))
            granted = pa.RecordBatch.from_arrays(columns, schema=FACT)
            for name in more:
                has = name in known.schema.names
                column = known.column(name).take(whose) if has else pa.nulls(len(whose), pa.binary())
                granted = granted.append_column(name, column)
            yield granted


def ranks_of(known: pa.RecordBatch) -> pa.Array:
    """The ranks of facts; 0 where the first document is kept, so that nobody asked for them."""
    if RANK in known.schema.names:
        return known.column(RANK)
    return pa.array(np.zeros(known.num_rows, np.uint64))


def _wanted(asked: pa.RecordBatch) -> pa.RecordBatch:
    """Each candidate link once, and each node once, ascending by node."""
    links = distinct_links(asked.filter(asked.column(CANDIDATE)))
    everyone = np.unique(numbers(asked, schema.NODE))
    alone = link_batch(everyone, everyone, np.full(len(everyone), schema.NO_BAND, np.uint16))
    both = pa.concat_batches([wishes(links, True), wishes(alone, False)])
    return both.take(pa.array(np.argsort(numbers(both, schema.NODE), kind="stable")))


def verify(batches: Iterable[pa.RecordBatch], threshold: float) -> Iterator[pa.RecordBatch]:
    """The candidate links that hold: batches of schema.LINK.

    Around each centre (the smallest node, which the others were candidates of) equal signatures are linked first. Those
    that are similar enough are linked to the centre. Those that aren't form a star among themselves, around the
    smallest of them, and so on, PASSES times; what is left after that stays alone.

    Args:
      batches: candidates of a partition by root, with the facts of their nodes; a root has a row of its own. All are
        held: some 400 bytes each, of 128 permutations.
      threshold: estimated Jaccard similarity that a link needs.
    """
    candidates = [batch for batch in batches if batch.num_rows]
    if not candidates:
        return
    rows = concat_facts(candidates)
    node, root, bands = link_arrays(rows)
    low, size = low_bytes_of(rows.column(LOW))

    def links(linked: npt.NDArray[np.int64], to: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        yield link_batch(node[linked], node[to], bands[linked])
        own = np.where(
            node[to] == root[to], bands[linked], bands[to]
        )  # a later centre met the root in another
        yield link_batch(node[to], node[to], own)

    same = hash_values(rows.column(LOW))
    equal = first_of_groups(np.lexsort((node, same, root)), root, same)
    twins = np.flatnonzero(equal != np.arange(len(equal)))
    yield from links(twins, equal[twins])
    left = np.flatnonzero(equal == np.arange(len(equal)))
    left = left[np.lexsort((node[left], root[left]))]
    for _ in range(PASSES):
        centre = left[first_of_groups(np.arange(len(left)), root[left])]
        others = centre != left
        centre, left = centre[others], left[others]
        holds = estimate_pairs(low, size, centre, left) >= threshold
        yield from links(left[holds], centre[holds])
        left = left[~holds]


def concat_facts(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """Batches of equal columns in one. The low bytes become large_binary: a partition may have more than 2 GiB."""
    wide = []
    for batch in batches:
        place = batch.schema.get_field_index(LOW)
        wide.append(batch.set_column(place, LOW, batch.column(place).cast(pa.large_binary())))
    return pa.concat_batches(wide)


def low_bytes_of(column: pa.Array) -> tuple[npt.NDArray[np.uint8], int]:
    """The bytes of a column of equally long ones, on end, and how many each has."""
    plain = pc.cast(column, pa.large_binary())
    _, offsets, data = plain.buffers()
    edges = np.frombuffer(offsets, np.int64)[plain.offset : plain.offset + len(plain) + 1]
    size = int(edges[1] - edges[0])
    return np.frombuffer(data, np.uint8)[edges[0] : edges[-1]], size


def first_of_groups(order: npt.NDArray[np.int64], *keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """For each row, the row of its group that comes first in `order`, which brings each group's rows together.

    Args:
      order: int64[rows], a permutation of the rows.
      keys: columns; rows that are equal in all of them are a group.

    Returns:
      int64[rows].
    """
    new = np.ones(len(order), np.bool_)
    new[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    first = np.empty(len(order), np.int64)
    first[order] = order[np.flatnonzero(new)[np.cumsum(new) - 1]]
    return first
