"""Joins, sorts, first rows and aggregates beside what a user would pick instead: one run, one table.

    python -m benchmarks.partitioning --corpora=FOLDER --peers=PEERS_ENVIRONMENT [--runs=3] [--cases=join,...]

CORPORA holds the folder of --corpus that benchmarks.corpus makes. PEERS_ENVIRONMENT is a virtual environment with
benchmarks/peers/requirements.txt installed.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench, Row, parser, run
from benchmarks.measure import Measured, Run, measure, run_once
from benchmarks.tables import page_counts, url_metadata

SHUFFLED_BOUND, POLARS_JOIN_BOUND = 3, 1.5
SORT_BOUND, SORT_MEMORY_BOUND = 3, 1 / 3
SCAN_BOUND = 1.3
DUCKDB_BOUND = 2
BUCKETS = 16
OUTPUT = "{}"
"""Where a peer writes."""


@dataclass(frozen=True)
class TableBench(Bench):
    """On one corpus, and so many rows without text."""

    corpus: str
    rows: int

    @property
    def documents(self) -> Path:
        return self.corpora / self.corpus

    @property
    def metadata(self) -> Path:
        """A row for each document, in another order."""
        folder = self.work / "metadata"
        if not folder.exists():
            url_metadata(self.documents, folder)
        return folder

    @property
    def pages(self) -> Path:
        """Rows without text."""
        folder = self.work / "pages"
        if not folder.exists():
            page_counts(folder, self.rows)
        return folder

    def join(self, left: Path, right: Path, way: str) -> Measured:
        """Our join of both by url."""
        flags = (f"--left={left}", f"--right={right}", "--on=url", f"--way={way}", "--overwrite=true")
        module = [sys.executable, "-m", "beam_etl.pipelines.join"]
        return measure([*module, *flags, f"--output={self.work / 'ours'}"], self.runs)

    def theirs(self, script: str, *arguments: object, runs: int = 1) -> Measured:
        """A peer; OUTPUT among its arguments is an empty folder, new for each run."""
        found: list[Run] = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory(dir=self.work) as output:
                found.append(
                    run_once(self.peer(script, *(output if one is OUTPUT else one for one in arguments)))
                )
        return Measured(tuple(found))


def beside(name: str, measured: Measured, ours: Measured, bound: float | None = None) -> Row:
    """A peer's row: how many times ours takes of its time, and what is allowed."""
    allowed = "" if bound is None else f" (bound {bound})"
    return name, measured, f"ours takes {ours.seconds / measured.seconds:.2f} of it{allowed}"


def join(bench: TableBench) -> Iterator[Row]:
    """Documents with their metadata by url: hashed before, shuffled, and Polars in memory."""
    hashed = []
    for name, source in (("documents", bench.documents), ("metadata", bench.metadata)):
        flags = (f"--partition=hash:url:{BUCKETS}", "--order=url")
        measured = measure(bench.job("repartition", source, *flags, output=f"hashed-{name}"), 1)
        hashed.append(bench.work / f"hashed-{name}")
        yield f"repartition of the {name}, once", measured, f"{BUCKETS} buckets, sorted"
    placed = bench.join(*hashed, "colocated")
    yield "beam_etl, co-located join", placed, rows_of(placed)
    shuffled = bench.join(bench.documents, bench.metadata, "shuffle")
    ratio = shuffled.seconds / placed.seconds
    yield "beam_etl, shuffled join", shuffled, f"{ratio:.2f}x the co-located one (bound {SHUFFLED_BOUND})"
    yield "beam_etl, broadcast join", bench.join(bench.documents, bench.metadata, "broadcast"), ""
    inputs = (bench.documents, bench.metadata)
    polars = bench.theirs("polars_join.py", *inputs, OUTPUT, runs=bench.runs)
    yield beside("Polars, in memory", polars, placed, POLARS_JOIN_BOUND)
    yield beside("Dask, 2 workers", bench.theirs("dask_tables.py", "join", *inputs, OUTPUT), shuffled)
    yield beside("Ray Data, 2 cores", bench.theirs("ray_tables.py", "join", *inputs, OUTPUT), shuffled)


def sort(bench: TableBench) -> Iterator[Row]:
    """All documents by url."""
    ours = measure(bench.job("sort", bench.documents, "--by=url"), bench.runs)
    yield "beam_etl, sort", ours, rows_of(ours)
    polars = bench.theirs("polars_sort.py", bench.documents, OUTPUT, "url", runs=bench.runs)
    memory = ours.peak_bytes / polars.peak_bytes
    name, measured, note = beside("Polars, in memory", polars, ours, SORT_BOUND)
    yield name, measured, f"{note}, and {memory:.2f} of its memory (bound {SORT_MEMORY_BOUND:.2f})"
    for peer, script in (("Dask, 2 workers", "dask_tables.py"), ("Ray Data, 2 cores", "ray_tables.py")):
        yield beside(peer, bench.theirs(script, "sort", bench.documents, OUTPUT, "url"), ours)


def topk(bench: TableBench) -> Iterator[Row]:
    """The 100 longest of rows without text, beside counting them all."""
    scan = measure(bench.job("aggregate", bench.pages, "--agg=max:words"), bench.runs)
    yield "beam_etl, plain scan (the largest value)", scan, f"{bench.rows:,} rows"
    ours = measure(bench.job("topk", bench.pages, "--by=words:desc", "--k=100"), bench.runs)
    yield (
        "beam_etl, 100 first rows",
        ours,
        f"{ours.seconds / scan.seconds:.2f}x the scan (bound {SCAN_BOUND})",
    )


def aggregate(bench: TableBench) -> Iterator[Row]:
    """Rows without text by domain, file to file: count, sum, maximum."""
    flags = ("--by=domain", "--agg=count,sum:bytes,max:words")
    ours = measure(bench.job("aggregate", bench.pages, *flags), bench.runs)
    stored = sum(path.stat().st_size for path in bench.pages.iterdir())
    yield "beam_etl", ours, f"{bench.rows:,} rows, {stored / 1e9:.2f} GB"
    duckdb = bench.theirs("duckdb_aggregate.py", bench.pages, OUTPUT, runs=bench.runs)
    yield beside("DuckDB", duckdb, ours, DUCKDB_BOUND)
    for peer, script in (("Dask, 2 workers", "dask_tables.py"), ("Ray Data, 2 cores", "ray_tables.py")):
        yield beside(peer, bench.theirs(script, "aggregate", bench.pages, OUTPUT), ours)


def rows_of(measured: Measured) -> str:
    """The line of a run that says what was written."""
    return next(line for line in measured.stdout.splitlines() if line.startswith("rows written"))


CASES = {case.__name__: case for case in (join, sort, topk, aggregate)}


def main() -> None:
    flags = parser(__doc__, tuple(CASES))
    flags.add_argument("--corpus", default="1gb")
    flags.add_argument("--rows", type=int, default=200_000_000, help="without text (default: %(default)s)")
    run(TableBench, CASES, flags.parse_args())


if __name__ == "__main__":
    main()
