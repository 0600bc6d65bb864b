"""dedup beside what a user would pick instead: one run, one table.

    python -m benchmarks.dedup --corpora=FOLDER --peers=PEERS_ENVIRONMENT --pairs=FOLDER [--runs=3] [--cases=peers,...]

CORPORA holds the folders 0.14gb, 0.25gb, 1gb and 2gb that benchmarks.corpus makes, and copies and distinct that
benchmarks.copies makes. PEERS_ENVIRONMENT is a virtual environment with benchmarks/peers/requirements.txt installed.
PAIRS holds docs.jsonl.gz and a .tsv.gz of all pairs of these documents with their exact Jaccard.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.bench import SIZES, Bench, Row, growth_rows, parser, run
from benchmarks.corpus import SCHEMA
from benchmarks.measure import Measured, measure
from benchmarks.neardup import kept_ids, known_pairs

NGRAM, BANDS, ROWS = 5, 16, 8
VERIFIED = "--threshold=0.8"
DATATROVE_WORKERS = 2
LOOP = "loop over pyarrow and rensa"
COPIES_BOUND, COPIES_MEMORY_BOUND, FLOOR_BOUND = 3, 6e9, 3

CROSSED = re.compile(r"crossed shuffles: ([\d.]+) (B|KB|MB|GB|TB)\b")
"""The closing line of a run that tells what crossed between workers, in three digits."""
UNITS = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


@dataclass(frozen=True)
class DedupBench(Bench):
    """With the documents whose similar pairs are known."""

    pairs: Path

    def ours(self, source: Path, *flags: str) -> list[str]:
        """Our pipeline with the peers' shingles and bands."""
        chosen = () if VERIFIED in flags else (f"--bands={BANDS}", f"--band_rows={ROWS}")
        return self.job("dedup", source, f"--ngram={NGRAM}", *chosen, *flags)

    @property
    def our_documents(self) -> Path:
        """Where our last run left what it kept."""
        return self.work / "ours/documents"

    def their_folder(self, name: str) -> Path:
        """A folder that nothing was written to yet: some tools go on where an earlier run ended."""
        number = len(list(self.work.glob(f"{name}-*")))
        return self.work / f"{name}-{number}"

    def others(self, source: Path) -> Iterator[tuple[str, Measured, Path]]:
        """What else does the job, how long it took, and the folder of what it kept."""
        for name, script, workers, kept in (
            (f"datatrove, {DATATROVE_WORKERS} workers", "datatrove_minhash.py", (DATATROVE_WORKERS,), "kept"),
            (LOOP, "rensa_loop.py", (), ""),
            ("text-dedup", "text_dedup_minhash.py", (), "kept"),
        ):
            folder = self.their_folder(script)
            command = self.peer(script, source, folder, *workers, NGRAM, BANDS, ROWS)
            yield name, measure(command, 1), folder / kept


def count_rows(folder: Path) -> int:
    """Rows of the Parquet files of a folder."""
    return sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))


def beside(name: str, measured: Measured, ours: Measured, kept: int) -> Row:
    """A row of somebody who did the same as we."""
    return name, measured, f"{measured.beside(ours)}; keeps {kept:,}"


def peers(bench: DedupBench) -> Iterator[Row]:
    """The same n-grams, bands and rows for everybody."""
    corpus = "0.14gb"
    source = bench.corpora / corpus
    ours = measure(bench.ours(source), bench.runs)
    yield f"beam_etl, {corpus}", ours, f"keeps {count_rows(bench.our_documents):,} of {count_rows(source):,}"
    verified = measure(bench.ours(source, VERIFIED), bench.runs)
    yield beside(f"beam_etl {VERIFIED}, {corpus}", verified, ours, count_rows(bench.our_documents))
    for name, measured, _ in bench.others(source):
        yield beside(f"{name}, {corpus}", measured, ours, int(measured.stdout.split()[-1]))


def scale(bench: DedupBench) -> Iterator[Row]:
    """The fastest of the others, where the fixed cost of a job weighs less."""
    corpus = "1gb"
    source = bench.corpora / corpus
    ours = measure(bench.ours(source), bench.runs)
    yield f"beam_etl, {corpus}", ours, f"keeps {count_rows(bench.our_documents):,} of {count_rows(source):,}"
    loop = measure(
        bench.peer("rensa_loop.py", source, bench.their_folder("scale"), NGRAM, BANDS, ROWS), bench.runs
    )
    yield beside(f"{LOOP}, {corpus}", loop, ours, int(loop.stdout.split()[-1]))


def pairs(bench: DedupBench) -> Iterator[Row]:
    """Who finds the pairs that are known."""
    source = bench.work / "pairs"
    known = known_pairs(bench.pairs, source)
    for flags in ((), (VERIFIED,)):
        ours = measure(bench.ours(source, *flags), 1)
        yield " ".join(("beam_etl", *flags)), ours, known.judge(kept_ids(bench.our_documents))
    for name, measured, kept in bench.others(source):
        yield name, measured, known.judge(kept_ids(kept))


def growth(bench: DedupBench) -> Iterator[Row]:
    """Marginal cost, memory that doesn't depend on the input, and the floor."""
    found = {corpus: measure(bench.ours(bench.corpora / corpus), bench.runs) for corpus in SIZES}
    yield from growth_rows("beam_etl", found)
    floor = bench.floor(bench.corpora / "2gb", SCHEMA.names)
    ratio = found["2gb"].seconds / floor.seconds
    yield "floor: read_row_group into ParquetWriter, 2gb", floor, f"ours {ratio:.2f}x (bound {FLOOR_BOUND})"


def copies(bench: DedupBench) -> Iterator[Row]:
    """One document, a million times, against as many distinct ones of the same size."""
    distinct = measure(bench.ours(bench.corpora / "distinct"), bench.runs)
    yield "beam_etl, distinct", distinct, f"keeps {count_rows(bench.our_documents):,}"
    copied = measure(bench.ours(bench.corpora / "copies"), bench.runs)
    ratio = copied.seconds / distinct.seconds
    bounds = f"bounds {COPIES_BOUND}, {COPIES_MEMORY_BOUND / 1e9:.0f} GB"
    kept = count_rows(bench.our_documents)
    yield "beam_etl, copies", copied, f"{ratio:.2f}x distinct ({bounds}); keeps {kept:,}"


def crossing(bench: DedupBench) -> Iterator[Row]:
    """Bytes that crossed shuffles, in percent of the text, and what the plan said before."""
    for corpus in ("0.14gb", "1gb"):
        source = bench.corpora / corpus
        text = text_bytes(source)
        for flags in ((), (VERIFIED,)):
            command = bench.ours(source, *flags)
            planned = planned_bytes(measure([*command, "--plan=json"], 1).stdout)
            measured = measure(command, 1)
            crossed = crossed_bytes(measured.stdout)
            note = (
                f"{crossed / 1e6:.1f} MB crossed, {crossed / text:.2%} of the text; "
                f"planned {planned / 1e6:.1f} MB, {planned / crossed:.2f} of it"
            )
            yield " ".join(("beam_etl", *flags)) + f", {corpus}", measured, note


def text_bytes(folder: Path) -> int:
    """UTF-8 bytes of the column text."""
    texts = (pq.read_table(path, columns=["text"])["text"] for path in folder.glob("*.parquet"))
    return sum(pc.sum(pc.binary_length(text)).as_py() for text in texts)


def planned_bytes(plan: str) -> int:
    """Of all shuffles and hops of a plan in JSON."""
    return sum((step["expected_bytes"] or 0) * step["hops"] for step in json.loads(plan)["shuffles"])


def crossed_bytes(printed: str) -> float:
    """What a run says of itself.

    Raises:
      ValueError: it says nothing.
    """
    found = CROSSED.search(printed)
    if found is None:
        raise ValueError(f"no line like {CROSSED.pattern!r} in:\n{printed}")
    return float(found[1]) * UNITS[found[2]]


CASES = {case.__name__: case for case in (peers, scale, pairs, growth, copies, crossing)}


def main() -> None:
    flags = parser(__doc__, tuple(CASES))
    flags.add_argument("--pairs", type=Path, required=True, help="documents with all their similar pairs")
    run(DedupBench, CASES, flags.parse_args())


if __name__ == "__main__":
    main()
