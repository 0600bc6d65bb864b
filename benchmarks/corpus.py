"""Makes the Parquet corpora that the benchmarks read, each the first bytes of text of one JSONL file.

python -m benchmarks.corpus --source=debdocs.jsonl.gz --output=corpora --sizes=0.25,1,2
"""

import argparse
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema(
    [*((name, pa.string()) for name in ("id", "url", "domain", "lang", "date")), ("text", pa.large_string())]
)
FILE_BYTES = 128 << 20
GROUP_BYTES = 32 << 20
"""Of text: a file, and a row group."""


def groups(source: Path) -> Iterator[tuple[pa.Table, int]]:
    """Row groups of documents, each with the UTF-8 bytes of its text."""
    rows: list[dict[str, Any]] = []
    held = 0
    with source.open("rb") as stored, gzip.open(stored) if source.suffix == ".gz" else stored as lines:
        for line in lines:
            row = json.loads(line)
            rows.append({name: row.get(name) for name in SCHEMA.names})
            held += len(row["text"].encode())
            if held >= GROUP_BYTES:
                yield pa.Table.from_pylist(rows, schema=SCHEMA), held
                rows, held = [], 0
    if rows:
        yield pa.Table.from_pylist(rows, schema=SCHEMA), held


class Corpus:
    """A folder of files that takes row groups until it has enough."""

    def __init__(self, folder: Path, text_bytes: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._left = text_bytes
        self._files = self._in_file = 0
        self._writer: pq.ParquetWriter | None = None

    @property
    def full(self) -> bool:
        return self._left <= 0

    def add(self, table: pa.Table, text_bytes: int) -> None:
        if self.full:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._folder / f"{self._files:03d}.parquet", SCHEMA, compression="zstd"
            )
        self._writer.write_table(table)
        self._left -= text_bytes
        self._in_file += text_bytes
        if self.full or self._in_file >= FILE_BYTES:
            self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._files += 1
            self._in_file = 0


def make(source: Path, output: Path, sizes: list[str]) -> None:
    """Makes the corpora `output/SIZEgb`, sizes in GB of text."""
    corpora = [Corpus(output / f"{size}gb", int(float(size) * 1e9)) for size in sizes]
    for table, text_bytes in groups(source):
        for corpus in corpora:
            corpus.add(table, text_bytes)
        if all(corpus.full for corpus in corpora):
            break
    for corpus in corpora:
        corpus.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--source", type=Path, required=True, help="JSONL with id, url, domain, lang, date, text"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder; gets one folder a size")
    parser.add_argument("--sizes", default="0.14,0.25,1,2", help="GB of text, comma-separated")
    given = parser.parse_args()
    make(given.source, given.output, given.sizes.split(","))
