"""Makes two Parquet corpora of the same bytes: one of distinct documents, one of copies of a single document.

python -m benchmarks.copies --source=debdocs.jsonl.gz --output=corpora --documents=1000000

Every document has DOCUMENT_BYTES of words. A distinct one is words of the source, each with the document's number
behind it: no two documents have a word in common. The copied one is the first of them.
"""

import argparse
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa

from benchmarks.corpus import GROUP_BYTES, SCHEMA, Corpus, groups

DOCUMENT_BYTES = 2_000
WORD = re.compile("[a-z]+")


def passages(source: Path, text_bytes: int) -> list[str]:
    """English words of the source in lower case, in pieces of DOCUMENT_BYTES, `text_bytes` of them in all."""
    found: list[str] = []
    for table, _ in groups(source):
        english = (row["text"] for row in table.to_pylist() if row["lang"] == "en")
        words = " ".join(WORD.findall(" ".join(english).lower()))
        found += (words[at : at + DOCUMENT_BYTES] for at in range(0, len(words), DOCUMENT_BYTES))
        if len(found) * DOCUMENT_BYTES >= text_bytes:
            break
    return found


def distinct(source: Path, documents: int) -> Iterator[str]:
    """Texts without a word in common."""
    found = passages(source, 2 * GROUP_BYTES)
    for number in range(documents):
        text = found[number % len(found)].replace(" ", f"{number:07} ")
        yield text[:DOCUMENT_BYTES]


def write(texts: Iterator[str], folder: Path, documents: int) -> None:
    """A corpus of these texts."""
    corpus = Corpus(folder, documents * DOCUMENT_BYTES)
    numbered = enumerate(texts)
    while part := list(islice(numbered, GROUP_BYTES // DOCUMENT_BYTES)):
        rows = [{"id": f"{number:07}", "lang": "en", "text": text} for number, text in part]
        corpus.add(pa.Table.from_pylist(rows, schema=SCHEMA), len(rows) * DOCUMENT_BYTES)
    corpus.close()


def make(source: Path, output: Path, documents: int) -> None:
    """Makes the corpora `output/distinct` and `output/copies`."""
    write(distinct(source, documents), output / "distinct", documents)
    (copied,) = distinct(source, 1)
    write((copied for _ in range(documents)), output / "copies", documents)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True, help="JSONL as benchmarks.corpus reads it")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder; gets the folders distinct and copies"
    )
    parser.add_argument("--documents", type=int, default=1_000_000, help="in each (default: %(default)s)")
    given = parser.parse_args()
    make(given.source, given.output, given.documents)
