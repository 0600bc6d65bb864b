"""Makes Parquet corpora of the same bytes: uniform documents, ones with a word in common, and ones beside a huge one.

python -m benchmarks.hot --source=debdocs.jsonl.gz --output=corpora --documents=300000 --huge_bytes=1000000000
"""

import argparse
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from benchmarks.copies import DOCUMENT_BYTES, distinct, passages, write

HOT = "everywhere"


def hot(source: Path, documents: int) -> Iterator[str]:
    """Distinct texts of the same size that have one word in common."""
    for text in distinct(source, documents):
        yield f"{HOT} {text}"[:DOCUMENT_BYTES]


def huge(source: Path, size: int) -> str:
    """One text of so many bytes."""
    text = " ".join(passages(source, 64 << 20))
    return (text * (size // len(text) + 1))[:size]


def make(source: Path, output: Path, documents: int, huge_bytes: int) -> None:
    """Makes the corpora `output/uniform`, `output/hot` and `output/huge`."""
    rest = max(documents - huge_bytes // DOCUMENT_BYTES, 1)
    write(distinct(source, documents), output / "uniform", documents)
    write(hot(source, documents), output / "hot", documents)
    write(chain([huge(source, huge_bytes)], distinct(source, rest)), output / "huge", documents)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True, help="JSONL as benchmarks.corpus reads it")
    parser.add_argument("--output", type=Path, required=True, help="folder; gets a folder a corpus")
    parser.add_argument(
        "--documents", type=int, default=600_000, help="of 2,000 bytes (default: %(default)s)"
    )
    parser.add_argument(
        "--huge_bytes", type=int, default=1_000_000_000, help="of the one document (default: %(default)s)"
    )
    given = parser.parse_args()
    make(given.source, given.output, given.documents, given.huge_bytes)
