"""Files of a dataset, and where there are many, the table that lists them beside the manifest."""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl.io.stores import store_of

LIST_NAME = re.compile(r"(\d{6,})-(\w+?)(?:_[0-9a-f]{16})?\.files\.parquet")
"""Of a list: number and run of its manifest."""

_LIST = pa.schema(
    [
        pa.field("table", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
    ]
)
_PANE = pa.field("pane", pa.string())
"""JSON of a file's Pane; there only where some file has one."""


class DatasetError(ValueError):
    """A folder is not the dataset that was expected. The message says what was found and what to do."""


@dataclass(frozen=True, slots=True)
class Pane:
    """Which pane of a stream's window a file holds. Times are microseconds since 1970, UTC."""

    stream: str
    start: int
    """Of the window,"""
    end: int
    """which ends before this."""
    index: int
    """From 0, over all tables of the window; of files that were compacted the highest."""
    timing: str
    """early, on time or late."""
    partition: int | None = None
    """Of an accumulating result: the partition of the shuffle that it comes from; its later files have all its rows."""
    firing: int | None = None
    """Of an accumulating result: which firing of that partition it is, from 0."""
    first: int | None = None
    """Of files that were compacted: the lowest pane."""

    def to_json(self) -> dict[str, Any]:
        """As a manifest has it."""
        told = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: value for name, value in told if value is not None}


@dataclass(frozen=True, slots=True)
class DataFile:
    """One finished file of a table."""

    table: str
    path: str
    """Below the dataset's folder, with `/`."""
    rows: int
    bytes: int
    sha256: str
    pane: Pane | None = None
    """Of a stream's file."""

    def to_json(self) -> dict[str, Any]:
        """As a manifest has it, below its table. `asdict` would take ten times as long, and there are thousands."""
        told = {"path": self.path, "rows": self.rows, "bytes": self.bytes, "sha256": self.sha256}
        return {**told, "pane": self.pane.to_json()} if self.pane else told


def list_name(number: int, run: str, files: Sequence[DataFile]) -> str:
    """A name with the run and a hash of the paths, so that of two writers, or attempts of one, each has its own."""
    paths = hashlib.blake2b("\n".join(file.path for file in files).encode(), digest_size=8)
    return f"{number:06d}-{run}_{paths.hexdigest()}.files.parquet"


def encode_list(files: Sequence[DataFile]) -> bytes:
    """The table of these files, as it is stored."""
    columns = [[getattr(file, name) for file in files] for name in _LIST.names]
    listed = _LIST
    if any(file.pane for file in files):
        listed = _LIST.append(_PANE)
        columns.append([json.dumps(file.pane.to_json()) if file.pane else None for file in files])
    arrays = [pa.array(values, column.type) for values, column in zip(columns, listed, strict=True)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=listed), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def read_list(folder: str, entry: Mapping[str, str]) -> tuple[DataFile, ...]:
    """The files that a table in `folder` lists.

    Args:
      folder: where it is.
      entry: its `path` there and its `sha256`, as a manifest has them.

    Raises:
      DatasetError: it was changed since it was written.
      FileNotFoundError: it is gone.
    """
    path = os.path.join(folder, entry["path"])
    encoded = store_of(path).read(path)
    if hashlib.sha256(encoded).hexdigest() != entry["sha256"]:
        raise DatasetError(f"{path}: the digest does not match: the list was changed after it was written")
    found = pq.read_table(pa.BufferReader(encoded))
    columns = [found.column(name).to_pylist() for name in _LIST.names]
    if _PANE.name in found.column_names:
        told = found.column(_PANE.name).to_pylist()
        columns.append([Pane(**json.loads(pane)) if pane else None for pane in told])
    return tuple(map(DataFile, *columns))


def absent_files(dataset: str, files: Sequence[DataFile]) -> list[DataFile]:
    """Those of the files that aren't in the tables of a dataset in an object store, or have another size."""
    found = store_of(dataset).look_at(os.path.join(dataset, file.path) for file in files)
    return [
        file for file, there in zip(files, found, strict=True) if there is None or there.bytes != file.bytes
    ]
