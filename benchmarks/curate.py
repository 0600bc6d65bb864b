"""curate beside datatrove: archives to texts, WET, and FineWeb's recipe from end to end; and what curate itself costs.

    python -m benchmarks.curate --corpora=FOLDER --peers=PEERS_ENVIRONMENT [--runs=1] [--cases=extract,...]

CORPORA holds the folder 0.14gb, which benchmarks.corpus makes; PEERS_ENVIRONMENT is a virtual environment with
benchmarks/peers/requirements.txt installed. --shared names the folder of the shared data, with its
real archives and documents.
"""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench, Row, parser, run
from benchmarks.crawls import make_crawls, make_wet, repeat_crawls
from benchmarks.measure import Measured, measure

WORKERS = 2
CONFIG = "--config=examples/fineweb.toml"

TIMES = 32
"""Real archives are so many times in their crawl: 5,900 pages, 330 MB of them."""

FEW_TIMES = 8
"""The same where an extractor takes 25 ms for a page."""


@dataclass(frozen=True)
class CurateBench(Bench):
    """On crawls made of one corpus, on texts in many languages, and on real archives."""

    corpus: str
    megabytes: int
    wet_megabytes: int
    shared: Path

    @property
    def real(self) -> Path:
        """Real archives."""
        return self.shared / "data/warc/real"

    def made(self) -> tuple[Path, Path]:
        """Folders of pages and of texts, made once."""
        folder = self.work / "crawls"
        if not folder.is_dir():
            make_crawls(self.corpora / self.corpus, folder, self.megabytes * 10**6)
        return folder / "warc", folder / "wet"

    def ours(self, pipeline: str, source: Path, *flags: str, output: str = "ours") -> Measured:
        return self._measured(self.job(pipeline, source, *flags, output=output), self.runs)

    def theirs(self, *arguments: object) -> Measured:
        return self._measured(self.peer("datatrove_curate.py", *arguments), 1)

    def _measured(self, command: list[str], runs: int) -> Measured:
        return measure([sys.executable, "-m", "benchmarks.reap", *command], runs)

    def beside(self, what: str, ours: Measured, theirs: Measured) -> Row:
        """A row of datatrove's."""
        times = f"{theirs.beside(ours)}, {_cpu(theirs) / _cpu(ours):.1f}x its CPU"
        return (
            f"datatrove, {what}, {WORKERS} workers",
            theirs,
            f"{times}; {_spent(theirs)}; {_last(theirs)} documents",
        )


def _cpu(done: Measured) -> float:
    """CPU seconds of all processes."""
    return min(run.cpu_seconds for run in done.runs)


def _spent(done: Measured) -> str:
    return f"{_cpu(done):.1f} CPU seconds"


def _written(done: Measured) -> str:
    """What ours took, and how many documents it wrote, by its closing lines."""
    found = re.search(r"rows written:.*?documents ([\d,]*\d)", done.stdout)
    return f"{_spent(done)}; {found[1] if found else '?'} documents"


def _last(done: Measured) -> str:
    return f"{int(done.stdout.split()[-1]):,}"


def extract(bench: CurateBench) -> Iterator[Row]:
    """Real archives to texts: the main content of each page; fewer of them with the extractor that takes longer."""
    flags = ("--detect_language=false", "--max_reject_fraction=1")
    for name, times in (("resiliparse", TIMES), ("trafilatura", FEW_TIMES)):
        folder = repeat_crawls(bench.real, bench.work / f"real-{times}", times)
        ours = bench.ours("extract", folder, *flags)
        yield f"beam_etl extract, resiliparse, {times} times", ours, _written(ours)
        yield bench.beside(f"{name}, {times} times", ours, bench.theirs(name, folder, WORKERS))


def wet(bench: CurateBench) -> Iterator[Row]:
    """Texts of a WET in 69 languages, read and counted."""
    documents = bench.shared / "data/webtext/debdocs_sample_1pct.jsonl.gz"
    folder = make_wet(documents, bench.work / "wet", bench.wet_megabytes * 10**6)
    ours = bench.ours("aggregate", folder, "--agg=count", output="counted")
    yield f"beam_etl, rows counted, {bench.wet_megabytes} MB", ours, _spent(ours)
    yield bench.beside("WarcReader", ours, bench.theirs("read", folder, WORKERS))


def corpus(bench: CurateBench) -> Iterator[Row]:
    """FineWeb's recipe from end to end: of a WET, without extraction, and of a WARC."""
    warc, texts = bench.made()
    for what, folder, name in (("WET", texts, "none"), ("WARC", warc, "resiliparse")):
        ours = bench.ours("curate", folder, CONFIG)
        yield f"beam_etl curate, {what}", ours, _written(ours)
        done = bench.theirs("corpus", name, folder, bench.work / f"theirs-{what}", WORKERS)
        yield bench.beside(what, ours, done)


def cost(bench: CurateBench) -> Iterator[Row]:
    """CPU seconds of curate, without the start of a job, over those of its steps' kernels, two reads and a write."""
    _, folder = bench.made()
    start = measure(
        bench.job("curate", bench.real / "whirlwind.warc.wet.gz", CONFIG, output="little"), bench.runs
    )
    whole = measure(bench.job("curate", folder, CONFIG), bench.runs)
    alone_folder = bench.work / "alone"
    alone_folder.mkdir()
    alone = measure(
        [sys.executable, "-m", "benchmarks.curate_alone", str(folder), str(alone_folder)], bench.runs
    )
    told, total = alone.stdout.strip().splitlines()[-2:]
    yield "curate of one document", start, f"{_spent(start)}: the start of a job"
    yield "curate", whole, _spent(whole)
    yield "kernels, two reads, one write", alone, f"{float(total):.1f} CPU seconds: {told}"
    yield "curate without its start, over these", whole, f"{(_cpu(whole) - _cpu(start)) / float(total):.2f}"


CASES = {case.__name__: case for case in (extract, wet, corpus, cost)}


def main() -> None:
    flags = parser(__doc__, tuple(CASES))
    flags.set_defaults(runs=1)
    flags.add_argument("--corpus", default="0.14gb")
    flags.add_argument("--megabytes", type=int, default=80, help="of texts, from the start of the corpus")
    shared = Path(os.environ.get("BEAM_ETL_SHARED") or Path(__file__).parents[2] / "shared")
    flags.add_argument("--wet_megabytes", type=int, default=500, help="of texts in many languages")
    flags.add_argument("--shared", type=Path, default=shared)
    run(CurateBench, CASES, flags.parse_args())


if __name__ == "__main__":
    main()
