"""token_count and tokenize beside what a user would pick instead: one run, one table.

    python -m benchmarks.token_count --corpora=FOLDER --peers=PEERS_ENVIRONMENT [--runs=3] [--cases=words,...]

CORPORA holds the folders 0.14gb, 0.25gb, 1gb and 2gb that benchmarks.corpus makes. PEERS_ENVIRONMENT is a virtual
environment with benchmarks/peers/requirements.txt installed.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.bench import SIZES, Bench, Row, growth_rows, parser, run
from benchmarks.measure import Measured, measure

ID_BYTES = 4
"""Of an id of 100,000, here and there."""

CL100K_MARK = 100_257
PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
"""How a tokenizer.json finds a token that is added."""


@dataclass(frozen=True)
class TokenBench(Bench):
    """With the vocabulary that datatrove loads."""

    tokenizer: str

    def ours(self, corpus: str, tokenizer: str) -> list[str]:
        flags = ("--by=language", f"--tokenizer={tokenizer}")
        return self.job("token_count", self.corpora / corpus, *flags)

    def total(self) -> int:
        """Tokens that our last run counted."""
        (path,) = (self.work / "ours/totals").glob("*.parquet")
        return int(pq.read_table(path)["tokens"][0].as_py())


def tokens(bench: TokenBench) -> Iterator[Row]:
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
        f"{theirs.beside(ours)}; {same}",
    )


def shards(bench: TokenBench) -> Iterator[Row]:
    """Token ids in shards: datatrove's DocumentTokenizer with 2 workers shuffles within each of its files."""
    corpus = "0.25gb"
    flags = ("--tokenizer=tiktoken:cl100k_base", "--shards=2")
    ours = measure(bench.job("tokenize", bench.corpora / corpus, *flags), bench.runs)
    ids = sum(file.stat().st_size for file in (bench.work / "ours/tokens").glob("*.bin")) // ID_BYTES
    mark = "<|endoftext|>"
    marked = bench.work / "marked.json"
    vocabulary = json.loads(Path(bench.tokenizer).read_text())
    vocabulary["added_tokens"].append({"id": CL100K_MARK, "content": mark, "special": True, **PLAIN})
    marked.write_text(json.dumps(vocabulary))
    peer = bench.peer("datatrove_tokenize.py", bench.corpora / corpus, marked, mark, ID_BYTES, 2)
    theirs = measure(peer, 1)
    counted = int(theirs.stdout.split()[-1])
    same = "equal counts" if counted == ids else f"OTHER COUNT {counted:,}"
    yield f"beam_etl tokenize, 100k vocabulary, {corpus}", ours, f"{ids:,} ids"
    yield (
        f"datatrove DocumentTokenizer, 2 workers, {corpus}",
        theirs,
        f"{theirs.beside(ours)}; {same}",
    )


def words(bench: TokenBench) -> Iterator[Row]:
    """Words by language, against the floor and what counts words otherwise."""
    corpus = "1gb"
    ours = measure(bench.ours(corpus, "words"), bench.runs)
    yield f"beam_etl, words, {corpus}", ours, f"{bench.total():,} words"

    def peer(name: str, measured: Measured) -> Row:
        return f"{name}, {corpus}", measured, measured.beside(ours)

    folder, columns = bench.corpora / corpus, ("lang", "text")
    yield peer("floor: read_row_group into ParquetWriter", bench.floor(folder, columns))
    peers = {
        "floor: read_row_group": bench.peer("floor.py", folder, ",".join(columns)),
        "Polars": bench.peer("polars_words.py", folder),
        "DuckDB": bench.peer("duckdb_words.py", folder),
        "Beam, a row an element": bench.peer("row_pipeline.py", folder),
    }
    for name, command in peers.items():
        runs = 1 if "row an" in name or name == "DuckDB" else bench.runs
        yield peer(name, measure(command, runs))


def growth(bench: TokenBench) -> Iterator[Row]:
    """Marginal cost, and memory that doesn't depend on the input."""
    found = {corpus: measure(bench.ours(corpus, "words"), bench.runs) for corpus in SIZES}
    yield from growth_rows("beam_etl, words", found)


def tiny(bench: TokenBench) -> Iterator[Row]:
    """100 documents, from the start of the process to its end."""
    folder = bench.work / "tiny"
    folder.mkdir(exist_ok=True)
    lines = (json.dumps({"lang": "en", "text": f"a document of some words, number {i}"}) for i in range(100))
    (folder / "tiny.jsonl").write_text("\n".join(lines))
    runs = max(bench.runs, 5)
    bare = measure([sys.executable, "-c", "import apache_beam"], runs)
    ours = measure(bench.job("token_count", folder, output="tiny-out"), runs)
    yield "import apache_beam", bare, ""
    bound = 1.5 * bare.seconds + 1
    yield "beam_etl, 100 documents", ours, f"{ours.seconds / bound:.2f} of 1.5 x the import + 1 s"


CASES = {case.__name__: case for case in (tiny, words, growth, tokens, shards)}


def main() -> None:
    flags = parser(__doc__, tuple(CASES))
    flags.add_argument("--tokenizer", default="", help="cl100k_base as a tokenizer.json, for datatrove")
    run(TokenBench, CASES, flags.parse_args())


if __name__ == "__main__":
    main()
