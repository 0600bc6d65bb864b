from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl import schema
from beam_etl.kernels.component_rounds import (
    KEY,
    LINK_END,
    _rank,
    _unrank,
    both_ends,
    large_star,
    rank_links,
    small_star,
    star_members,
)
from beam_etl.kernels.partition import hash_partition, split_by_number
from beam_etl.transforms.batches import merge_batches
from tests.graphs import GRAPHS, RANDOM, Member, Words, links, member_rows, oracle

MOST = 20
LARGE = {"a path in order", "a path against its order", "a path in random order"}


def partitions(batches: Iterable[pa.RecordBatch], by: str, number: int) -> list[list[pa.RecordBatch]]:
    """What a shuffle does: rows of equal keys in one partition, as several batches."""
    rows = [batch for batch in batches if batch.num_rows]
    if not rows:
        return []
    merged = merge_batches(rows)
    split = split_by_number(merged, hash_partition(merged, (by,), number))
    return [[part.slice(0, part.num_rows // 2), part.slice(part.num_rows // 2)] for _, part in split]


def in_rounds(graph: pa.RecordBatch, number: int, bundles: int = 7) -> tuple[list[Member], int, int]:
    """Members, rounds needed, and the most links at any time, as the steps of a pipeline would make them."""
    rows = max(1, -(-graph.num_rows // bundles))
    current = [rank_links(graph.slice(start, rows)) for start in range(0, graph.num_rows, rows)]
    most = 0
    for rounds in range(MOST):
        tied = [large_star(part) for part in partitions(map(both_ends, current), KEY, number)]
        current = [batch for batch, _ in tied]
        most = max(most, sum(batch.num_rows for batch in current))
        if not sum(progress.unfinished for _, progress in tied):
            stars = partitions(current, schema.ROOT, number)
            found = (star_members(part) for part in stars)
            return sorted(row for batches in found for row in member_rows(batches)), rounds, most
        current = [small_star(part) for part in partitions(current, schema.NODE, number)]
    raise AssertionError(f"not finished after {MOST} rounds")


@pytest.mark.parametrize("graph", [name for name in GRAPHS if name not in LARGE])
@pytest.mark.parametrize("number", [1, 3, 500])
def test_members_are_those_of_a_plain_union_find(graph: str, number: int) -> None:
    members, rounds, _ = in_rounds(GRAPHS[graph], number)
    assert members == sorted(oracle(GRAPHS[graph]))
    assert number > 1 or rounds <= 2


@pytest.mark.parametrize(
    "graph", [pytest.param("a path in order", marks=pytest.mark.long), "a path in random order"]
)
def test_a_long_path_takes_few_rounds_whatever_its_order(graph: str) -> None:
    members, rounds, most = in_rounds(GRAPHS[graph], 64, bundles=10_000)
    assert members == sorted(oracle(GRAPHS[graph]))
    assert 5 <= rounds <= 13
    assert most <= 1.15 * GRAPHS[graph].num_rows


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5)), max_size=60),
    st.integers(1, 50),
    st.integers(1, 60),
)
def test_any_graph(rows: list[tuple[int, int, int]], number: int, bundles: int) -> None:
    graph = links(*([row[i] for row in rows] for i in range(3)))
    members, _, _ = in_rounds(graph, number, bundles)
    assert members == sorted(oracle(graph))


@pytest.mark.parametrize(
    "nodes",
    [np.arange(100_000, dtype=np.uint64), RANDOM.integers(0, 2**64, 100_000, np.uint64)],
    ids=["addresses", "any"],
)
def test_ranks_stand_for_one_node_each_in_another_order(nodes: Words) -> None:
    ranks = _rank(nodes)
    assert (_unrank(ranks) == nodes).all()
    rising = np.count_nonzero(ranks[1:] > ranks[:-1]) / len(nodes)
    assert abs(rising - 0.5) < 0.01


def test_both_ends_have_a_link_once() -> None:
    ends = both_ends(links([5, 7], [5, 2], [1, 2]))
    assert ends.schema == LINK_END
    rows = sorted(zip(*(column.to_pylist() for column in ends.columns), strict=True))
    assert rows == [(5, 5, 1, 5), (7, 2, 2, 2), (7, 2, 2, 7)]


def test_stars_are_finished_and_stay_as_they_are() -> None:
    stars = links([5, 6, 7, 2, 9], [2, 2, 2, 2, 8], [1, 2, 3, 4, 5])
    again, progress = large_star([both_ends(stars)])
    assert progress == (6, 0)
    assert sorted(again.to_pylist(), key=str) == sorted(stars.to_pylist(), key=str)


UNFINISHED = {
    "between two": links([3, 2], [2, 1]),
    "two smaller neighbours": links([3, 3], [2, 1]),
    "a band told apart": links([3, 3], [1, 3]),
}


@pytest.mark.parametrize("graph", UNFINISHED.values(), ids=UNFINISHED)
def test_a_node_that_is_no_leaf_and_no_centre_is_unfinished(graph: pa.RecordBatch) -> None:
    assert large_star([both_ends(graph)])[1].unfinished == 1
