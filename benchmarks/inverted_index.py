"""inverted_index beside what a user would pick instead: one run, one table.

    python -m benchmarks.inverted_index --corpora=FOLDER --peers=PEERS_ENVIRONMENT [--runs=3] [--cases=peers,...]

CORPORA holds the folders 0.14gb, 0.25gb, 1gb and 2gb that benchmarks.corpus makes, and uniform, hot and huge that
benchmarks.hot makes. PEERS_ENVIRONMENT is a virtual environment with benchmarks/peers/requirements.txt installed.
"""

import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_etl import InvertedIndex
from benchmarks.bench import SIZES, Bench, Row, growth_rows, parser, run
from benchmarks.dedup import CROSSED, UNITS
from benchmarks.measure import Measured, Run, measure

POLARS_BOUND, DUCKDB_BOUND, SPARK_BOUND = 1.5, 2, 8
POSITIONS_BOUND, TEXT_BOUND, TANTIVY_BOUND, HOT_BOUND, PLAN_BOUND = 2, 0.35, 1.3, 2, 0.25
SEARCH_MILLISECONDS, READ_BOUND = 50, 0.01
POSITIONS = "--positions=true"
SEARCHED = 200
"""Terms that are looked up, drawn among those of some documents."""


@dataclass(frozen=True)
class IndexBench(Bench):
    """With the peers' folders."""

    def ours(self, corpus: str, *flags: str) -> Measured:
        """Our pipeline."""
        return measure(self.job("inverted_index", self.corpora / corpus, *flags), self.runs)

    @property
    def our_bytes(self) -> int:
        """Of what our last run wrote."""
        return sum(path.stat().st_size for path in (self.work / "ours").rglob("*") if path.is_file())

    def our_counts(self) -> str:
        """Terms and postings of what our last run wrote."""
        terms = pq.read_table(self.work / "ours/terms", columns=["term", "document_frequency"])
        return f"{len(pc.unique(terms['term'])):,} terms, {pc.sum(terms['document_frequency']).as_py():,} postings"

    def theirs(self, script: str, corpus: str, *more: str, runs: int = 1) -> Measured:
        """A peer, each time into a folder of its own."""
        found: list[Run] = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory(dir=self.work) as output:
                found += measure(self.peer(script, self.corpora / corpus, output, *more), 1).runs
        return Measured(tuple(found))

    def text_bytes(self, corpus: str) -> int:
        """UTF-8 bytes of a corpus's texts."""
        files = sorted((self.corpora / corpus).glob("*.parquet"))
        return sum(
            pc.sum(pc.binary_length(pq.read_table(file, columns=["text"])["text"])).as_py() for file in files
        )


def peers(bench: IndexBench) -> Iterator[Row]:
    """The same group-by to Parquet, and the two engines that do nothing else."""
    for corpus in ("0.14gb", "1gb", "2gb"):
        ours = bench.ours(corpus)
        yield f"beam_etl, {corpus}", ours, bench.our_counts()
        for name, script, bound in (
            ("Polars", "polars_index.py", POLARS_BOUND),
            ("DuckDB", "duckdb_index.py", DUCKDB_BOUND),
        ):
            yield beside(f"{name}, {corpus}", bench.theirs(script, corpus, runs=bench.runs), ours, bound)
        if corpus == "0.14gb":
            yield beside(
                f"Spark SQL, local[2], {corpus}", bench.theirs("spark_index.py", corpus), ours, SPARK_BOUND
            )
            yield beside(f"tantivy, {corpus}", bench.theirs("tantivy_index.py", corpus, "freq"), ours)
            yield beside(f"SQLite FTS5, {corpus}", bench.theirs("sqlite_index.py", corpus, "column"), ours)


def beside(name: str, measured: Measured, ours: Measured, bound: float | None = None) -> Row:
    """A row of somebody else."""
    said = " ".join(f"{int(number):,}" for number in measured.stdout.split())
    bounded = f" (bound {bound})" if bound else ""
    return name, measured, f"{measured.beside(ours)}{bounded}; {said}"


def size(bench: IndexBench) -> Iterator[Row]:
    """Bytes of the index, and what positions cost."""
    corpus = "0.14gb"
    text = bench.text_bytes(corpus)
    without: Measured | None = None
    for flags, option, detail in (((), "freq", "column"), ((POSITIONS,), "position", "full")):
        ours = bench.ours(corpus, *flags)
        our_bytes = bench.our_bytes
        more = f"; {ours.seconds / without.seconds:.2f}x without (bound {POSITIONS_BOUND})" if without else ""
        without = without or ours
        yield (
            " ".join(("beam_etl", *flags)),
            ours,
            f"{our_bytes / 1e6:.1f} MB, {our_bytes / text:.1%} of the text (bound {TEXT_BOUND:.0%}){more}",
        )
        for name, script, kind in (
            ("tantivy", "tantivy_index.py", option),
            ("SQLite", "sqlite_index.py", detail),
        ):
            theirs = bench.theirs(script, corpus, kind)
            their_bytes = int(theirs.stdout.split()[1])
            bound = f" (bound {TANTIVY_BOUND})" if name == "tantivy" else ""
            yield (
                f"{name}, {kind}",
                theirs,
                f"{their_bytes / 1e6:.1f} MB; ours has {our_bytes / their_bytes:.2f} of that{bound}",
            )


def growth(bench: IndexBench) -> Iterator[Row]:
    """Marginal cost, and memory that doesn't depend on the input."""
    yield from growth_rows("beam_etl", {corpus: bench.ours(corpus) for corpus in SIZES})


def hot(bench: IndexBench) -> Iterator[Row]:
    """A word in every document, and a document of 1 GB."""
    uniform = bench.ours("uniform")
    yield "uniform", uniform, ""
    for corpus in ("hot", "huge"):
        ours = bench.ours(corpus)
        slower, larger = ours.seconds / uniform.seconds, ours.peak_bytes / uniform.peak_bytes
        ratio = f"{slower:.2f}x the time, {larger:.2f}x the memory"
        yield corpus, ours, f"{ratio} (bound {HOT_BOUND})"


def search(bench: IndexBench) -> Iterator[Row]:
    """A term in an index of 2 GB of text: by a reader that is warm, and what a new one reads."""
    built = bench.ours("2gb")
    folder = str(bench.work / "ours")
    terms = drawn(Path(folder))
    index = InvertedIndex(folder)
    index.search(terms[0])
    milliseconds, more = [], []
    for term in terms:
        begin, read = time.perf_counter(), index.bytes_read
        index.search(term)
        milliseconds.append(1e3 * (time.perf_counter() - begin))
        more.append((index.bytes_read - read) / bench.our_bytes)
    fresh = []
    for term in terms[:20]:
        reader = InvertedIndex(folder)
        reader.search(term)
        fresh.append(reader.bytes_read / bench.our_bytes)
    middle, most = statistics.median(milliseconds), max(milliseconds)
    warm = f"one term: median {middle:.1f} ms, at most {most:.1f} (bound {SEARCH_MILLISECONDS})"
    reads = (
        f"reads {statistics.median(more):.2%} of the index, at most {max(more):.2%} (bound {READ_BOUND:.0%})"
    )
    cold = f"a new reader reads {statistics.median(fresh):.2%}, at most {max(fresh):.2%}"
    yield "2gb, built", built, f"{warm}, {reads}; {cold}"


def drawn(folder: Path) -> list[str]:
    """Some terms, rare and frequent ones: each as likely as its postings are many, of every partition."""
    draw = random.Random(1)
    table = pq.read_table(folder / "terms", columns=["term", "document_frequency"])
    weights = table["document_frequency"].to_pylist()
    return draw.choices(table["term"].to_pylist(), weights, k=SEARCHED)


def crossing(bench: IndexBench) -> Iterator[Row]:
    """Bytes that crossed shuffles beside the plan."""
    for corpus in ("0.14gb", "1gb"):
        for flags in ((), (POSITIONS,)):
            command = bench.job("inverted_index", bench.corpora / corpus, *flags)
            planned = sum(
                step["expected_bytes"] or 0
                for step in json.loads(measure([*command, "--plan=json"], 1).stdout)["shuffles"]
            )
            ran = measure(command, 1)
            number, unit = CROSSED.findall(ran.stdout)[0]
            ratio = float(number) * UNITS[unit] / planned
            share = float(number) * UNITS[unit] / bench.text_bytes(corpus)
            bound = f"(bound {1 - PLAN_BOUND} to {1 + PLAN_BOUND})"
            yield (
                f"{corpus} {' '.join(flags)}",
                ran,
                f"{share:.1%} of the text, {ratio:.2f}x the plan {bound}",
            )


CASES = {"peers": peers, "size": size, "growth": growth, "hot": hot, "search": search, "crossing": crossing}

if __name__ == "__main__":
    run(IndexBench, CASES, parser(__doc__, list(CASES)).parse_args())
