"""The report of a run that ended, from its metrics, its graph and the clock of its launcher."""

import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import apache_beam as beam
from apache_beam.metrics.metric import MetricResults
from apache_beam.options.pipeline_options import DirectOptions, FlinkRunnerOptions, PipelineOptions

from beam_etl.observe import report
from beam_etl.observe.graph import Graph, Leaf, contract, leaves
from beam_etl.observe.plan import Plan, ShuffleStep, is_inside, plan
from beam_etl.observe.report import Crossing, Stage, plain
from beam_etl.observe.skew import ShuffleSkew
from beam_etl.pipelines.runners import FLINK, IN_PROCESS, runner_name
from beam_etl.transforms.metrics import (
    BYTES_CROSSED,
    BYTES_IN,
    BYTES_OUT,
    BYTES_READ,
    DECODE_MICROSECONDS,
    ELEMENTS_OUT,
    ENCODE_MICROSECONDS,
    MICROSECONDS,
    NAMESPACE,
    ROWS_IN,
    ROWS_OUT,
)

Counted = Mapping[str, Mapping[str, int]]
"""Our counters, by step and name."""

_BEAMS_MILLISECONDS = "metric:ptransform_execution_time:total_msecs:v1"


class Clock:
    """What the launcher of a run does when.

    Args:
      argv: of the job. Where it is this process's own command line, the time since the process started counts.
    """

    def __init__(self, argv: Sequence[str] | None) -> None:
        now = time.monotonic()
        own = argv is None or list(argv) in (sys.argv[1:], sys.argv[2:])
        self._marks: list[tuple[str, float]] = [("", now - _process_seconds() if own else now)]
        if own:
            self.mark(report.STARTING)

    def mark(self, what: str) -> None:
        """What went on since the last mark was `what`."""
        self._marks.append((what, time.monotonic()))

    @property
    def total(self) -> float:
        """Seconds up to the last mark."""
        return self._marks[-1][1] - self._marks[0][1]

    def seconds(self) -> dict[str, float]:
        """Of each thing that was marked."""
        ends = pairwise(self._marks)
        return {what: end - start for (_, start), (what, end) in ends}


DRAWN = 0.01
"""The share of the time of which a step without rows stands in the graph."""

RUNNING = "running"
"""The mark of a Clock for what the engine does."""


@dataclass(frozen=True)
class Drawn:
    """A pipeline before it runs."""

    plan: Plan
    leaves: tuple[Leaf, ...]

    @classmethod
    def of(cls, pipeline: beam.Pipeline) -> "Drawn":
        """Reads a pipeline that was built."""
        planned = plan(pipeline)
        return cls(planned, leaves(pipeline, planned))


def counted_by_step(metrics: MetricResults) -> Counted:
    """Our counters of each step."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for counter in metrics.query()["counters"]:
        if counter.key.metric.namespace == NAMESPACE:
            found[counter.key.step][counter.key.metric.name] += counter.result
    return found


def sampled_by_step(result: Any) -> dict[str, float]:
    """Seconds of each step as Beam samples them; none where the engine doesn't tell."""
    if not hasattr(result, "monitoring_metrics"):
        return {}
    return {
        counter.key.step: counter.result / 1000
        for counter in result.monitoring_metrics().query()["counters"]
        if counter.key.metric.name == _BEAMS_MILLISECONDS and counter.key.step
    }


def workers_of(runner: str, options: PipelineOptions) -> int | None:
    """How many work at the same time; None where the engine decides."""
    workers = {
        IN_PROCESS: options.view_as(DirectOptions).direct_num_workers,
        FLINK: options.view_as(FlinkRunnerOptions).parallelism,
    }.get(runner_name(runner), 0)
    return workers if workers and workers > 0 else None


def stages_of(
    drawn: Drawn, counted: Counted, sampled: Mapping[str, float], clock: Clock, workers: int | None
) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
    """The steps, and what is around them. Shares are of what all workers had, and the launcher where it was alone.

    Beam's own samples count for steps that don't tell their time.
    """
    spent = clock.seconds()
    running = spent.pop(RUNNING, 0.0)
    timed = {leaf.label: _seconds(counted.get(leaf.label, {})) for leaf in drawn.leaves}
    told = {label: sampled.get(label, 0.0) if own is None else own for label, own in timed.items()}
    inside = sum(told.values())
    all_of_it = max(running * (workers or 0), inside)
    whole = max(all_of_it + sum(spent.values()), 1e-9)
    stages = []
    for label, seconds in told.items():
        if label in counted or seconds:
            stages.append(
                Stage(
                    label,
                    seconds,
                    seconds / whole,
                    *_flow(counted.get(label, {})),
                    sampled=timed[label] is None and seconds > 0,
                )
            )
    if workers:
        spent[report.ENGINE if workers == 1 else report.WAITING] = all_of_it - inside
    return tuple(stages), tuple(Stage(what, seconds, seconds / whole) for what, seconds in spent.items())


def shuffles_of(drawn: Drawn, counted: Counted, skews: Sequence[ShuffleSkew]) -> tuple[Crossing, ...]:
    """The shuffles that carried rows, in the order of the plan."""
    measured = {skew.label: skew for skew in skews}
    crossings = (_crossing(step, drawn.leaves, counted, measured) for step in drawn.plan.shuffles)
    return tuple(crossing for crossing in crossings if crossing.elements or crossing.rows)


def _crossing(
    step: ShuffleStep, found: Sequence[Leaf], counted: Counted, skews: Mapping[str, ShuffleSkew]
) -> Crossing:
    mine = [counters for label, counters in counted.items() if is_inside(label, step.label)]
    cuts = [counters for counters in mine if ELEMENTS_OUT in counters]
    readers = [leaf.label for leaf in found if step.label in leaf.merges]
    own = skews.get(step.label)
    as_files = None if own else next((skews[name] for name in map(plain, readers) if name in skews), None)
    rows, size = (
        (as_files.rows.total, as_files.bytes.total)
        if as_files  # what goes through the engine stands for them
        else (sum(counters.get(name, 0) for counters in cuts) for name in (ROWS_OUT, BYTES_CROSSED))
    )
    return Crossing(
        label=step.label,
        by=step.by,
        rows=rows,
        bytes=size,
        elements=sum(counters[ELEMENTS_OUT] for counters in cuts),
        skew=own or as_files,
        cutting=sum(counters.get(MICROSECONDS, 0) for counters in cuts) / 1e6,
        encoding=sum(counters.get(ENCODE_MICROSECONDS, 0) for counters in mine) / 1e6,
        decoding=sum(counters.get(DECODE_MICROSECONDS, 0) for counters in mine) / 1e6,
        merging=sum(counted.get(label, {}).get(MICROSECONDS, 0) for label in readers) / 1e6,
    )


def graph_of(drawn: Drawn, stages: Sequence[Stage]) -> Graph:
    """The graph of the steps that a report tells of: those that rows go through, or that take long."""
    shown = (stage for stage in stages if stage.share >= DRAWN or stage.rows_in or stage.rows_out)
    return contract(drawn.leaves, (stage.label for stage in shown))


def _seconds(counters: Mapping[str, int]) -> float | None:
    """Of a step, in all; None where it doesn't tell."""
    names = (MICROSECONDS, ENCODE_MICROSECONDS, DECODE_MICROSECONDS)
    told = [counters[name] for name in names if name in counters]
    return sum(told) / 1e6 if told else None


def _flow(counters: Mapping[str, int]) -> tuple[int | None, int | None, int | None, int | None]:
    """Rows in and out, bytes in and out. What reading takes in is what it has read of files."""
    read = counters.get(BYTES_READ)
    return (
        counters.get(ROWS_IN),
        counters.get(ROWS_OUT),
        counters.get(BYTES_IN, read),
        counters.get(BYTES_OUT),
    )


def _process_seconds() -> float:
    """How long this process has run; 0 where its system doesn't tell."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
            ticks = int(stat.read().rpartition(")")[2].split()[19])
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, AttributeError, ValueError, IndexError):
        return 0.0
