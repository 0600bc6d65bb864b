"""The graph of a pipeline as a run's report draws it: steps that count something, and the shuffles between them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.pipeline import AppliedPTransform

from beam_etl.observe.plan import Plan, is_inside

MOST_NODES = 24
"""Steps are shown in as much detail as makes so many nodes, and as few as there are at the top where these are more."""

DEEPEST = 4
"""Parts of a label that are told apart, at most."""


@dataclass(frozen=True)
class Leaf:
    """A step without steps in it."""

    label: str
    inputs: tuple[int, ...]
    """Places of the leaves whose output it takes."""
    shuffle: str | None
    """The shuffle that it is a part of."""
    merges: tuple[str, ...]
    """The shuffles whose partitions it reads."""


@dataclass(frozen=True)
class Node:
    """Some steps, drawn as one; or a shuffle."""

    label: str
    steps: tuple[str, ...]
    """Labels of the leaves in it."""
    is_shuffle: bool = False


@dataclass(frozen=True)
class Graph:
    """Nodes, each after those that it depends on, and edges between their places."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[tuple[int, int], ...] = ()


def leaves(pipeline: beam.Pipeline, plan: Plan) -> tuple[Leaf, ...]:
    """The steps of a pipeline that was built, in the order in which they were."""
    parts: list[AppliedPTransform] = []
    waiting = [pipeline._current_transform()]
    while waiting:
        part = waiting.pop()
        if part.parts:
            waiting += reversed(part.parts)
        elif part.full_label:
            parts.append(part)
    places = {id(part): place for place, part in enumerate(parts)}
    shuffles = [
        next((step.label for step in plan.shuffles if is_inside(part.full_label, step.label)), None)
        for part in parts
    ]
    found = []
    for place, part in enumerate(parts):
        taken = [*part.inputs, *(side.pvalue for side in part.side_inputs)]
        taken = [some for some in taken if id(some.producer) in places]
        merged = {
            shuffles[places[id(some.producer)]] for some in taken if some.element_type is not pa.RecordBatch
        }
        found.append(
            Leaf(
                part.full_label,
                tuple(sorted({places[id(some.producer)] for some in taken})),
                shuffles[place],
                tuple(sorted(label for label in merged if label not in (None, shuffles[place]))),
            )
        )
    return tuple(found)


def contract(found: Sequence[Leaf], counted: Iterable[str]) -> Graph:
    """The graph of those steps that have counted something, the others bridged.

    Args:
      found: of `leaves`.
      counted: labels of such steps.
    """
    kept = set(counted)
    levels = _levels(found)
    for depth in range(DEEPEST, 0, -1):
        drawn = _drawn(found, kept, levels, depth, True)
        if len(drawn.nodes) <= MOST_NODES:
            return drawn
    return _drawn(found, kept, levels, 1, False)


def _levels(found: Sequence[Leaf]) -> list[int]:
    """How many times the way to each leaf goes into a shuffle or out of one, at most."""
    levels: list[int] = []
    for leaf in found:
        before = [levels[place] + (found[place].shuffle != leaf.shuffle) for place in leaf.inputs]
        levels.append(max(before, default=0))
    return levels


def _drawn(found: Sequence[Leaf], kept: set[str], levels: Sequence[int], depth: int, shuffles: bool) -> Graph:
    """Leaves of one label, to `depth` parts of it, between the same shuffles are a node, or with the shuffles too."""
    names: dict[tuple[str, int], int] = {}
    members: defaultdict[int, list[str]] = defaultdict(list)
    of_leaf: list[frozenset[int]] = []
    edges: set[tuple[int, int]] = set()
    for leaf, level in zip(found, levels, strict=True):
        before = frozenset().union(*(of_leaf[place] for place in leaf.inputs))
        if leaf.label not in kept:
            of_leaf.append(before)
            continue
        top = "/".join(leaf.label.split("/")[:depth])
        key = (leaf.shuffle or top, level) if shuffles else (top, 0)
        if shuffles and leaf.shuffle:
            key = (leaf.shuffle, -1)
        node = names.setdefault(key, len(names))
        members[node].append(leaf.label)
        edges |= {(other, node) for other in before if other != node}
        of_leaf.append(frozenset({node}))
    inside = {leaf.label: leaf.shuffle for leaf in found}
    nodes = [
        Node(name, tuple(members[node]), shuffles and inside[members[node][0]] is not None)
        for (name, _), node in names.items()
    ]
    return _ordered(nodes, edges)


def _ordered(nodes: Sequence[Node], edges: set[tuple[int, int]]) -> Graph:
    """In an order in which each node follows those that it depends on; an edge that would go back is left out."""
    before: Mapping[int, set[int]] = {
        node: {one for one, other in edges if other == node} for node in range(len(nodes))
    }
    order: list[int] = []
    while len(order) < len(nodes):
        left = [node for node in range(len(nodes)) if node not in order]
        order.append(next((node for node in left if before[node] <= set(order)), left[0]))
    places = {node: place for place, node in enumerate(order)}
    moved = sorted((places[one], places[other]) for one, other in edges if places[one] < places[other])
    return Graph(tuple(nodes[node] for node in order), tuple(moved))
