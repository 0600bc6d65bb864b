"""Makes Parquet corpora of the same bytes: uniform documents, ones with a word in common, and ones beside a huge one.

python -m benchmarks.hot --source=debdocs.jsonl.gz --output=corpora --documents=300000 --huge_bytes=1000000000
"""

import argparse
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from benchmarks.copies import DOCUMENT_BYTES, passages, write

HOT = "everywhere"
PASSAGES_BYTES = 64 << 20
"""Of text that differs; then it is repeated."""


def documents_of(found: list[str], count: int, prefix: str = "") -> Iterator[str]:
    """So many texts of DOCUMENT_BYTES, each with the prefix."""
    for number in range(count):
        yield f"{prefix}{found[number % len(found)]}"[:DOCUMENT_BYTES]


def make(source: Path, output: Path, documents: int, huge_bytes: int) -> None:
    """Makes the corpora `output/uniform`, `output/hot` and `output/huge`."""
    found = passages(source, PASSAGES_BYTES)
    huge = " ".join(found) * (huge_bytes // PASSAGES_BYTES + 1)
    rest = max(documents - huge_bytes // DOCUMENT_BYTES, 1)
    write(documents_of(found, documents), output / "uniform", documents)
    write(documents_of(found, documents, f"{HOT} "), output / "hot", documents)
    write(chain([huge[:huge_bytes]], documents_of(found, rest)), output / "huge", documents)


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
