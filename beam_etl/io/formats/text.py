"""Plain text: a document a line (`text`), or a document a file (`textfile`). The only column is `text`."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.access import PIECE_BYTES, Stream, compression
from beam_etl.io.errors import InputError, is_content_error
from beam_etl.io.formats.base import Copier, FileEntry, Limits, Rows, Split, Writer, from_columns
from beam_etl.io.formats.line_format import LineFormat, LineReader
from beam_etl.io.formats.lines import BYTE_ORDER_MARK, Lines, UnreadableError
from beam_etl.io.formats.parquet import Parquet
from beam_etl.io.formats.rest import reject_unreadable
from beam_etl.io.rejects import Reject

COLUMNS = pa.schema([(schema.TEXT, pa.large_string())])


class TextLines(LineFormat):
    """`.txt`, .gz and .zst: each line is a document, an empty one too. Position: byte offset of the line."""

    name = "text"
    suffixes: tuple[str, ...] = (".txt",)
    suffix = ".txt"
    inferred = False

    def schema(self, path: str) -> pa.Schema:
        with Stream(path) as stream:
            stream.read(1)  # so that what can't be decompressed shows
        return COLUMNS

    def open(self, split: Split, stored: pa.Schema | None) -> LineReader:
        return LineReader(split, COLUMNS, self.limits, _reading)

    def writer(self, sink: Any, columns: pa.Schema) -> Writer:
        if schema.TEXT not in columns.names:
            raise InputError(f"text files hold the column 'text' only; there are {', '.join(columns.names)}")
        return _LineWriter(sink)


class TextFiles(TextLines):
    """`--format=textfile`: each file is a document, an empty one too. Position: 0. Not written; copied as Parquet."""

    name = "textfile"
    by_record = False
    suffixes: tuple[str, ...] = ()
    suffix = ""

    def splits(self, file: FileEntry, split_bytes: int) -> Iterator[Split]:
        yield Split(file, 0, file.bytes)

    def open(self, split: Split, stored: pa.Schema | None) -> "_FileReader":  # type: ignore[override]
        return _FileReader(split, self.limits)

    def writer(self, sink: Any, columns: pa.Schema) -> Writer:
        raise InputError("textfile is a format to read; write parquet, avro, jsonl or text")

    def copy_suffix(self, path: str) -> str:
        return Parquet.suffix

    def copier(self, sink: Any, path: str, columns: pa.Schema) -> Copier:
        return Parquet().copier(sink, path, columns)


def _reading(names: Sequence[str], complete: bool) -> Callable[[Lines], Iterator[Rows]]:
    return partial(_rows, names)


def _rows(names: Sequence[str], lines: Lines) -> Iterator[Rows]:
    yield Rows(_batch(_texts(lines), names), lines.positions, lines.record, lines.stored)


class _FileReader:
    schema = COLUMNS

    def __init__(self, split: Split, limits: Limits) -> None:
        self._split = split
        self._limits = limits

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        path, most = self._split.file.path, self._limits.record_bytes
        with Stream(path) as stream:
            try:
                pieces, size = [], 0
                while size <= most and (piece := stream.read(min(most, PIECE_BYTES))):
                    pieces.append(piece)
                    size += len(piece)
            except Exception as error:
                if not is_content_error(error):
                    raise
                yield reject_unreadable(self._split, UnreadableError(0, 0, error))
                return
        content = b"".join(pieces)
        if size > most:
            yield reject_unreadable(self._split, UnreadableError(0, 0, ValueError(_too_long(path, most))))
            return
        text = pa.array([content.removeprefix(BYTE_ORDER_MARK)], pa.large_binary()).view(pa.large_string())
        yield Rows(_batch(text, names), np.zeros(1, np.int64), lambda _: content)


def _too_long(path: str, most: int) -> str:
    packed = " decompressed" if compression(path) else ""
    return f"a document of over {most} bytes{packed}, which is the limit"


def _batch(texts: pa.Array, names: Sequence[str]) -> pa.RecordBatch:
    return from_columns(dict.fromkeys(names, texts), len(texts))


def _texts(lines: Lines) -> pa.Array:
    """The content of the lines as one array, not checked yet to be UTF-8."""
    lengths = lines.stops - lines.starts
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    content: Any = lines.data.replace(b"\n", b"")
    if len(content) != offsets[-1]:  # there are bytes between lines besides their LF
        edges = np.zeros(len(lines.data) + 1, np.int8)  # +1 where content begins, -1 where it ends
        np.add.at(edges, lines.starts, 1)
        np.add.at(edges, lines.stops, -1)
        content = np.frombuffer(lines.data, np.uint8)[np.cumsum(edges[:-1], dtype=np.int8).view(bool)]
    return pa.LargeStringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(content))


class _LineWriter:
    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def write(self, batch: pa.RecordBatch) -> None:
        for text in batch.column(schema.TEXT).to_pylist():
            if "\n" in text:
                raise InputError(
                    f"a document has several lines ({text[:40]!r}...): text files hold one a line. "
                    f"Write jsonl or parquet."
                )
            self._sink.write(text.encode() + b"\n")

    def close(self) -> None:
        """Nothing is held back."""
