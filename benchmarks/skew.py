"""What a domain costs that has nine rows out of ten, with what is done against skew and without it.

    python -m benchmarks.skew --corpora=FOLDER --peers=PEERS_ENVIRONMENT [--runs=3] [--cases=aggregation,...]

CORPORA holds the folder of --corpus that benchmarks.corpus makes, and uniform and hot that benchmarks.hot makes.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench, Row, parser, run
from benchmarks.measure import Measured, measure
from benchmarks.tables import domain_metadata, page_counts, with_domains

BOUND = 1.5
HOT, OF = 9, 10
"""Nine documents out of ten are of one domain."""

WITHOUT = "benchmarks.without_measures"


@dataclass(frozen=True)
class SkewBench(Bench):
    """On one corpus, and so many rows without text."""

    corpus: str
    rows: int

    def made(self, name: str, make: Callable[[Path], None]) -> Path:
        """A folder of `work`, made once."""
        folder = self.work / name
        if not folder.exists():
            make(folder)
        return folder

    def documents(self, kind: str) -> Path:
        """The corpus, of other domains."""
        hot = HOT if kind == "hot" else 0
        return self.made(
            f"documents-{kind}", lambda to: with_domains(self.corpora / self.corpus, to, hot, OF)
        )

    def pages(self, kind: str) -> Path:
        """Rows without text."""
        hot = HOT if kind == "hot" else 0
        return self.made(f"pages-{kind}", lambda to: page_counts(to, self.rows, hot, OF))

    def without(self, command: Sequence[str]) -> Measured:
        """Our pipeline without the measures, once."""
        python, _, module, *flags = command
        return measure([python, "-m", WITHOUT, module.rpartition(".")[2], *flags], 1)


def compared(bench: SkewBench, name: str, commands: dict[str, list[str]]) -> Iterator[Row]:
    """The uniform and the hot input, each with the measures and without."""
    found = {kind: measure(command, bench.runs) for kind, command in commands.items()}
    bare = {kind: bench.without(command) for kind, command in commands.items()}
    yield f"{name}, uniform", found["uniform"], largest(found["uniform"])
    yield f"{name}, hot", found["hot"], f"{ratio(found)} (bound {BOUND}); {largest(found['hot'])}"
    yield f"{name}, uniform, without the measure", bare["uniform"], largest(bare["uniform"])
    yield f"{name}, hot, without the measure", bare["hot"], f"{ratio(bare)}; {largest(bare['hot'])}"


def ratio(found: dict[str, Measured]) -> str:
    """Of the hot one to the uniform one."""
    return f"{found['hot'].seconds / found['uniform'].seconds:.2f}x uniform"


def largest(measured: Measured) -> str:
    """What a run says of the shuffle that moved most bytes."""
    lines = measured.stdout.splitlines()
    return lines[lines.index("largest partition to the mean:") + 1].strip()


def aggregation(bench: SkewBench) -> Iterator[Row]:
    """Rows without text by domain: count, sum, maximum and median."""
    flags = ("--by=domain", "--agg=count,sum:bytes,max:words,p50:words")
    commands = {kind: bench.job("aggregate", bench.pages(kind), *flags) for kind in ("uniform", "hot")}
    yield from compared(bench, f"aggregate, {bench.rows / 1e6:.0f} million rows", commands)


def join(bench: SkewBench) -> Iterator[Row]:
    """Documents with a table of domains, both shuffled."""
    domains = bench.made("domains", domain_metadata)
    flags = (f"--right={domains}", "--on=domain", "--way=shuffle", f"--output={bench.work / 'ours'}")
    module = [sys.executable, "-m", "beam_etl.pipelines.join", "--overwrite=true", *flags]
    commands = {kind: [*module, f"--left={bench.documents(kind)}"] for kind in ("uniform", "hot")}
    yield from compared(bench, f"join, {bench.corpus}", commands)


def index(bench: SkewBench) -> Iterator[Row]:
    """The index of documents by domain, and of documents that all have one word."""
    commands = {kind: bench.job("inverted_index", bench.documents(kind)) for kind in ("uniform", "hot")}
    found = {kind: measure(command, bench.runs) for kind, command in commands.items()}
    yield f"index, {bench.corpus}, uniform domains", found["uniform"], largest(found["uniform"])
    yield f"index, {bench.corpus}, one domain", found["hot"], f"{ratio(found)} (bound {BOUND})"
    words = {kind: bench.job("inverted_index", bench.corpora / kind) for kind in ("uniform", "hot")}
    yield from compared(bench, "index, a word in every document", words)


CASES = {case.__name__: case for case in (aggregation, join, index)}


def main() -> None:
    flags = parser(__doc__, tuple(CASES))
    flags.add_argument("--corpus", default="1gb")
    flags.add_argument("--rows", type=int, default=20_000_000)
    run(SkewBench, CASES, flags.parse_args())


if __name__ == "__main__":
    main()
