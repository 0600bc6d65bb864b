"""JSON Lines: an object a line. Parsed natively, a block of lines at a time."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json

from beam_etl.io.errors import one_line
from beam_etl.io.formats.base import FileEntry, Limits, Rows, Split, Writer, from_columns
from beam_etl.io.formats.json_types import infer_schema
from beam_etl.io.formats.line_format import LineFormat, LineReader
from beam_etl.io.formats.lines import Lines, LongLine, UnreadableError, split_lines
from beam_etl.io.isolate import by_halves, entering
from beam_etl.io.json_text import json_line
from beam_etl.io.rejects import Reject, reject_record

INFER_BYTES = 1 << 20
"""Types are inferred from the lines that begin in the first MiB."""

_OPEN, _CLOSE = ord("{"), ord("}")
_BLANKS = b" \t\r"
_ROW = re.compile(r" in row \d+$")


class JsonLines(LineFormat):
    """`.jsonl`, `.ndjson`, and `.json` that holds lines; .gz and .zst. Position: byte offset of the line."""

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson", ".json")
    suffix = ".jsonl"
    inferred = True

    def schema(self, path: str) -> pa.Schema:
        return infer_schema(_first_lines(path, self.limits))

    def open(self, split: Split, stored: pa.Schema | None) -> LineReader:
        columns = self.schema(split.file.path) if stored is None else stored
        return LineReader(split, columns, self.limits, partial(_reading, split.file.path, columns))

    def writer(self, sink: Any, columns: pa.Schema) -> Writer:
        return _JsonWriter(sink)


def _reading(
    path: str, stored: pa.Schema, names: Sequence[str], complete: bool
) -> Callable[[Lines], Iterator[Rows | Reject]]:
    return partial(read_lines, path, options=parse_options(stored, names, complete))


def parse_options(stored: pa.Schema, names: Sequence[str], complete: bool) -> Any:
    """What `read_lines` takes; args are those of `SplitReader.rows`, and all columns."""
    wanted = pa.schema([stored.field(name) for name in names])
    return pa.json.ParseOptions(
        explicit_schema=wanted, unexpected_field_behavior="error" if complete else "ignore"
    )


def read_lines(path: str, lines: Lines, options: Any) -> Iterator[Rows | Reject]:
    """One batch of all good lines, and a reject for each other one. Blank lines are no records."""
    lines, objects = _object_lines(lines)
    pieces: list[pa.Table] = []
    good: list[np.ndarray] = []
    bad = [(line, "not a JSON object") for line in np.flatnonzero(~objects).tolist()]
    for start, stop in _runs(objects):
        for first, last, result in by_halves(lambda i, j: _parse(lines, i, j, options), start, stop):
            if isinstance(result, Exception):
                bad.append((first, _reason(result)))
            else:
                pieces.append(result)
                good.append(np.arange(first, last))
    for line, reason in sorted(bad):
        yield reject_record(path, int(lines.positions[line]), reason, lines.record(line))
    if pieces:
        chosen = lines.some(np.concatenate(good))
        whole = pa.concat_tables(pieces).combine_chunks().to_batches() if len(pieces[0].columns) else []
        batch = whole[0] if whole else from_columns({}, len(chosen.starts))
        yield Rows(batch, chosen.positions, chosen.record, chosen.stored)


def _object_lines(lines: Lines) -> tuple[Lines, np.ndarray]:
    """The lines that are not blank, and which of them look like an object from outside.

    A line end between `}` and `{` is never inside an object, so when every line looks so, and as many objects
    are parsed as there are lines, each line is one object. (A line that is `null` would end the process in
    Arrow.)
    """
    view = np.frombuffer(lines.data, np.uint8)
    filled = lines.stops > lines.starts
    first = view[np.minimum(lines.starts, len(view) - 1)]
    objects = filled & (first == _OPEN) & (view[lines.stops - 1] == _CLOSE)
    blank = ~filled
    for line in np.flatnonzero(filled & ~objects).tolist():
        content = lines.data[lines.starts[line] : lines.stops[line]].strip(_BLANKS)
        blank[line] = not content
        objects[line] = content.startswith(b"{") and content.endswith(b"}")
    return lines.some(~blank), objects[~blank]


def _runs(mask: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and stop of each run of True."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _parse(lines: Lines, start: int, stop: int, options: Any) -> pa.Table:
    begin, end = int(lines.starts[start]), int(lines.stops[stop - 1])
    entering("lines", lines.base + begin, lines.base + end)
    block = pa.py_buffer(lines.data).slice(begin, end - begin)
    table = pa.json.read_json(
        pa.BufferReader(block),
        read_options=pa.json.ReadOptions(use_threads=False, block_size=end - begin + 1),
        parse_options=options,
    )
    if table.num_rows != stop - start:
        raise ValueError("more than one value on the line")
    return table


def _reason(error: Exception) -> str:
    reason = _ROW.sub("", one_line(error).removeprefix("JSON parse error: "))
    return (
        reason if reason != "unexpected field" else "a field that no record had where the types were inferred"
    )


def _first_lines(path: str, limits: Limits) -> Iterator[bytes]:
    start = Split(FileEntry(0, path, 0), 0, INFER_BYTES)
    seen = 0
    try:
        for lines in split_lines(start, INFER_BYTES, limits):
            if isinstance(lines, LongLine):
                continue
            for line in range(len(lines.starts)):
                yield lines.data[lines.starts[line] : lines.stops[line]]
            seen += len(lines.data)
            if seen >= INFER_BYTES:
                return
    except UnreadableError as error:
        if not seen:
            raise error.cause from error


class _JsonWriter:
    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def write(self, batch: pa.RecordBatch) -> None:
        self._sink.write(b"".join(json_line(record) + b"\n" for record in batch.to_pylist()))

    def close(self) -> None:
        """Nothing is held back."""
