"""domain_score beside the signals alone, and what a domain costs that has a third of all documents.

    python -m benchmarks.domain_score --corpora=FOLDER --peers=PEERS_ENVIRONMENT [--runs=3] [--cases=whole,...]

CORPORA holds the folders 0.14gb, 0.25gb, 1gb and 2gb that benchmarks.corpus makes, or the one of --corpus.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import SIZES, Bench, Row, growth_rows, parser, run
from benchmarks.measure import Measured, measure
from benchmarks.tables import with_domains

WHOLE_BOUND, HOT_BOUND = 3, 1.3
HOT_SHARE = 3
"""One document of so many is of the hot domain."""

ALL_FILTERS = ("--min_domain_score=0.1", "--max_documents_per_domain=1000")


@dataclass(frozen=True)
class DomainBench(Bench):
    """On one corpus."""

    corpus: str

    @property
    def folder(self) -> Path:
        return self.corpora / self.corpus

    def ours(self, source: Path, *flags: str) -> list[str]:
        return self.job("domain_score", source, *flags)


def whole(bench: DomainBench) -> Iterator[Row]:
    """The table of domains, and the documents with it, beside reading and signals alone."""
    alone = measure([sys.executable, "-m", "benchmarks.signals_alone", str(bench.folder)], bench.runs)
    yield f"signals alone, {bench.corpus}", alone, ""
    for name, flags in (("table", ()), ("table and documents", ALL_FILTERS)):
        measured = measure(bench.ours(bench.folder, *flags), bench.runs)
        ratio = measured.seconds / alone.seconds
        note = f"{ratio:.2f}x the signals alone (bound {WHOLE_BOUND}); {crossed(measured)}"
        yield f"beam_etl, {name}, {bench.corpus}", measured, note


def hot(bench: DomainBench) -> Iterator[Row]:
    """The same documents, of 10,000 domains alike, and with a third of them in one."""
    for name, flags in (
        ("table", ()),
        ("table and documents, broadcast", ALL_FILTERS),
        ("table and documents, shuffled", (*ALL_FILTERS, "--join=shuffle")),
    ):
        found = {}
        for kind in ("uniform", "hot"):
            source = bench.work / kind
            if not source.exists():
                with_domains(bench.folder, source, int(kind == "hot"), HOT_SHARE)
            found[kind] = measure(bench.ours(source, *flags), bench.runs)
        yield f"beam_etl, {name}, uniform", found["uniform"], crossed(found["uniform"])
        ratio = found["hot"].seconds / found["uniform"].seconds
        note = f"{ratio:.2f}x uniform (bound {HOT_BOUND}); {crossed(found['hot'])}"
        yield f"beam_etl, {name}, a third in one domain", found["hot"], note


def growth(bench: DomainBench) -> Iterator[Row]:
    """Marginal cost, and memory that doesn't depend on the input."""
    found = {corpus: measure(bench.ours(bench.corpora / corpus), bench.runs) for corpus in SIZES}
    yield from growth_rows("beam_etl, table", found)


def crossed(measured: Measured) -> str:
    """The line of a run that says what crossed."""
    return next(line for line in measured.stdout.splitlines() if line.startswith("crossed shuffles"))


CASES = {case.__name__: case for case in (whole, hot, growth)}


def main() -> None:
    flags = parser(__doc__, tuple(CASES))
    flags.add_argument("--corpus", default="1gb")
    run(DomainBench, CASES, flags.parse_args())


if __name__ == "__main__":
    main()
