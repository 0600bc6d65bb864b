"""Rounds of shuffles that find the components of a graph of any size."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.component_rounds import (
    KEY,
    Progress,
    both_ends,
    large_star,
    small_star,
    star_members,
)
from beam_etl.transforms.batches import Batches, MapBatches, split_batch
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import Gather, Partition, Shuffle

BY_ROUNDS = "components_by_rounds"
"""Counter: 1 where rounds ran."""
ROUNDS_NEEDED = "components_rounds"
"""Counter: rounds until all links were a forest of stars."""

LINK_BYTES = 18
"""Bytes of a row of schema.LINK."""
_END_BYTES = 2 * (LINK_BYTES + 8)

_PROGRESS, _UNFINISHED, _FINISHED = "progress", "unfinished", "finished"


class RoundsOutput(NamedTuple):
    """What RunRounds gives."""

    members: Batches
    """schema.MEMBER; none where the graph isn't finished."""
    failures: beam.PCollection[str]


@dataclass(eq=False, kw_only=True)
class RunRounds(beam.PTransform):
    """Components by rounds of large star and small star. 2 * rounds + 2 shuffles, empty behind the last round needed.

    Input: batches of links of ranks (`rank_links`). Output: RoundsOutput.

    Args:
      rounds: how many at most.
      expected_links: links that cross at a time, estimated; None where nobody knows.
    """

    rounds: int
    expected_links: int | None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, links: Batches) -> RoundsOutput:
        finished = []
        for number in range(self.rounds + 1):
            checked = links | f"Large star {number + 1}" >> _LargeStar(
                size=self._bytes(_END_BYTES), number=number, last=number == self.rounds
            )
            finished.append(checked.finished)
            if number == self.rounds:
                break
            links = checked.unfinished | f"Small star {number + 1}" >> _SmallStar(
                size=self._bytes(LINK_BYTES)
            )
        members = (
            finished
            | "Finished" >> beam.Flatten()
            | "By root" >> Shuffle(by=(schema.ROOT,), expected_bytes=self._bytes(LINK_BYTES))
            | "Members" >> MapPartitions(kernel=star_members)
        )
        verdict = beam.FlatMap(_verdict, rounds=self.rounds).with_output_types(str)
        return RoundsOutput(members, checked.progress | "Verdict" >> verdict)

    def _bytes(self, size: int) -> int | None:
        return None if self.expected_links is None else self.expected_links * size


class _Checked(NamedTuple):
    finished: Batches
    unfinished: Batches
    progress: beam.PCollection[Progress]
    """Of all partitions, one element."""


@dataclass(eq=False, kw_only=True)
class _LargeStar(beam.PTransform):
    """A large star; its rows go to the end if what came in was finished, else to the next step. One shuffle."""

    size: int | None
    number: int
    last: bool

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]
    def expand(self, links: Batches) -> _Checked:
        tied = (
            links
            | "Both ends" >> MapBatches(both_ends)
            | "By both ends" >> Shuffle(by=(KEY,), expected_bytes=self.size)
            | "Tie" >> beam.ParDo(_Tie()).with_outputs(_PROGRESS, main=_UNFINISHED)
        )
        progress = (
            tied[_PROGRESS]
            | "All" >> Gather()
            | "Sum" >> beam.ParDo(_Sum(self.number, self.last)).with_output_types(Progress)
        )
        settled = typed(tied[_UNFINISHED]) | "Settle" >> beam.ParDo(
            _Settle(), beam.pvalue.AsSingleton(progress)
        ).with_outputs(_UNFINISHED, main=_FINISHED)
        return _Checked(typed(settled[_FINISHED]), typed(settled[_UNFINISHED]), progress)


@dataclass(eq=False, kw_only=True)
class _SmallStar(beam.PTransform):
    """A small star. One shuffle."""

    size: int | None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, links: Batches) -> Batches:
        return (
            links
            | "By node" >> Shuffle(by=(schema.NODE,), expected_bytes=self.size)
            | "Tie" >> MapPartitions(kernel=_small_star)
        )


def typed(batches: Batches) -> Batches:
    """The same, encoded as batches: several outputs of one step have no types of their own in Beam."""
    batches.element_type = pa.RecordBatch
    return batches


class _Tie(beam.DoFn):
    def __init__(self) -> None:
        self._metrics = StepMetrics()

    def process(self, partition: Partition) -> Iterator[Any]:
        with self._metrics.timing():
            rows, progress = large_star(self._counted(partition))
        for batch in split_batch(rows):
            self._metrics.gave_out(batch)
            yield batch
        yield beam.pvalue.TaggedOutput(_PROGRESS, progress)

    def _counted(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        for batch in partition[1]:
            self._metrics.took_in(batch)
            yield batch


class _Sum(beam.DoFn):
    """The progress of all partitions; counts what the report tells."""

    def __init__(self, number: int, last: bool) -> None:
        self._number = number
        self._last = last
        self._metrics = StepMetrics()

    def process(self, parts: list[Progress]) -> Iterator[Progress]:
        total = Progress(sum(part[0] for part in parts), sum(part[1] for part in parts))
        if self._number == 0 and total.nodes:
            self._metrics.add(BY_ROUNDS, 1)
        if total.unfinished and not self._last:
            self._metrics.add(ROUNDS_NEEDED, 1)
        yield total


class _Settle(beam.DoFn):
    def process(self, batch: pa.RecordBatch, progress: Progress) -> Iterator[Any]:
        yield beam.pvalue.TaggedOutput(_UNFINISHED, batch) if progress[1] else batch


def _small_star(links: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield small_star(links)


def _verdict(progress: Progress, rounds: int) -> Iterator[str]:
    nodes, unfinished = progress
    if unfinished:
        yield (
            f"The graph of links isn't finished after {rounds} rounds: {unfinished:,} of {nodes:,} nodes are still "
            f"between others. Set --component_rounds higher (20 are enough for most graphs), or "
            f"--components_memory so high that one process holds the graph."
        )
