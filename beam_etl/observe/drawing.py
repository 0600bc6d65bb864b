"""Plain SVG: bars, and a graph in layers. Colours and type are those of the page's style sheet."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from statistics import fmean

from beam_etl.observe.graph import Graph

BAR = 140
"""Width of a bar of 1.0, in pixels."""

WIDTH, HEIGHT, GAP, DROP = 236, 52, 22, 44
"""Of a node, and of the space beside and below it."""
LINE = 31
"""Characters that fit into a node."""
BEND = 14
"""Width of the place in a layer where an edge passes through it."""
SWEEPS = 6


@dataclass(frozen=True)
class Box:
    """What is written into a node."""

    title: str
    figures: str
    share: float
    """Of the time, drawn as a line below."""
    is_shuffle: bool
    tip: str
    """All of it, for who points at the node."""


def bar(share: float, kind: str = "time") -> str:
    """A bar for a share between 0 and 1. The number stands beside it, so it isn't read out."""
    width = max(0.0, min(1.0, share)) * BAR
    return (
        f'<svg class="bar" width="{BAR}" height="12" aria-hidden="true" focusable="false">'
        f'<rect class="track" width="{BAR}" height="12" rx="3"/>'
        f'<rect class="{kind}" width="{max(width, 1.5) if share > 0 else 0:.1f}" height="12" rx="3"/></svg>'
    )


def shorten(text: str, most: int = LINE) -> str:
    """The text, or its beginning and its end."""
    if len(text) <= most:
        return text
    end = most * 2 // 3
    return f"{text[: most - end - 1]}…{text[-end:]}"


def draw(graph: Graph, boxes: Sequence[Box], title: str) -> str:
    """The graph from top to bottom; one box a node."""
    layout = _Layout(graph)
    width, height = layout.size
    lines = "".join(
        f'<path class="edge" d="{layout.path(edge)}" marker-end="url(#arrow)"/>' for edge in graph.edges
    )
    nodes = "".join(_node(box, *layout.corner(node)) for node, box in enumerate(boxes))
    return (
        f'<svg class="graph" role="img" aria-label="{escape(title)}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}"><defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" '
        f'markerWidth="7" markerHeight="7" orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>'
        f"{lines}{nodes}</svg>"
    )


def _node(box: Box, x: float, y: float) -> str:
    kind = "node shuffle" if box.is_shuffle else "node"
    line = max(0.0, min(1.0, box.share)) * (WIDTH - 20)
    return (
        f'<g class="{kind}" transform="translate({x:.1f} {y:.1f})"><title>{escape(box.tip)}</title>'
        f'<rect class="box" width="{WIDTH}" height="{HEIGHT}" rx="{20 if box.is_shuffle else 6}"/>'
        f'<text x="{WIDTH / 2:.0f}" y="20">{escape(shorten(box.title))}</text>'
        f'<text class="figures" x="{WIDTH / 2:.0f}" y="36">{escape(shorten(box.figures, LINE + 6))}</text>'
        f'<rect class="track" x="10" y="43" width="{WIDTH - 20}" height="4" rx="2"/>'
        f'<rect class="time" x="10" y="43" width="{line:.1f}" height="4" rx="2"/></g>'
    )


class _Layout:
    """Nodes in layers, each below those that it depends on. An edge bends where it passes through a layer.

    Cells are nodes, by their numbers, and behind them the places where edges pass.
    """

    def __init__(self, graph: Graph) -> None:
        self._layer = _layers(graph)
        self._chains: dict[tuple[int, int], list[int]] = {}
        self._widths = [WIDTH] * len(graph.nodes)
        for edge in graph.edges:
            first, last = self._layer[edge[0]], self._layer[edge[1]]
            passing = list(range(len(self._widths), len(self._widths) + last - first - 1))
            self._widths += [BEND] * len(passing)
            self._layer += range(first + 1, last)
            self._chains[edge] = [edge[0], *passing, edge[1]]
        self._above, self._below = self._neighbours()
        self._x = self._places()

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of all."""
        width = max((x + self._widths[cell] for cell, x in self._x.items()), default=0.0)
        return width + 2, (max(self._layer, default=-1) + 1) * (HEIGHT + DROP) - DROP + 4

    def corner(self, cell: int) -> tuple[float, float]:
        """Of a cell, the upper left one."""
        return self._x[cell] + 1, self._layer[cell] * (HEIGHT + DROP) + 1

    def path(self, edge: tuple[int, int]) -> str:
        """The curve of an edge."""
        cells = self._chains[edge]
        middles = [(self.corner(cell)[0] + self._widths[cell] / 2, self.corner(cell)[1]) for cell in cells]
        x, y = middles[0][0], middles[0][1] + HEIGHT
        drawn = f"M{x:.1f} {y:.1f}"
        for place, (to, top) in enumerate(middles[1:], 1):
            half = (top - y) / 2
            drawn += f"C{x:.1f} {y + half:.1f} {to:.1f} {top - half:.1f} {to:.1f} {top:.1f}"
            x, y = to, top
            if place < len(middles) - 1:
                y = top + HEIGHT
                drawn += f"L{x:.1f} {y:.1f}"
        return drawn

    def _neighbours(self) -> tuple[Mapping[int, list[int]], Mapping[int, list[int]]]:
        above, below = defaultdict(list), defaultdict(list)
        for chain in self._chains.values():
            for one, other in pairwise(chain):
                above[other].append(one)
                below[one].append(other)
        return above, below

    def _places(self) -> dict[int, float]:
        """The left edge of each cell: in each layer an order with few crossings, then as near to neighbours as goes."""
        rows: dict[int, list[int]] = defaultdict(list)
        for cell, layer in enumerate(self._layer):
            rows[layer].append(cell)
        middle: dict[int, float] = {}
        for cells in rows.values():
            self._place(cells, dict.fromkeys(cells, 0.0), middle)
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            for layer in sorted(rows, reverse=not down):
                cells, near = rows[layer], self._above if down else self._below
                wanted = {
                    cell: fmean(middle[other] for other in near[cell]) if near[cell] else middle[cell]
                    for cell in cells
                }
                cells.sort(key=lambda cell: wanted[cell])
                self._place(cells, wanted, middle)
        left = min((middle[cell] - self._widths[cell] / 2 for cell in middle), default=0.0)
        return {cell: at - self._widths[cell] / 2 - left for cell, at in middle.items()}

    def _place(self, cells: Sequence[int], wanted: Mapping[int, float], middle: dict[int, float]) -> None:
        """Puts the cells of a layer, in this order, where they are wanted, on average, and none over another."""
        at: list[float] = []
        edge = float("-inf")
        for cell in cells:
            at.append(max(wanted[cell], edge + self._widths[cell] / 2))
            edge = at[-1] + self._widths[cell] / 2 + GAP
        shift = fmean(wanted[cell] - x for cell, x in zip(cells, at, strict=True))
        middle.update((cell, x + shift) for cell, x in zip(cells, at, strict=True))


def _layers(graph: Graph) -> list[int]:
    """The layer of each node: one below the lowest that it depends on."""
    layers = [0] * len(graph.nodes)
    for one, other in sorted(graph.edges, key=lambda edge: edge[1]):
        layers[other] = max(layers[other], layers[one] + 1)
    return layers
