"""The pipelines on a Flink cluster of this machine beside the same in one process: one run, one table.

    python -m benchmarks.engines --corpora=FOLDER --peers=PEERS_ENVIRONMENT [--runs=3] [--cases=fixed,...]

CORPORA holds the folders 0.14gb, 1gb and 2gb that benchmarks.corpus makes. Needs Java and Maven. The cluster has two
task managers of two slots; it is started before the first case, and stopped after the last.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from beam_etl.engines.flink import cluster
from beam_etl.engines.flink.rest import FlinkRest
from benchmarks.bench import Bench, Row, parser, run
from benchmarks.measure import Measured, measure

JOBS = ("token_count", "dedup")
FIXED_BOUND, RATIO_BOUND, PLAN_BOUND, TWO_CORES_BOUND = 8, 1.3, 0.25, 1.6
TINY_ROWS = 100

SHAPES = {
    "no shuffle": ("dedup", "--partitioned=true", "--within=domain"),
    "1 shuffle": ("token_count",),
    "4 shuffles": ("dedup",),
}
"""A job of each kind, by the shuffles that its plan has."""

WORKERS = (1, 2, 4)

FILES_A_GROUP = 4
"""Files that each row group of a corpus is cut into. Flink hands files out by hash: of 8 files one of two workers has 5
on average, of 120 it has 64."""


@dataclass(frozen=True)
class EnginesBench(Bench):
    """With a cluster."""

    found: cluster.Running = field(kw_only=True)

    def on_flink(self, pipeline: str, source: Path, *flags: str, parallelism: int = 2) -> list[str]:
        """One of our pipelines on the cluster."""
        engine = ["--runner=flink", *self.found.flags(), f"--parallelism={parallelism}"]
        return self.job(pipeline, source, *flags, *engine)

    def tiny(self) -> Path:
        """A folder with some documents of the smallest corpus."""
        folder = self.work / "tiny"
        folder.mkdir(exist_ok=True)
        first = min((self.corpora / "0.14gb").glob("*.parquet"))
        pq.write_table(pq.read_table(first).slice(0, TINY_ROWS), folder / "a.parquet")
        return folder

    def cut(self, corpus: str) -> Path:
        """A corpus in many small files."""
        folder = self.work / f"cut-{corpus}"
        if not folder.exists():
            folder.mkdir()
            for file in sorted((self.corpora / corpus).glob("*.parquet")):
                opened = pq.ParquetFile(file)
                for group in range(opened.num_row_groups):
                    rows = opened.read_row_group(group)
                    size = -(-rows.num_rows // FILES_A_GROUP)
                    for part in range(FILES_A_GROUP):
                        path = folder / f"{file.stem}-{group}-{part}.parquet"
                        pq.write_table(rows.slice(part * size, size), path, compression="zstd")
        return folder

    def crossed(self) -> dict[str, int]:
        """Bytes that crossed each step of the job that ran last, by Flink's name of the step."""
        rest = FlinkRest(self.found.rest)
        found: Counter[str] = Counter()
        for (step, _, name), value in rest.counters(rest.jobs()[-1].id).items():
            if name == "bytes_crossed":
                found[step] += value
        return dict(found)


def fixed(bench: EnginesBench) -> Iterator[Row]:
    """What a job costs that has nothing to do."""
    source = bench.tiny()
    for job in JOBS:
        alone = measure(bench.job(job, source), bench.runs)
        yield f"{job}, {TINY_ROWS} documents, one process", alone, ""
        there = measure(bench.on_flink(job, source), bench.runs)
        more = f"{there.seconds - alone.seconds:.1f} s more (bound {FIXED_BOUND})"
        yield f"{job}, {TINY_ROWS} documents, Flink", there, more


def size(bench: EnginesBench) -> Iterator[Row]:
    """The same input and as many workers: two threads of a process, two tasks of a cluster."""
    for corpus in ("1gb", "2gb"):
        for job in JOBS:
            alone = measure(bench.job(job, bench.corpora / corpus), bench.runs)
            yield f"{job}, {corpus}, one process", alone, ""
            there = measure(bench.on_flink(job, bench.corpora / corpus), bench.runs)
            ratio = f"{there.seconds / alone.seconds:.2f}x (bound {RATIO_BOUND})"
            yield f"{job}, {corpus}, Flink, parallelism 2", there, ratio


def crossing(bench: EnginesBench) -> Iterator[Row]:
    """Bytes that crossed each shuffle on Flink, as the workers counted them, beside what the plan said."""
    source = bench.corpora / "1gb"
    for job in JOBS:
        asked = bench.on_flink(job, source)
        drawn = json.loads(measure([*asked, "--plan=json"], 1).stdout)
        ran = measure(asked, 1)
        crossed = {plain(step): count for step, count in bench.crossed().items()}
        for step in drawn["shuffles"]:
            bytes_ = sum(count for name, count in crossed.items() if plain(step["label"]) in name)
            ratio = bytes_ / step["expected_bytes"]
            note = (
                f"{bytes_ / 1e6:.2f} MB, {ratio:.2f}x the plan (bound {1 - PLAN_BOUND} to {1 + PLAN_BOUND})"
            )
            yield f"{job}, {step['label']}", ran, note


def plain(label: str) -> str:
    """A step's name without what engines replace in it."""
    return re.sub(r"\W+", "-", label)


def scaling(bench: EnginesBench) -> Iterator[Row]:
    """More workers: what a further GB takes, and how much of each worker that uses. Two cores."""
    corpora = {corpus: bench.cut(corpus) for corpus in ("1gb", "2gb")}
    for shape, (job, *flags) in SHAPES.items():
        measure(
            bench.on_flink(job, bench.tiny(), *flags, parallelism=max(WORKERS)), 1
        )  # its processes are there then
        one = None
        for workers in WORKERS:
            first, second = (
                measure(bench.on_flink(job, corpora[corpus], *flags, parallelism=workers), bench.runs)
                for corpus in corpora
            )
            gigabyte = second.seconds - first.seconds
            one = one or (first, gigabyte)
            yield f"{shape}, {workers} workers, 1gb", first, scaled(first, gigabyte, one, workers)


def scaled(first: Measured, gigabyte: float, one: tuple[Measured, float], workers: int) -> str:
    """Beside one worker."""
    times = one[1] / gigabyte
    whole = one[0].seconds / first.seconds
    bound = f" (bound {TWO_CORES_BOUND})" if workers == 2 else ""
    return (
        f"{gigabyte:.1f} s for a further GB: {times:.2f}x one worker{bound}, efficiency {times / workers:.0%}; "
        f"whole {whole:.2f}x"
    )


@contextmanager
def running(folder: str) -> Iterator[cluster.Running]:
    """A cluster as long as it is needed."""
    try:
        yield cluster.start(folder, say=print)
    finally:
        cluster.stop(folder)


CASES = {"fixed": fixed, "size": size, "crossing": crossing, "scaling": scaling}


def main() -> None:
    """Runs the cases that were asked for, and prints a table of each."""
    made = parser(__doc__, list(CASES))
    made.add_argument("--folder", default=".bench/flink")
    given = made.parse_args()
    with running(given.folder) as given.found:
        run(EnginesBench, CASES, given)


if __name__ == "__main__":
    main()
