from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl import schema
from beam_etl.kernels.components import MEMBER_ROWS, NODE_BYTES, Components, contract
from beam_etl.testing import check_kernel, check_merge, run_once
from tests.graphs import GRAPHS, PATH, RANDOM, Member, links, member_rows, oracle

NODES = st.integers(0, 12) | st.integers(2**64 - 4, 2**64 - 1)
BANDS = st.integers(0, 3) | st.just(schema.NO_BAND)
ROWS = st.lists(st.tuples(NODES, NODES, BANDS), max_size=30)


def batch_of(rows: list[tuple[int, int, int]]) -> pa.RecordBatch:
    return links(*([row[i] for row in rows] for i in range(3)))


def pieces(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def found(*batches: pa.RecordBatch) -> list[Member]:
    components = Components()
    for batch in batches:
        components.add(batch)
    return member_rows(components.members())


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_members_are_those_of_a_plain_union_find(graph: pa.RecordBatch) -> None:
    assert found(graph) == oracle(graph)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_members_depend_on_neither_batches_nor_order(graph: pa.RecordBatch) -> None:
    shuffled = graph.take(pa.array(RANDOM.permutation(graph.num_rows)))
    assert found(*pieces(shuffled, 997)) == found(graph)


@given(ROWS)
def test_any_graph(rows: list[tuple[int, int, int]]) -> None:
    graph = batch_of(rows)
    assert found(graph) == oracle(graph)
    assert found(contract(graph)) == oracle(graph)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_contracted_links_are_stars_of_the_same_members(graph: pa.RecordBatch) -> None:
    stars = contract(graph)
    assert stars.schema == schema.LINK
    assert found(stars) == oracle(graph)
    node, root = (stars.column(name).to_numpy() for name in ("node", "root"))
    assert len(np.unique(node)) == len(node)
    assert (root <= node).all()
    assert not np.isin(root, node[node != root]).any()


@given(st.lists(ROWS.filter(len), min_size=3, max_size=5))
def test_contracting_merges(parts: list[list[tuple[int, int, int]]]) -> None:
    check_merge(contract, map(batch_of, parts))


def test_contracting_is_the_same_elsewhere() -> None:
    check_kernel(contract, GRAPHS["a sparse random graph, with all links twice"], row_wise=False)
    assert run_once(contract, links([5], [5], [schema.NO_BAND])).num_rows == 0  # type: ignore[union-attr]


def test_batches_of_members_are_full_but_for_the_last() -> None:
    components = Components()
    components.add(GRAPHS["a path in order"])
    rows = [batch.num_rows for batch in components.members()]
    assert rows == [*[MEMBER_ROWS] * (PATH // MEMBER_ROWS), PATH % MEMBER_ROWS]


def test_members_come_again_but_links_do_not() -> None:
    components = Components()
    components.add(GRAPHS["stars"])
    assert components.nodes == 20_000
    first = member_rows(components.members())
    assert member_rows(components.members()) == first
    assert components.nodes == 20_000
    with pytest.raises(ValueError, match="once the components were asked for"):
        components.add(GRAPHS["stars"])


def test_a_node_takes_as_many_bytes_as_stated() -> None:
    components = Components()
    graph = links(*RANDOM.integers(0, 2**64, (2, 200_000), np.uint64))
    held = defaultdict(float)
    for piece in pieces(graph, 500):
        components.add(piece)
        held[components.nodes] = components.nbytes / components.nodes
    assert 26 < max(held.values()) <= 31 < NODE_BYTES
