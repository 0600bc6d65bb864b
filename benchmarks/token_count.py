"""token_count beside what a user would pick instead: one run, one table.

    python -m benchmarks.token_count --corpora=FOLDER --peers=PEERS_ENVIRONMENT [--runs=3] [--cases=words,...]

CORPORA holds the folders 0.14gb, 0.25gb, 1gb and 2gb that benchmarks.corpus makes. PEERS_ENVIRONMENT is a virtual
environment with benchmarks/peers/requirements.txt installed.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.measure import Measured, measure

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Bench:
    """Where things are, and how often to run them."""

    corpora: Path
    peers: Path
    tokenizer: str
    runs: int
    work: Path

    def ours(self, corpus: str, tokenizer: str) -> list[str]:
        output = f"--output={self.work / 'ours'}"
        flags = [f"--input={self.corpora / corpus}", output, "--overwrite=true", "--by=language"]
        return [sys.executable, "-m", "beam_etl.pipelines.token_count", *flags, f"--tokenizer={tokenizer}"]

    def peer(self, script: str, *arguments: object) -> list[str]:
        return [str(self.peers / "bin" / "python"), str(PEERS / script), *map(str, arguments)]

    def total(self) -> int:
        """Tokens that our last run counted."""
        (path,) = (self.work / "ours/totals").glob("*.parquet")
        return int(pq.read_table(path)["tokens"][0].as_py())


Row = tuple[str, Measured, str]


def tokens(bench: Bench) -> Iterator[Row]:
    """A vocabulary of 100,000: datatrove's TokensCounter with 2 workers counts the same tokens."""
    corpus = "1gb"
    ours = measure(bench.ours(corpus, "tiktoken:cl100k_base"), bench.runs)
    counted = bench.total()
    theirs = measure(bench.peer("datatrove_tokens.py", bench.corpora / corpus, bench.tokenizer, 2), 1)
    same = (
        "equal counts"
        if int(theirs.stdout.split()[-1]) == counted
        else f"OTHER COUNT {theirs.stdout.split()[-1]}"
    )
    yield f"beam_etl, 100k vocabulary, {corpus}", ours, f"{counted:,} tokens"
    yield (
        f"datatrove TokensCounter, 2 workers, {corpus}",
        theirs,
        f"{theirs.seconds / ours.seconds:.1f}x ours; {same}",
    )


def words(bench: Bench) -> Iterator[Row]:
    """Words by language, against the floor and what counts words otherwise."""
    corpus = "1gb"
    ours = measure(bench.ours(corpus, "words"), bench.runs)
    yield f"beam_etl, words, {corpus}", ours, f"{bench.total():,} words"
    folder, columns = bench.corpora / corpus, "lang,text"
    with tempfile.TemporaryDirectory(dir=bench.work) as output:
        peers = {
            "floor: read_row_group": bench.peer("floor.py", folder, columns),
            "floor: read_row_group into ParquetWriter": bench.peer("floor.py", folder, columns, output),
            "Polars": bench.peer("polars_words.py", folder),
            "DuckDB": bench.peer("duckdb_words.py", folder),
            "Beam, a row an element": bench.peer("row_pipeline.py", folder),
        }
        for name, command in peers.items():
            runs = 1 if "row an" in name or name == "DuckDB" else bench.runs
            measured = measure(command, runs)
            yield f"{name}, {corpus}", measured, f"{measured.seconds / ours.seconds:.2f}x ours"


def growth(bench: Bench) -> Iterator[Row]:
    """Marginal cost, and memory that doesn't depend on the input."""
    found = {}
    for corpus in ("0.25gb", "1gb", "2gb"):
        found[corpus] = measure(bench.ours(corpus, "words"), bench.runs)
        yield f"beam_etl, words, {corpus}", found[corpus], ""
    quarter, one, two = (found[corpus].seconds for corpus in ("0.25gb", "1gb", "2gb"))
    ratio = (two - one) / ((one - quarter) / 0.75)
    yield "marginal: T(2) - T(1) over (T(1) - T(0.25)) / 0.75", found["2gb"], f"{ratio:.2f}"


def tiny(bench: Bench) -> Iterator[Row]:
    """100 documents, from the start of the process to its end."""
    folder = bench.work / "tiny"
    folder.mkdir(exist_ok=True)
    lines = (json.dumps({"lang": "en", "text": f"a document of some words, number {i}"}) for i in range(100))
    (folder / "tiny.jsonl").write_text("\n".join(lines))
    runs = max(bench.runs, 5)
    bare = measure([sys.executable, "-c", "import apache_beam"], runs)
    ours = measure(
        [
            *bench.ours("0.25gb", "words")[:3],
            f"--input={folder}",
            f"--output={bench.work / 'tiny-out'}",
            "--overwrite=true",
        ],
        runs,
    )
    yield "import apache_beam", bare, ""
    bound = 1.5 * bare.seconds + 1
    yield "beam_etl, 100 documents", ours, f"{ours.seconds / bound:.2f} of 1.5 x the import + 1 s"


CASES = {case.__name__: case for case in (tiny, words, growth, tokens)}


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | seconds | peak memory | |", "|---|---:|---:|---|"]
    for name, measured, note in rows:
        lines.append(f"| {name} | {measured.seconds:.2f} | {measured.peak_bytes / 1e9:.2f} GB | {note} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--tokenizer", default="", help="cl100k_base as a tokenizer.json, for datatrove")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES))
    given = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(given.corpora, given.peers, given.tokenizer, given.runs, Path(work))
        for name in given.cases.split(","):
            print(f"### {name}: {CASES[name].__doc__}\n\n{table(list(CASES[name](bench)))}\n", flush=True)


if __name__ == "__main__":
    main()
