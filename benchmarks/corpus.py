"""Makes the Parquet corpora that the benchmarks read: the first N bytes of text of a JSONL file, in files of 128 MB.

python -m benchmarks.corpus --source=debdocs.jsonl.gz --output=corpora --sizes=0.25,1,2
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = ("id", "url", "domain", "lang", "date", "text")
FILE_BYTES = 128 << 20
GROUP_BYTES = 32 << 20


def documents(source: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Each document with the UTF-8 bytes of its text."""
    opened = (
        gzip.open(source, "rt", encoding="utf-8") if source.suffix == ".gz" else source.open(encoding="utf-8")
    )
    with opened as lines:
        for line in lines:
            row = json.loads(line)
            yield {name: row.get(name) for name in COLUMNS}, len(row["text"].encode())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--source", type=Path, required=True, help="a JSONL file with id, url, domain, lang, date, text"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder; gets one folder a size")
    parser.add_argument("--sizes", default="0.25,1,2", help="GB of text, comma-separated, ascending")
    given = parser.parse_args()
    bounds = {name: int(float(name) * 1e9) for name in given.sizes.split(",")}
    schema = pa.schema([(name, pa.large_string() if name == "text" else pa.string()) for name in COLUMNS])
    written, files, rows, held = 0, 0, [], 0
    writers: dict[str, pq.ParquetWriter] = {}
    file_bytes = 0

    def flush() -> None:
        nonlocal rows, held, file_bytes, files
        if not rows:
            return
        table = pa.Table.from_pylist(rows, schema=schema)
        file_bytes += held
        for name, bound in bounds.items():
            if written <= bound + held:
                if name not in writers:
                    folder = given.output / f"{name}gb"
                    folder.mkdir(parents=True, exist_ok=True)
                    writers[name] = pq.ParquetWriter(
                        folder / f"{files:03d}.parquet", schema, compression="zstd"
                    )
                writers[name].write_table(table)
        if file_bytes >= FILE_BYTES:
            close()
            files += 1
            file_bytes = 0
        rows, held = [], 0

    def close() -> None:
        for writer in writers.values():
            writer.close()
        writers.clear()

    for row, size in documents(given.source):
        rows.append(row)
        held += size
        written += size
        if held >= GROUP_BYTES:
            flush()
        if written > max(bounds.values()):
            break
    flush()
    close()
    sys.stdout.write(f"{written / 1e9:.2f} GB of text in {given.output}\n")


if __name__ == "__main__":
    main()
