"""The graph of a run: steps that count, shuffles between them, and a drawing in which nothing lies over another."""

import re
from collections.abc import Iterable
from itertools import combinations

import apache_beam as beam
import pyarrow as pa
import pytest

from beam_etl.observe.drawing import HEIGHT, WIDTH, Box, draw, shorten
from beam_etl.observe.graph import MOST_NODES, Graph, Node, contract, leaves
from beam_etl.observe.plan import plan
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.shuffle import Rebalance, Shuffle
from tests.beam import run

BATCH = pa.record_batch({"address": pa.array([1, 2], pa.uint64()), "key": ["a", "b"]})


def chain(pipeline: beam.Pipeline, rounds: int) -> Batches:
    batches = pipeline | "Rows" >> beam.Create([BATCH]).with_output_types(pa.RecordBatch)
    for number in range(rounds):
        partitions = batches | f"Meet {number}" >> Shuffle(by=("key",), partitions=2)
        batches = partitions | f"Merge {number}" >> MapPartitions(kernel=iter)
    return batches


def test_steps_stand_between_the_shuffles_that_they_are_between() -> None:
    pipeline = run()
    rows = chain(pipeline, 1)
    (
        (rows, pipeline | "More" >> beam.Create([BATCH]))
        | "Both" >> beam.Flatten()
        | "Last" >> MapBatches(kernel=lambda batch: batch)
    )
    found = leaves(pipeline, plan(pipeline))
    graph = contract(found, [leaf.label for leaf in found if not leaf.label.startswith(("More", "Both"))])
    names = [(node.label, node.is_shuffle) for node in graph.nodes]
    assert names[-3:] == [("Meet 0", True), ("Merge 0/Map", False), ("Last/Map", False)]
    last = len(names) - 1
    assert {(last - 2, last - 1), (last - 1, last)} <= set(graph.edges)
    assert [leaf.label for leaf in found if leaf.merges == ("Meet 0",)] == ["Merge 0/Map"]


def test_what_reads_batches_behind_a_shuffle_merges_nothing() -> None:
    pipeline = run()
    (
        pipeline
        | "Rows" >> beam.Create([BATCH])
        | "Spread" >> Rebalance(partitions=2)
        | "Last" >> MapBatches(kernel=lambda batch: batch)
    )
    assert [leaf for leaf in leaves(pipeline, plan(pipeline)) if leaf.merges] == []


@pytest.mark.parametrize(("rounds", "shuffles"), [(3, 3), (14, 0)], ids=["few", "many are steps"])
def test_a_graph_of_many_steps_stays_one_that_can_be_looked_at(rounds: int, shuffles: int) -> None:
    pipeline = run()
    rows = chain(pipeline, 1)
    for number in range(1, rounds):
        rows = rows | f"Round {number}" >> Rounds()
    found = leaves(pipeline, plan(pipeline))
    graph = contract(found, [leaf.label for leaf in found])
    assert len(graph.nodes) <= max(MOST_NODES, rounds + 4)
    assert sum(node.is_shuffle for node in graph.nodes) == shuffles
    assert sorted(label for node in graph.nodes for label in node.steps) == sorted(
        leaf.label for leaf in found
    )


class Rounds(beam.PTransform):
    def expand(self, batches: Batches) -> Batches:
        return batches | "Meet" >> Shuffle(by=("key",), partitions=2) | "Merge" >> MapPartitions(kernel=iter)


def corners(drawn: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"translate\(([\d.]+) ([\d.]+)\)", drawn)]


GRAPHS = {
    "a chain": ((0, 1), (1, 2), (2, 3)),
    "a diamond with a long edge": ((0, 1), (0, 2), (1, 3), (2, 3), (0, 4), (3, 4)),
    "many in one layer": tuple((0, node) for node in range(1, 9)) + tuple((node, 9) for node in range(1, 9)),
    "nothing joined": (),
}


@pytest.mark.parametrize("edges", GRAPHS.values(), ids=list(GRAPHS))
def test_no_box_lies_over_another_and_every_edge_goes_down(edges: Iterable[tuple[int, int]]) -> None:
    edges = tuple(edges)
    count = max((other for _, other in edges), default=3) + 1
    graph = Graph(tuple(Node(f"Step {n}", (f"Step {n}",)) for n in range(count)), edges)
    drawn = draw(graph, [Box(node.label, "1 s", 0.1, False, "") for node in graph.nodes], "a graph")
    places = corners(drawn)
    assert len(places) == count
    for (x, y), (other_x, other_y) in combinations(places, 2):
        assert abs(x - other_x) >= WIDTH or abs(y - other_y) >= HEIGHT
    assert all(places[one][1] < places[other][1] for one, other in edges)
    width, height = map(float, re.findall(r'viewBox="0 0 (\d+) (\d+)"', drawn)[0])
    assert all(x + WIDTH <= width and y + HEIGHT <= height for x, y in places)
    assert drawn.count('class="edge"') == len(edges)


def test_a_long_label_keeps_its_beginning_and_its_end() -> None:
    short = shorten("Find duplicates/Clusters/Write links of all", 20)
    assert len(short) == 20
    assert short.startswith("Find d")
    assert short.endswith("links of all")
