"""curate beside datatrove: archives to texts, WET, and FineWeb's recipe from end to end; and what curate itself costs.

    python -m benchmarks.curate --corpora=FOLDER --peers=PEERS_ENVIRONMENT [--runs=1] [--cases=extract,...]

CORPORA holds the folder 0.14gb, which benchmarks.corpus makes; PEERS_ENVIRONMENT is a virtual environment with
benchmarks/peers/requirements.txt installed. --real names the folder of real archives of the shared data.
"""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench, Row, parser, run
from benchmarks.crawls import make_crawls, repeat_crawls
from benchmarks.measure import Measured, measure

WORKERS = 2
CONFIG = "--config=examples/fineweb.toml"
TIMES = 6
"""Real archives are so many times in their crawl: 1,200 pages, 60 MB of them."""


@dataclass(frozen=True)
class CurateBench(Bench):
    """On crawls made of one corpus, and on real ones."""

    corpus: str
    megabytes: int
    real: Path

    def made(self) -> tuple[Path, Path]:
        """Folders of pages and of texts, made once."""
        folder = self.work / "crawls"
        if not folder.is_dir():
            make_crawls(self.corpora / self.corpus, folder, self.megabytes * 10**6)
        return folder / "warc", folder / "wet"

    def theirs(self, *arguments: object) -> Measured:
        return measure(self.peer("datatrove_curate.py", *arguments), 1)


def _documents(done: Measured) -> str:
    """How many documents ours wrote, by its closing lines."""
    found = re.search(r"rows written:.*?documents ([\d,]*\d)", done.stdout)
    return found[1] if found else "?"


def _last(done: Measured) -> str:
    return f"{int(done.stdout.split()[-1]):,}"


def extract(bench: CurateBench) -> Iterator[Row]:
    """Real archives to texts: the main content of each page."""
    folder = repeat_crawls(bench.real, bench.work / "real", TIMES)
    flags = ("--detect_language=false", "--max_reject_fraction=1")
    ours = measure(bench.job("extract", folder, *flags), bench.runs)
    yield "beam_etl extract, resiliparse", ours, f"{_documents(ours)} documents"
    for name in ("resiliparse", "trafilatura"):
        done = bench.theirs(name, folder, WORKERS)
        yield (
            f"datatrove, {name}, {WORKERS} workers",
            done,
            f"{done.seconds / ours.seconds:.1f}x ours; {_last(done)} documents",
        )


def wet(bench: CurateBench) -> Iterator[Row]:
    """Texts of a WET, read and counted."""
    _, folder = bench.made()
    ours = measure(bench.job("aggregate", folder, "--agg=count", output="counted"), bench.runs)
    done = bench.theirs("read", folder, WORKERS)
    yield "beam_etl, rows counted", ours, ""
    yield (
        f"datatrove, WarcReader, {WORKERS} workers",
        done,
        f"{done.seconds / ours.seconds:.1f}x ours; {_last(done)} documents",
    )


def corpus(bench: CurateBench) -> Iterator[Row]:
    """FineWeb's recipe from end to end: of a WET, without extraction, and of a WARC."""
    warc, texts = bench.made()
    for what, folder, name in (("WET", texts, "none"), ("WARC", warc, "resiliparse")):
        ours = measure(bench.job("curate", folder, CONFIG), bench.runs)
        done = bench.theirs("corpus", name, folder, bench.work / f"theirs-{what}", WORKERS)
        yield f"beam_etl curate, {what}", ours, f"{_documents(ours)} documents"
        yield (
            f"datatrove, {what}, {WORKERS} workers",
            done,
            f"{done.seconds / ours.seconds:.1f}x ours; {_last(done)} documents",
        )


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
    spent, started = (min(run.cpu_seconds for run in done.runs) for done in (whole, start))
    yield "curate of one document", start, f"{started:.1f} CPU seconds: the start of a job"
    yield "curate", whole, f"{spent:.1f} CPU seconds"
    yield "kernels, two reads, one write", alone, f"{float(total):.1f} CPU seconds: {told}"
    yield "curate without its start, over these", whole, f"{(spent - started) / float(total):.2f}"


CASES = {case.__name__: case for case in (extract, wet, corpus, cost)}


def main() -> None:
    flags = parser(__doc__, tuple(CASES))
    flags.set_defaults(runs=1)
    flags.add_argument("--corpus", default="0.14gb")
    flags.add_argument("--megabytes", type=int, default=80, help="of texts, from the start of the corpus")
    shared = Path(os.environ.get("BEAM_ETL_SHARED") or Path(__file__).parents[2] / "shared")
    flags.add_argument("--real", type=Path, default=shared / "data/warc/real")
    run(CurateBench, CASES, flags.parse_args())


if __name__ == "__main__":
    main()
