"""What a run did and what it took, stage by stage: in a few lines for people, as JSON for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from beam_etl.observe.graph import Graph
from beam_etl.observe.skew import ShuffleSkew
from beam_etl.observe.text import format_bytes, format_seconds

FORMAT, VERSION = "beam_etl report", 1

SHOWN = 5
"""Stages that the closing lines show."""

REASONS = 3
"""Of rejects, that the closing lines show: the most frequent ones."""

STARTING, PREPARING, CLOSING = "starting Python", "preparing", "closing"
"""What the launcher does beside running: until it has imported what it needs; flags, the input's files, the plan and
the graph; reading the manifest and this report."""
ENGINE, WAITING = "the engine, between steps", "the engine, and workers that wait"
"""What is left of the time of one worker, or of several."""


@dataclass(frozen=True)
class Stage:
    """A step of the job, over all workers. A number is None where the step doesn't count it."""

    label: str
    seconds: float
    share: float
    """Of the time of all workers."""
    rows_in: int | None = None
    rows_out: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    sampled: bool = False
    """Its seconds are Beam's, which looks now and then at what a worker does, and not the step's own."""


@dataclass(frozen=True)
class Crossing:
    """A shuffle that rows crossed, in both hops where there are two."""

    label: str
    by: tuple[str, ...]
    rows: int
    bytes: int
    """Before they are encoded."""
    elements: int
    skew: ShuffleSkew | None
    """What its partitions were, where that was measured."""
    cutting: float
    """Seconds of dividing rows among partitions."""
    encoding: float
    """Of writing slices as bytes."""
    decoding: float
    """Of fetching and decoding them behind it."""
    merging: float
    """Of the steps that read its partitions."""

    def to_json(self) -> dict[str, Any]:
        """The shuffle for programs."""
        told: dict[str, Any] = {
            "label": self.label,
            "by": list(self.by),
            "rows": self.rows,
            "bytes": self.bytes,
            "elements": self.elements,
            "seconds": {name: round(getattr(self, name), 6) for name in SECONDS},
        }
        if self.skew is not None:
            told["partitions"] = self.skew.partitions
            told["largest_to_mean"] = {
                "rows": round(self.skew.ratio(self.skew.rows), 3),
                "bytes": round(self.skew.ratio(self.skew.bytes), 3),
            }
            told["hot_key"] = {"rows": _hot(self.skew.rows), "bytes": _hot(self.skew.bytes)}
        return told


SECONDS = ("cutting", "encoding", "decoding", "merging")


@dataclass(frozen=True)
class RunReport:
    """All of it."""

    job: str
    run: str
    output: str
    number: int | None
    """Of the version of the dataset that the run made; None where it published nothing."""
    runner: str
    workers: int | None
    """None where nobody knows how many there are."""
    seconds: float
    """From the launcher's start to its end."""
    around: tuple[Stage, ...]
    """What isn't a step of the job."""
    stages: tuple[Stage, ...]
    """In the order of the graph."""
    shuffles: tuple[Crossing, ...]
    """Those that carried rows."""
    input_bytes: int
    rows: Mapping[str, int]
    """Of reading: `started`, `rejected` and `read`, where the engine tells its counters."""
    tables: Mapping[str, int]
    """Rows written of each table."""
    output_bytes: int
    rejects: Mapping[str, int] = field(default_factory=dict)
    """Rejects by reason."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """Records of archives that are no documents, by type."""
    graph: Graph = field(default_factory=Graph)

    @property
    def slowest(self) -> Stage | None:
        """The step that took most; None where none tells."""
        return max(self.stages, key=lambda stage: stage.seconds, default=None)

    @property
    def hottest(self) -> tuple[Crossing, str] | None:
        """The key that has most bytes of one partition of any shuffle, or rows where bytes name none; None for none."""
        measured = [(shuffle, shuffle.skew) for shuffle in self.shuffles if shuffle.skew is not None]
        by_bytes = [(shuffle, skew.bytes) for shuffle, skew in measured if skew.bytes.hot_key]
        by_rows = [(shuffle, skew.rows) for shuffle, skew in measured if skew.rows.hot_key]
        found = max(by_bytes or by_rows, key=lambda pair: pair[1].hot, default=None)
        return None if found is None else (found[0], str(found[1].hot_key))

    def to_json(self) -> dict[str, Any]:
        """The report for programs. Seconds are those of all workers together, but for the total."""
        hottest = self.hottest
        return {
            "format": FORMAT,
            "version": VERSION,
            "job": self.job,
            "run": self.run,
            "output": self.output,
            "number": self.number,
            "runner": self.runner,
            "workers": self.workers,
            "seconds": round(self.seconds, 6),
            "stages": [_stage(stage) for stage in self.stages],
            "around": [_stage(stage) for stage in self.around],
            "shuffles": [shuffle.to_json() for shuffle in self.shuffles],
            "slowest": self.slowest.label if self.slowest else None,
            "hottest": {"shuffle": hottest[0].label, "key": hottest[1]} if hottest else None,
            "input_bytes": self.input_bytes,
            "output_bytes": self.output_bytes,
            "rows": dict(self.rows),
            "tables": dict(self.tables),
            "rejects": dict(self.rejects),
            "passed_over": dict(self.passed_over),
            "graph": asdict(self.graph),
        }

    def to_text(self) -> str:
        """A few lines for people."""
        workers = {None: "", 1: ", one worker"}.get(self.workers, f", {self.workers} workers")
        lines = [f"where the time went ({format_seconds(self.seconds)}{workers}):"]
        first, others = split_ranked(self.stages)
        lines += [f"{_figures(stage)}  {plain(stage.label)}{_flow(stage)}" for stage in first]
        if others:
            noun = "step" if len(others) == 1 else "steps"
            lines.append(f"{_figures(total('', others))}  {len(others)} more {noun}")
        lines += [f"{_figures(stage)}  {stage.label}" for stage in self.around]
        lines += self._rejected()
        if self.slowest:
            lines.append(f"slowest stage: {plain(self.slowest.label)}")
        if self.hottest:
            lines.append(f"hottest key: {self.hottest[1]} of {self.hottest[0].label}")
        if self.passed_over:
            told = ", ".join(f"{count:,} {kind}" for kind, count in self.passed_over.items())
            lines.append(f"records passed over: {told}")
        return "\n".join(lines)

    def _rejected(self) -> list[str]:
        """A line of why, which a terminal only shows; none where nothing was rejected."""
        reasons = list(self.rejects.items())
        told = [f"{count:,} {reason}" for reason, count in reasons[:REASONS]]
        told += [f"{len(reasons) - REASONS} more reasons"] if len(reasons) > REASONS else []
        line = f"rejected (table rejects): {'; '.join(told)}"
        return ["".join(letter if letter.isprintable() else " " for letter in line)] if told else []


def split_ranked(stages: Sequence[Stage], most: int = SHOWN) -> tuple[list[Stage], list[Stage]]:
    """The slowest ones, `most` of them, and the others."""
    ranked = sorted(stages, key=lambda stage: -stage.seconds)
    return ranked[:most], ranked[most:]


def plain(label: str) -> str:
    """A step's label for people: without what Beam calls a function that nobody named."""
    above, _, own = label.rpartition("/")
    unnamed = own == "Map" or own.endswith(")")
    return plain(above) if above and unnamed else label


def total(label: str, stages: Sequence[Stage]) -> Stage:
    """Stages as one, without their rows."""
    return Stage(label, sum(stage.seconds for stage in stages), sum(stage.share for stage in stages))


def _figures(stage: Stage) -> str:
    seconds = f"{stage.seconds:.2f} s" if stage.seconds < 120 else format_seconds(stage.seconds)
    return f"  {seconds:>9}  {stage.share:4.0%}"


def _flow(stage: Stage) -> str:
    """Rows and bytes that a stage took and gave, in words."""
    told = [
        f"{rows:,} {'row' if rows == 1 else 'rows'}{'' if size is None else f' ({format_bytes(size)})'} {way}"
        for rows, size, way in (
            (stage.rows_in, stage.bytes_in, "in"),
            (stage.rows_out, stage.bytes_out, "out"),
        )
        if rows is not None
    ]
    return f": {', '.join(told)}" if told else ""


def _stage(stage: Stage) -> dict[str, Any]:
    told = {name: value for name, value in asdict(stage).items() if value is not None}
    return {**told, "seconds": round(stage.seconds, 6), "share": round(stage.share, 6)}


def _hot(sizes: Any) -> dict[str, Any] | None:
    return None if sizes.hot_key is None else {"key": sizes.hot_key, "about": sizes.hot}
