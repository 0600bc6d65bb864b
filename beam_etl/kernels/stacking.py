"""Rows that differ in nothing but their documents, as one row: what a million copies of one text travel as."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.candidates import RANK
from beam_etl.kernels.hashing import hash_rows
from beam_etl.kernels.numbering import Numbering

OTHERS = "others"
"""binary column: the nodes of the other documents that a row stands for, packed; null where there are none."""

FIELD = pa.field(OTHERS, pa.binary())

STACK_FROM = 1 << 12
"""Documents of a cluster from which on members and decisions are stacked. Smaller clusters fit under any key."""

STACK_ROWS = 1 << 16
"""Documents that one row stands for at most, so that a row stays far below a slice."""

LAST_RANK = np.uint64(0xFFFF_FFFF_FFFF_FFFF)

_BITS = 7
_LONGEST = 10
"""Bytes of a number of 64 bits, at 7 bits a byte."""

Words = npt.NDArray[np.uint64]
Codes = npt.NDArray[np.int64]


def groups_of(columns: list[pa.Array]) -> Codes:
    """int64[rows], from 0 on: equal for rows that are equal in all columns."""
    codes = Numbering().add(hash_rows(columns))
    first = np.full(codes.max(initial=-1) + 1, len(codes))
    np.minimum.at(first, codes, np.arange(len(codes)))
    same = np.ones(len(codes), np.bool_)
    for column in columns:  # what has an equal hash and isn't equal stays alone
        other = column.take(pa.array(first[codes]))
        equal = pc.or_kleene(pc.equal(column, other), pc.and_(column.is_null(), other.is_null()))
        same &= equal.fill_null(False).to_numpy(zero_copy_only=False)
    return np.where(same, codes, len(codes) + np.arange(len(codes)))


def stack(rows: pa.RecordBatch, groups: Codes) -> pa.RecordBatch:
    """Rows that are alike as one: that of the smallest (rank, node), with the nodes of the others.

    Args:
      rows: with node, and maybe rank.
      groups: int64[rows], from 0 on: equal for rows that are equal in all columns but these two.

    Returns:
      The rows, in no order, and OTHERS. Those that are alone keep all they have.
    """
    alone = np.bincount(groups)[groups] == 1 if len(groups) else np.ones(0, np.bool_)
    if alone.all():
        return with_others(rows)
    node, rank = rows.column(schema.NODE).to_numpy(), _ranks(rows)
    several = np.flatnonzero(~alone)
    order = several[np.lexsort((node[several], rank[several], groups[several]))]
    place = _place_in_group(groups[order])
    first = place % STACK_ROWS == 0
    stacks = np.cumsum(first) - 1
    rest, of = order[~first], stacks[~first]
    sort = np.lexsort((node[rest], of))
    packed = _pack(node[rest[sort]], of[sort], int(first.sum()))
    single = np.flatnonzero(alone)
    taken = rows.take(pa.array(np.concatenate([single, order[first]])))
    return taken.append_column(FIELD, pa.concat_arrays([pa.nulls(len(single), pa.binary()), packed]))


def unstack(rows: pa.RecordBatch) -> tuple[Codes, Words, Words]:
    """All documents that rows stand for.

    Args:
      rows: with node, OTHERS, and maybe rank.

    Returns:
      int64[documents], the row of each; its node; and its rank, which is LAST_RANK for the others of a stack: they are
      never the first of it.
    """
    node, rank = rows.column(schema.NODE).to_numpy(), _ranks(rows)
    of, others = _unpack(rows.column(OTHERS))
    return (
        np.concatenate([np.arange(rows.num_rows), of]),
        np.concatenate([node, others]),
        np.concatenate([rank, np.full(len(others), LAST_RANK)]),
    )


def with_others(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows with the column OTHERS, whether they had it or not."""
    if OTHERS in rows.schema.names:
        return rows
    return rows.append_column(FIELD, pa.nulls(rows.num_rows, pa.binary()))


def _ranks(rows: pa.RecordBatch) -> Words:
    if RANK not in rows.schema.names:
        return np.zeros(rows.num_rows, np.uint64)
    ranks: Words = rows.column(RANK).to_numpy()
    return ranks


def _place_in_group(groups: Codes) -> Codes:
    """Of rows of which each group stands together, the place in the group."""
    new = np.ones(len(groups), np.bool_)
    new[1:] = groups[1:] != groups[:-1]
    starts = np.flatnonzero(new)
    return np.arange(len(groups)) - starts[np.cumsum(new) - 1]


def _pack(nodes: Words, stacks: Codes, count: int) -> pa.BinaryArray:
    """Nodes, ascending in each stack, as differences of 7 bits a byte; the last byte of each is below 128."""
    steps = nodes.copy()
    within = np.flatnonzero(stacks[1:] == stacks[:-1]) + 1
    steps[within] -= nodes[within - 1]
    size = np.ones(len(steps), np.int64)
    for more in range(1, _LONGEST):
        size += steps >= np.uint64(1) << np.uint64(_BITS * more)
    ends = np.cumsum(size)
    data = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    for byte in range(_LONGEST):
        some = np.flatnonzero(size > byte)
        bits = (steps[some] >> np.uint64(_BITS * byte)) & np.uint64(0x7F)
        data[ends[some] - size[some] + byte] = bits | np.where(size[some] > byte + 1, 0x80, 0).astype(
            np.uint64
        )
    held = np.bincount(stacks, minlength=count)
    offsets = np.concatenate([[0], ends])[np.concatenate([[0], np.cumsum(held)])].astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    whole = pa.BinaryArray.from_buffers(pa.binary(), count, buffers)
    return pc.if_else(pa.array(held == 0), pa.scalar(None, pa.binary()), whole)


def _unpack(packed: pa.BinaryArray) -> tuple[Codes, Words]:
    """The row of each node, and the nodes: the contrary of `_pack`."""
    filled = packed.fill_null(b"")
    _, offsets, data = filled.buffers()
    edges = np.frombuffer(offsets, np.int32)[filled.offset : filled.offset + len(filled) + 1]
    if not len(filled) or edges[0] == edges[-1]:
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    content = np.frombuffer(data, np.uint8)[edges[0] : edges[-1]]
    last = np.flatnonzero(content < 0x80)
    first = np.concatenate([[0], last[:-1] + 1])
    steps, size = np.zeros(len(last), np.uint64), last - first + 1
    for byte in range(int(size.max())):
        some = np.flatnonzero(size > byte)
        bits = (content[first[some] + byte] & np.uint8(0x7F)).astype(np.uint64)
        steps[some] |= bits << np.uint64(_BITS * byte)
    of = np.searchsorted(edges - edges[0], first, side="right") - 1
    sums = np.cumsum(steps)  # wraps around, and the difference is right again
    begins = _place_in_group(of) == 0
    before = (sums - steps)[begins]
    return of, sums - before[np.cumsum(begins) - 1]
