"""Decisions: which document of each cluster is kept, and what the others are removed for."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.candidates import LOW, RANK, numbers
from beam_etl.kernels.similarity import estimate_pairs
from beam_etl.kernels.verification import low_bytes_of

MEMBER_FACT = pa.schema(
    [
        pa.field(schema.NODE, pa.uint64(), nullable=False),
        pa.field(schema.CLUSTER, pa.uint64()),
        pa.field(schema.CLUSTER_SIZE, pa.int64()),
        pa.field(schema.BAND, pa.uint16()),
        pa.field(RANK, pa.uint64()),
        pa.field(LOW, pa.binary()),
    ]
)
"""A member, the facts of a document (no cluster), or a member with its facts."""


def keep_first(members: pa.RecordBatch) -> pa.RecordBatch:
    """Decisions where the smallest node is kept: schema.DECISION of schema.MEMBER."""
    columns = [members.column(name) for name in schema.MEMBER.names]
    similarity = pa.nulls(members.num_rows, pa.float32())
    return pa.RecordBatch.from_arrays(
        [*columns, members.column(schema.CLUSTER), similarity], schema=schema.DECISION
    )


def as_member_facts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Members, or the facts of documents (which have a rank), as MEMBER_FACT."""
    wanted = (schema.NODE, RANK, LOW) if RANK in batch.schema.names else schema.MEMBER.names
    columns = [
        batch.column(column.name).cast(column.type)
        if column.name in wanted and column.name in batch.schema.names
        else pa.nulls(batch.num_rows, column.type)
        for column in MEMBER_FACT
    ]
    return pa.RecordBatch.from_arrays(columns, schema=MEMBER_FACT)


def join_facts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Members with their facts: MEMBER_FACT of a partition by node, iterated over twice.

    A member without facts, which is of an earlier run, has rank 0 and no low bytes.
    """
    members = [batch.filter(batch.column(schema.CLUSTER).is_valid()) for batch in batches]
    members = [batch for batch in members if batch.num_rows]
    if not members:
        return
    joined = pa.concat_batches(members).sort_by(schema.NODE)
    node, waiting = numbers(joined, schema.NODE), np.ones(joined.num_rows, np.bool_)
    for batch in batches:
        known = batch.filter(batch.column(schema.CLUSTER).is_null())
        own = numbers(known, schema.NODE)
        place = np.minimum(np.searchsorted(node, own), len(node) - 1)
        found = np.flatnonzero(node[place] == own)
        place = place[found]
        waiting[place] = False
        yield _with_facts(joined.take(pa.array(place)), known.take(pa.array(found)))
    rest = joined.filter(pa.array(waiting))
    yield _with_facts(rest, rest)


def _with_facts(members: pa.RecordBatch, known: pa.RecordBatch) -> pa.RecordBatch:
    own = [members.column(name) for name in schema.MEMBER.names]
    return pa.RecordBatch.from_arrays(
        [*own, known.column(RANK).fill_null(0), known.column(LOW)], schema=MEMBER_FACT
    )


def choose(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Decisions over the clusters of a partition: schema.DECISION, ascending by cluster and node.

    The smallest (rank, node) of a cluster is kept. A document of an earlier run has rank 0 and the smallest nodes.

    Args:
      batches: members with their facts, all of each cluster.
    """
    rows = pa.concat_batches([batch for batch in batches if batch.num_rows])
    node, cluster, rank = (numbers(rows, name) for name in (schema.NODE, schema.CLUSTER, RANK))
    kept = first_of_groups(np.lexsort((node, rank, cluster)), cluster)
    order = np.lexsort((node, cluster))
    rows, kept = rows.take(pa.array(order)), kept[order]
    columns = [rows.column(name) for name in schema.MEMBER.names]
    yield pa.RecordBatch.from_arrays(
        [*columns, pa.array(node[kept]), _similarity(rows.column(LOW), order, kept)], schema=schema.DECISION
    )


def _similarity(low: pa.Array, order: npt.NDArray[np.int64], kept: npt.NDArray[np.int64]) -> pa.Array:
    """Of each row to the one that is kept, where all have low bytes. `kept` are places before the rows were ordered."""
    if low.null_count:
        return pa.nulls(len(low), pa.float32())
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    data, size = low_bytes_of(low)
    return pa.array(estimate_pairs(data, size, np.arange(len(order)), place[kept]))


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
