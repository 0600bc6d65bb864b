"""FilterQuality beside datatrove's filters: time on the same documents, and the verdicts one by one.

    python -m benchmarks.quality --corpora=FOLDER --peers=PEERS_ENVIRONMENT [--runs=3] [--cases=kernels,...]

CORPORA holds the folder 0.14gb, or that of --corpus, which benchmarks.corpus makes. PEERS_ENVIRONMENT is a virtual
environment with benchmarks/peers/requirements.txt installed.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from beam_etl.kernels.quality import RULE_SETS
from benchmarks.bench import Bench, Row, parser, run
from benchmarks.measure import measure

SHOWN = 5
"""Documents with other verdicts that are named, of each set."""


@dataclass(frozen=True)
class QualityBench(Bench):
    """On one corpus."""

    corpus: str

    @property
    def folder(self) -> Path:
        return self.corpora / self.corpus

    def ours(self, *flags: str) -> list[str]:
        return [sys.executable, "-m", "benchmarks.filter_quality", str(self.folder), *flags]


def kernels(bench: QualityBench) -> Iterator[Row]:
    """Signals alone, and with the rules of Gopher and FineWeb: one thread, without reading."""
    done = measure(bench.ours("--kernels"), bench.runs)
    alone, both = done.stdout.split()
    yield f"beam_etl, kernels, {bench.corpus}", done, f"{alone} MB/s signals, {both} MB/s with rules"


def filters(bench: QualityBench) -> Iterator[Row]:
    """Signals and the rules of Gopher and FineWeb, from Parquet to what is kept."""
    ours = measure(bench.ours(), bench.runs)
    theirs = measure(bench.peer("datatrove_quality.py", bench.folder, 2), 1)
    kept, kept_there = (int(done.stdout.split()[-1]) for done in (ours, theirs))
    yield f"beam_etl, FilterQuality, {bench.corpus}", ours, f"{kept:,} documents kept"
    yield (
        f"datatrove, three filters, 2 workers, {bench.corpus}",
        theirs,
        f"{theirs.beside(ours)}; {kept_there:,} documents kept",
    )


def verdicts(bench: QualityBench) -> Iterator[Row]:
    """Every document and rule set: whether both remove it."""
    paths = [bench.work / name for name in ("ours.jsonl", "theirs.jsonl")]
    ours = measure(bench.ours(f"--verdicts={paths[0]}"), 1)
    theirs = measure(bench.peer("datatrove_quality.py", bench.folder, 1, paths[1]), 1)
    rows = [[json.loads(line) for line in path.open()] for path in paths]
    assert [row[0] for row in rows[0]] == [row[0] for row in rows[1]]
    for place, name in enumerate(RULE_SETS, 1):
        other = [
            (here[0], here[place], there[place])
            for here, there in zip(*rows, strict=True)
            if bool(here[place]) != bool(there[place])
        ]
        same = 1 - len(other) / len(rows[0])
        yield f"{name}, beam_etl", ours, f"{same:.3%} of {len(rows[0]):,} documents alike"
        causes = Counter(there or ",".join(here) for _, here, there in other)
        for cause, count in causes.most_common(SHOWN):
            yield f"{name}, datatrove", theirs, f"{count} differ: {cause}"


CASES = {case.__name__: case for case in (kernels, filters, verdicts)}


def main() -> None:
    flags = parser(__doc__, tuple(CASES))
    flags.add_argument("--corpus", default="0.14gb")
    run(QualityBench, CASES, flags.parse_args())


if __name__ == "__main__":
    main()
