"""Decisions: which document of each cluster is kept, and what the others are removed for."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels import ordering, stacking
from beam_etl.kernels.candidates import FIRST_NEW, LOW, RANK, numbers
from beam_etl.kernels.numbering import find_sorted
from beam_etl.kernels.similarity import estimate_pairs
from beam_etl.kernels.verification import concat_facts, first_of_groups, low_bytes_of, ranks_of

MEMBER_FACT = pa.schema(
    [*schema.MEMBER, pa.field(RANK, pa.uint64(), nullable=False), pa.field(LOW, pa.binary())]
)
"""A member with its facts."""

MEMBER_ORDER = MEMBER_FACT.append(ordering.FIELD)
"""The same where ORDER tells who comes first."""


def keep_first(members: pa.RecordBatch) -> pa.RecordBatch:
    """Decisions where the smallest node is kept: schema.DECISION of schema.MEMBER."""
    columns = [members.column(name) for name in schema.MEMBER.names]
    similarity = pa.nulls(members.num_rows, pa.float32())
    return pa.RecordBatch.from_arrays(
        [*columns, members.column(schema.CLUSTER), similarity], schema=schema.DECISION
    )


def facts_only(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The facts among the columns of signatures, or of links with facts: node, and rank and low where they are."""
    return rows.select([name for name in (schema.NODE, RANK, LOW) if name in rows.schema.names])


def join_facts(
    batches: Iterable[pa.RecordBatch], columns: pa.Schema = MEMBER_FACT
) -> Iterator[pa.RecordBatch]:
    """Members with their facts: batches of `columns`, and of large clusters, stacks of these (see `stacking`).

    Args:
      batches: a partition by node, in any order, which can be iterated over twice: schema.MEMBER, and facts. A member
        without facts, which is of an earlier run or window, gets rank 0 and no low bytes.
      columns: MEMBER_FACT; or with ORDER, MEMBER_ORDER: of each cluster one member keeps it (see `ordering.nominate`).
    """
    found = _joined(batches, columns)
    if ordering.ORDER in columns.names:
        found = _nominated(found)
    large = []
    for joined in found:
        is_large = pc.greater_equal(joined.column(schema.CLUSTER_SIZE), stacking.STACK_FROM)
        large.append(joined.filter(is_large))
        yield joined.filter(pc.invert(is_large))
    if any(batch.num_rows for batch in large):
        rows = concat_facts(large)
        names = [name for name in (schema.CLUSTER, schema.BAND, LOW, ordering.ORDER) if name in columns.names]
        alike = stacking.groups_of([rows.column(name) for name in names])
        yield stacking.stack(rows, alike).cast(columns.append(stacking.FIELD))


def _nominated(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    some = list(batches)
    if not some:
        return
    rows = concat_facts(some)
    node, cluster = numbers(rows, schema.NODE), numbers(rows, schema.CLUSTER)
    order, rank = ordering.nominate(rows.column(ordering.ORDER), node, cluster)
    place, where = rows.schema.get_field_index(RANK), rows.schema.get_field_index(ordering.ORDER)
    rows = rows.set_column(place, RANK, pa.array(rank)).set_column(where, ordering.ORDER, order)
    yield rows.cast(MEMBER_ORDER)


def _joined(batches: Iterable[pa.RecordBatch], columns: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Members with their facts, not stacked."""
    members = [batch for batch in batches if schema.CLUSTER in batch.schema.names]
    if not members:
        return
    joined = pa.concat_batches(members).sort_by(schema.NODE)
    node, waiting = numbers(joined, schema.NODE), np.ones(joined.num_rows, np.bool_)
    for known in (batch for batch in batches if schema.CLUSTER not in batch.schema.names):
        rows, places = find_sorted(node, numbers(known, schema.NODE))
        waiting[places] = False
        yield _with_facts(joined.take(pa.array(places)), known.take(pa.array(rows)), columns)
    rest = joined.filter(pa.array(waiting))
    yield _with_facts(rest, rest, columns)


def _with_facts(members: pa.RecordBatch, known: pa.RecordBatch, columns: pa.Schema) -> pa.RecordBatch:
    names = columns.names[len(MEMBER_FACT) - 1 :]
    facts = [
        known.column(name) if name in known.schema.names else pa.nulls(known.num_rows, pa.binary())
        for name in names
    ]
    return pa.RecordBatch.from_arrays([*members.columns, ranks_of(known), *facts], schema=columns)


def stack_decisions(decisions: pa.RecordBatch, *more: str) -> Iterator[pa.RecordBatch]:
    """Decisions about large clusters as stacks, those about others as they are.

    Args:
      decisions: schema.DECISION, and columns `more`.
    """
    is_large = pc.greater_equal(decisions.column(schema.CLUSTER_SIZE), stacking.STACK_FROM)
    large, others = decisions.filter(is_large), decisions.filter(pc.invert(is_large))
    if others.num_rows:
        yield others
    if not large.num_rows:
        return
    names = [*more, schema.CLUSTER, schema.BAND, schema.SURVIVOR, schema.SIMILARITY]
    yield stacking.stack(large, stacking.groups_of([large.column(name) for name in names]))


def choose(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Decisions over the clusters of a partition: schema.DECISION, ascending by cluster and node.

    The smallest (rank, node) of a cluster is kept, or the smallest ORDER. A document of an earlier run or window has
    rank 0 and the smallest nodes.

    Args:
      batches: members with their facts, or stacks of them, all of each cluster. All members are held: some 200 bytes
        each, 550 with those of 128 permutations.
    """
    rows = concat_facts(stacking.with_others(batch) for batch in batches if batch.num_rows)
    of, node, rank = stacking.unstack(rows)
    cluster, size = numbers(rows, schema.CLUSTER)[of], numbers(rows, schema.CLUSTER_SIZE)[of]
    if ordering.ORDER in rows.schema.names:
        some = slice(rows.num_rows)
        rank[some] = ordering.ranks_by_order(rows.column(ordering.ORDER), node[some], rank[some])
        size = _sizes_in_window(cluster, node)
    kept = first_of_groups(np.lexsort((node, rank, cluster)), cluster)
    order = np.lexsort((node, cluster))
    rows, kept = rows.drop_columns([stacking.OTHERS]).take(pa.array(of[order])), kept[order]
    similarity = _similarity(rows.column(LOW), order, kept)
    columns = [pa.array(node[order]), rows.column(schema.CLUSTER), pa.array(size[order])]
    columns += [rows.column(schema.BAND), pa.array(node[kept]), similarity]
    yield pa.RecordBatch.from_arrays(columns, schema=schema.DECISION)


def _sizes_in_window(cluster: npt.NDArray[np.uint64], node: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The size of each row's cluster: its documents of this window, and one for all remembered ones."""
    pairs = np.unique(np.stack([cluster, np.maximum(node, FIRST_NEW - np.uint64(1))]), axis=1)
    names, counts = np.unique(pairs[0], return_counts=True)
    return counts[np.searchsorted(names, cluster)]


def _similarity(low: pa.Array, order: npt.NDArray[np.int64], kept: npt.NDArray[np.int64]) -> pa.Array:
    """Of each row to the one that is kept, where both have low bytes. `kept` are places before rows were ordered."""
    known = low.is_valid().to_numpy(zero_copy_only=False)
    if not known.any():
        return pa.nulls(len(low), pa.float32())
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    to = place[kept]
    if low.null_count:
        low = low.fill_null(low.drop_null()[0])
    data, size = low_bytes_of(low)
    return pa.array(estimate_pairs(data, size, np.arange(len(order)), to), mask=~(known & known[to]))
