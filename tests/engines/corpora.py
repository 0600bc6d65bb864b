"""Corpora for engines: real documents in files that several workers read, and more of them than there are."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Document = dict[str, Any]

COLUMNS = pa.schema(
    [*((name, pa.string()) for name in ("id", "url", "domain", "lang", "date")), ("text", pa.large_string())]
)
UNREADABLE = b'{"id": "cut off", "text": "no end\n'
GROUP_ROWS = 1000


def deal(source: Path, folder: Path, files: int) -> Path:
    """The lines of a file, byte for byte, dealt to several; the first has one that is no JSON."""
    folder.mkdir(parents=True)
    with gzip.open(source) as lines:
        dealt: list[list[bytes]] = [[] for _ in range(files)]
        for number, line in enumerate(lines):
            dealt[number % files].append(line)
    dealt[0].insert(7, UNREADABLE)
    for number, some in enumerate(dealt):
        (folder / f"{number:03d}.jsonl").write_bytes(b"".join(some))
    return folder


def multiply(documents: Sequence[Document], folder: Path, text_bytes: int) -> Path:
    """At least so many bytes of text: variants of the documents, a file each.

    Of four variants one has no word in common with any other, one is the same text, one differs in its first words,
    and one in its last third.
    """
    folder.mkdir(parents=True)
    once = sum(len(row["text"].encode()) for row in documents)
    for variant in range(-(-text_bytes // once)):
        rows = [{**row, "text": _vary(row["text"], variant)} for row in documents]
        rows = [{**row, "id": f"{row['id']}-{variant}"} for row in rows]
        table = pa.Table.from_pylist(rows, COLUMNS)
        pq.write_table(
            table, folder / f"{variant:03d}.parquet", compression="zstd", row_group_size=GROUP_ROWS
        )
    return folder


def _vary(text: str, variant: int) -> str:
    kind, mark = variant % 4, f"v{variant}"
    if kind == 0:
        return text.replace(" ", f"{mark} ")
    if kind == 1:
        return text
    if kind == 2:
        return f"{mark} {text}"
    third = len(text) * 2 // 3
    return text[:third] + text[third:].replace(" ", f"{mark} ")


def by_domain(documents: Iterable[Document], folder: Path, files: int) -> Path:
    """The documents in files of lines, all of a domain in one."""
    folder.mkdir(parents=True)
    dealt: list[list[str]] = [[] for _ in range(files)]
    for row in documents:
        dealt[zlib.crc32(row["domain"].encode()) % files].append(json.dumps(row))
    for number, some in enumerate(dealt):
        (folder / f"{number:03d}.jsonl").write_text("\n".join(some) + "\n", encoding="utf-8")
    return folder


def copies(folder: Path, count: int, files: int, text: str) -> Path:
    """So many documents of one text."""
    folder.mkdir(parents=True)
    for number in range(files):
        rows = range(number, count, files)
        table = pa.table({"id": [f"copy-{row:07d}" for row in rows], "text": [text] * len(rows)})
        pq.write_table(table, folder / f"{number:03d}.parquet", compression="zstd", row_group_size=20_000)
    return folder


def read_lines(path: Path) -> Iterator[Document]:
    """The documents of a compressed file of lines."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def read_tables(folder: Path) -> Iterator[Document]:
    """The documents of a folder of Parquet files."""
    for path in sorted(folder.iterdir()):
        yield from pq.read_table(path).to_pylist()
