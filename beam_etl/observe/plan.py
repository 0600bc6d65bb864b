"""The plan: a pipeline's steps and its shuffles, with the bytes that each is expected to move, before anything runs."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.pipeline import AppliedPTransform

from beam_etl.observe.cluster import Cluster
from beam_etl.observe.text import format_bytes, format_seconds

_BEAM_GROUPINGS = (
    "GroupByKey",
    "CoGroupByKey",
    "CombinePerKey",
    "Reshuffle",
    "ReshufflePerKey",
    "GroupIntoBatches",
)

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class ShuffleStep:
    """A grouping whose input carries rows, or what is derived from rows."""

    label: str
    by: tuple[str, ...]
    partitions: int | None
    hops: int
    expected_bytes: int | None
    """Bytes that cross in one hop; None where nobody estimated them."""
    key_limit: int | None = None
    """Bytes that the engine holds for one key; None where nothing sees to it that a key stays below."""
    by_files: bool = False
    """The rows cross as files of the run, and the engine moves only what says where they are."""
    if_needed: bool = False
    """Rows cross only where it turns out while running that they must."""

    @property
    def key_bytes(self) -> int | None:
        """Bytes of one key, expected: of a partition, since that is the key."""
        if self.expected_bytes is None or not self.partitions:
            return None
        return -(-self.expected_bytes // self.partitions)


@dataclass(frozen=True)
class Plan:
    """Steps in order, and which of them move data between workers."""

    steps: tuple[str, ...]
    shuffles: tuple[ShuffleStep, ...]
    handed_out: tuple[str, ...]
    """Steps that hand out small elements: files, splits, names of finished files. No rows cross."""

    def to_json(self, cluster: Cluster | None = None, more: Mapping[str, Any] | None = None) -> str:
        """The plan for programs. Bytes as integers, network seconds where a cluster is given; and what else is told."""
        shuffles = [
            {**asdict(step), "key_bytes": step.key_bytes, **_network(step, cluster)} for step in self.shuffles
        ]
        return json.dumps(
            {"steps": self.steps, "shuffles": shuffles, "handed_out": self.handed_out, **(more or {})},
            indent=1,
        )

    def to_text(self, cluster: Cluster | None = None) -> str:
        """The plan for people."""
        noun = "shuffle" if len(self.shuffles) == 1 else "shuffles"
        steps = "1 step" if len(self.steps) == 1 else f"{len(self.steps)} steps"
        lines = [f"{len(self.shuffles)} {noun} in {steps}"]
        by_label = {step.label: step for step in self.shuffles}
        for label in self.steps:
            lines.append(f"  {label}")
            inside = [
                f"    {_describe(step, cluster)}" for name, step in by_label.items() if is_inside(name, label)
            ]
            lines += _once(inside)
        if self.handed_out:
            lines.append(f"handed out without rows: {', '.join(_numbered_once(self.handed_out))}")
        if limits := {step.key_limit for step in self.shuffles if step.key_limit is not None}:
            lines.append(f"a partition is one key of the engine, which may have {format_bytes(min(limits))}")
        if cluster is not None:
            lines.append(cluster.assumption())
        return "\n".join(lines)


def plan(pipeline: beam.Pipeline) -> Plan:
    """Reads a pipeline that was built and not run.

    Args:
      pipeline: any Beam pipeline, with or without our transforms.

    Returns:
      Its top-level steps; each Shuffle and Rebalance, and each grouping of Beam's own outside them, as a shuffle.
      `beam.Create` spreads its elements with a grouping that carries no rows: it isn't counted.
    """
    root = pipeline._current_transform()
    steps = tuple(part.full_label for part in root.parts)
    found = list(_groupings(root))
    shuffles = tuple(_shuffle_step(part) for part in found if _carries_rows(part))
    return Plan(steps, shuffles, tuple(part.full_label for part in found if not _carries_rows(part)))


def _groupings(parent: AppliedPTransform) -> Iterator[AppliedPTransform]:
    for part in parent.parts:
        kind = type(part.transform).__name__
        if hasattr(part.transform, "carries_rows") or kind in _BEAM_GROUPINGS:
            yield part
        elif kind != "Create":
            yield from _groupings(part)


def _carries_rows(part: AppliedPTransform) -> bool:
    return getattr(part.transform, "carries_rows", True)


def _shuffle_step(part: AppliedPTransform) -> ShuffleStep:
    transform = part.transform
    if hasattr(transform, "carries_rows"):
        layout = transform.plan
        limit = getattr(transform, "key_limit", None)
        by_files = not getattr(transform, "measured", True)
        if_needed = getattr(transform, "if_needed", False)
        return ShuffleStep(
            part.full_label,
            transform.by,
            layout.partitions,
            layout.hops,
            transform.expected_bytes,
            limit,
            by_files,
            if_needed,
        )
    return ShuffleStep(part.full_label, (), None, 1, None)


def is_inside(name: str, label: str) -> bool:
    """Whether a step is the one of this label, or a part of it."""
    return name == label or name.startswith(f"{label}/")


def _once(lines: Sequence[str]) -> Iterator[str]:
    """The lines, where rounds of one to three that follow each other are shown once, and how often."""
    at = 0
    while at < len(lines):
        period = max((1, 2, 3), key=partial(_times, lines[at:]))  # of equals, the first
        times = _times(lines[at:], period)
        yield from lines[at : at + period]
        if times > 1:
            yield f"      {times} times {'this one' if period == 1 else f'these {period}'}"
        at += times * period


def _times(lines: Sequence[str], period: int) -> int:
    """How often the first `period` lines follow each other; 0 where there are fewer."""
    times = 0
    while list(lines[times * period : (times + 1) * period]) == list(lines[:period]) and period <= len(lines):
        times += 1
    return times


def _numbered_once(labels: Sequence[str]) -> Iterator[str]:
    """The labels, where those that differ in numbers alone are shown once, and how many more there are."""
    alike = defaultdict(list)
    for label in labels:
        alike[_NUMBER.sub("#", label)].append(label)
    for first, *others in alike.values():
        yield f"{first} and {len(others)} more" if others else first


def _network(step: ShuffleStep, cluster: Cluster | None) -> dict[str, float]:
    if cluster is None or step.expected_bytes is None:
        return {}
    return {"network_seconds": cluster.seconds(step.expected_bytes) * step.hops}


def _describe(step: ShuffleStep, cluster: Cluster | None) -> str:
    if step.expected_bytes is None:
        return f"SHUFFLE {step.label}: bytes unknown"
    keys = ", ".join(step.by) or "one key"
    hops = "one hop" if step.hops == 1 else "two hops: group of partitions, then partition"
    partitions = "1 partition" if step.partitions == 1 else f"{step.partitions:,} partitions"
    share = "" if step.key_bytes is None else f" of about {format_bytes(step.key_bytes)}"
    needed = ", if needed" if step.if_needed else ""
    text = (
        f"SHUFFLE by {keys}{needed}: about {format_bytes(step.expected_bytes)} to {partitions}{share}, {hops}"
    )
    network = _network(step, cluster)
    return f"{text}, {format_seconds(network['network_seconds'])} of network" if network else text
