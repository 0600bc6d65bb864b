"""Documents as files of every format, written by others, and reading them without a pipeline."""

import gzip
import io
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from beam_etl.io.columns import Columns
from beam_etl.io.formats import FileEntry, format_named, format_of
from beam_etl.io.formats.base import limited
from beam_etl.io.read import read_split
from beam_etl.io.rejects import Reject

Document = dict[str, Any]

TEXTS = (
    "plain",
    "",
    "two\nlines and a\r\nthird",
    "zażółć gęślą jaźń — 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 東京 🇯🇵",
    'a NUL \x00, a quote " and a backslash \\',
    '{"looks": "like"}\n{"two": "records"}',
    "long " * 400,
    "\ufeffmark",
)


def documents(count: int) -> list[Document]:
    """Documents whose sizes and scripts differ."""
    return [
        {
            "id": f"doc-{number}",
            "url": f"https://www.site-{number % 7}.co.uk/page/{number}",
            "lang": ("en", "de", None)[number % 3],
            "date": f"2026-0{number % 9 + 1}-15T23:59:{number % 60:02d}Z",
            "score": number / 8,
            "text": f"{TEXTS[number % len(TEXTS)]}{number}" if number % len(TEXTS) != 1 else "",
        }
        for number in range(count)
    ]


def json_lines(rows: Sequence[Document]) -> bytes:
    return b"".join(
        json.dumps(row, ensure_ascii=index % 2 == 0).encode() + b"\n" for index, row in enumerate(rows)
    )


def parquet(rows: Sequence[Document]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink, row_group_size=37, data_page_size=1000)
    return sink.getvalue()


AVRO_SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Document",
        "fields": [
            {"name": name, "type": ["null", "double" if name == "score" else "string"]}
            for name in ("id", "url", "lang", "date", "score", "text")
        ],
    }
)


def avro(rows: Sequence[Document], codec: str = "deflate") -> bytes:
    sink = io.BytesIO()
    fastavro.writer(sink, AVRO_SCHEMA, rows, codec=codec, sync_interval=3000)
    return sink.getvalue()


@dataclass(frozen=True)
class Stored:
    """A way to store documents."""

    name: str
    encode: Callable[[Sequence[Document]], bytes]
    positions: Callable[[Sequence[Document]], list[int]]
    """Of the documents, told without our code."""


def row_numbers(rows: Sequence[Document]) -> list[int]:
    return list(range(len(rows)))


def line_offsets(rows: Sequence[Document]) -> list[int]:
    lines = io.BytesIO(json_lines(rows))
    offsets = []
    while True:
        offsets.append(lines.tell())
        if not lines.readline():
            return offsets[:-1]


STORED = (
    Stored("a.parquet", parquet, row_numbers),
    Stored("a.avro", avro, row_numbers),
    Stored("a.jsonl", json_lines, line_offsets),
    Stored("a.jsonl.gz", lambda rows: gzip.compress(json_lines(rows)), line_offsets),
    Stored("a.ndjson.zst", lambda rows: zstandard.compress(json_lines(rows)), line_offsets),
)


@dataclass(frozen=True)
class Read:
    """All that a file gave."""

    batches: list[pa.RecordBatch]
    rejects: list[Reject]

    @property
    def rows(self) -> list[Document]:
        return [row for batch in self.batches for row in batch.to_pylist()]

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]


def read(
    path: Path | str,
    columns: Columns | None = None,
    *,
    split_bytes: int = 1 << 30,
    number: int = 0,
    format: str | None = None,
    stored: pa.Schema | None = None,
) -> Read:
    """Reads a file, split by split."""
    found = format_named(format) if format else format_of(str(path))
    assert found is not None
    known = limited(found, (columns or Columns()).limits)
    size = Path(path).stat().st_size if Path(path).exists() else 0
    file = FileEntry(number, str(path), size)
    if stored is None and known.inferred and size:
        stored = known.schema(str(path))  # as a launcher does, once
    given = Read([], [])
    for split in known.splits(file, split_bytes):
        for item in read_split(split, known, columns or Columns(), stored):
            (given.rejects if isinstance(item, Reject) else given.batches).append(item)  # type: ignore[arg-type]
    return given


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


KEPT: defaultdict[str, list[pa.RecordBatch]] = defaultdict(list)
"""What a pipeline of this process was told to keep."""


def keep(batch: pa.RecordBatch, name: str) -> None:
    KEPT[name].append(batch)
