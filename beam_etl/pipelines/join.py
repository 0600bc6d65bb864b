"""`python -m beam_etl.pipelines.join`: rows of two inputs that have equal keys."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam

from beam_etl.io.join_buckets import JoinBuckets
from beam_etl.io.write import FAILURES, FINDINGS
from beam_etl.kernels.join_rule import ANTI, HOWS, INNER, SEMI, JoinError, JoinRule
from beam_etl.pipelines.config import RejectConfig
from beam_etl.pipelines.flags import FILE, UsageError, flag
from beam_etl.pipelines.job import Job
from beam_etl.pipelines.join_sides import AUTO, WAYS, Choice, CoLocated, JoinSides, carried, open_side
from beam_etl.pipelines.runners import IN_PROCESS, runner_name
from beam_etl.transforms.join import (
    BROADCAST_BYTES,
    LEFT_SIDE,
    MAX_BROADCAST_BYTES,
    MEMORY_SHARE,
    RIGHT_SIDE,
    SHUFFLE,
    Join,
    worker_memory,
)


@dataclass(frozen=True, kw_only=True)
class Config(RejectConfig):
    """What can be asked of the job."""

    input: tuple[str, ...] = field(init=False, default=())
    """Both sides. Not a flag."""
    left: tuple[str, ...] = flag(
        "the left side: files, folders, datasets, globs or @list.txt, comma-separated", unit=FILE
    )
    right: tuple[str, ...] = flag("the right side, as --left", unit=FILE)
    on: tuple[str, ...] = flag("key columns, which both sides have")
    how: str = flag("which rows of the sides are wanted", default=INNER, choices=HOWS)
    way: str = flag("how rows meet; auto takes the first of these that can be", default=AUTO, choices=WAYS)
    left_columns: tuple[str, ...] = flag(
        "columns of the left side besides the key; all if none are named", default=()
    )
    right_columns: tuple[str, ...] = flag("the same of the right side", default=())
    broadcast_bytes: int = flag(
        "a side of more, or of more than a quarter of a worker's memory, is not broadcast",
        default=BROADCAST_BYTES,
        unit="bytes",
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "input", (*self.left, *self.right))
        super().__post_init__()
        for name in ("left", "right", "on"):
            if not getattr(self, name):
                raise ValueError(f"--{name} names nothing")
        if not 0 <= self.broadcast_bytes <= MAX_BROADCAST_BYTES:
            raise ValueError(f"--broadcast_bytes is at least 0 and below 2 GiB, got {self.broadcast_bytes}")


def open_sides(pipeline: beam.Pipeline, config: Config) -> JoinSides:
    """Both sides, and what joins them."""
    tolerated = config.max_reject_fraction
    mine = carried(config.on, config.left_columns)
    left = open_side(pipeline, LEFT_SIDE, config.left, mine, tolerated)
    others = config.on if config.how in (SEMI, ANTI) else carried(config.on, config.right_columns)
    right = open_side(pipeline, RIGHT_SIDE, config.right, others, tolerated)
    most = config.broadcast_bytes
    if runner_name(config.runner) == IN_PROCESS:
        most = min(most, worker_memory() // MEMORY_SHARE)
    try:
        rule = JoinRule(left=left.columns, right=right.columns, on=config.on, how=config.how)
    except JoinError as error:
        raise UsageError(str(error)) from error
    return JoinSides(left, right, rule, config.way, most)


def build(sides: JoinSides, config: Config) -> dict[str, Any]:
    """The joined documents, and the rejects of both sides. One shuffle, or none."""
    choice = sides.choice
    joined = (
        _in_place(sides, choice.colocated) if choice.colocated else _from_everywhere(sides, choice, config)
    )
    way = {"way": choice.way, "reason": choice.reason}
    told = sides.left.source.pipeline | "Way" >> beam.Create([{"join": way}], reshuffle=False)
    return {**joined, FINDINGS: told}


def _from_everywhere(sides: JoinSides, choice: Choice, config: Config) -> dict[str, Any]:
    left, right = sides.left.source.documents(), sides.right.source.documents()
    is_shuffled = choice.way == SHUFFLE
    join = Join(
        on=config.on,
        left=sides.left.columns,
        right=sides.right.columns,
        how=config.how,
        way=choice.way,
        held=choice.held,
        broadcast_bytes=config.broadcast_bytes,
        expected_bytes=sides.left.expected_bytes + sides.right.expected_bytes if is_shuffled else None,
        **({"hot": sides.hot_keys()} if is_shuffled else {}),
    )
    joined = {LEFT_SIDE: left.documents, RIGHT_SIDE: right.documents} | f"Join by {choice.way}" >> join
    rejects = (left.rejects, right.rejects) | "Rejects" >> beam.Flatten()
    return {"documents": joined.rows, "rejects": rejects, FAILURES: joined.failures}


def _in_place(sides: JoinSides, found: CoLocated) -> dict[str, Any]:
    rule = replace(sides.rule, on=found.order) if found.order else sides.rule
    joined = sides.left.source.pipeline | "Join in place" >> JoinBuckets(
        left=sides.left.source.read,
        right=sides.right.source.read,
        rule=rule,
        buckets=found.buckets,
        is_sorted=bool(found.order),
    )
    return {"documents": joined.rows, "rejects": joined.rejects, FAILURES: joined.failures}


def explain(sides: JoinSides, config: Config) -> list[str]:
    """Which way was chosen, and why."""
    del config
    return [f"way: {sides.choice.way} ({sides.choice.reason})"]


JOB = Job(
    "join", "Rows of two inputs that have equal keys.", Config, build, explain=explain, source=open_sides
)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
