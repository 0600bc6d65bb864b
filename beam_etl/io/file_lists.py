"""Files of a dataset, and where there are many, the table that lists them beside the manifest."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


class DatasetError(ValueError):
    """A folder is not the dataset that was expected. The message says what was found and what to do."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One finished file of a table."""

    table: str
    path: str
    """Below the dataset's folder, with `/`."""
    rows: int
    bytes: int
    sha256: str


def list_name(number: int, run: str, files: Sequence[DataFile]) -> str:
    """A name with the run and a hash of the paths, so that of two writers, or attempts of one, each has its own."""
    paths = hashlib.blake2b("\n".join(file.path for file in files).encode(), digest_size=8)
    return f"{number:06d}-{run}_{paths.hexdigest()}.files.parquet"


def encode_list(files: Sequence[DataFile]) -> bytes:
    """The table of these files, as it is stored."""
    columns = [[getattr(file, name) for file in files] for name in _LIST.names]
    arrays = [pa.array(values, column.type) for values, column in zip(columns, _LIST, strict=True)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=_LIST), sink, compression="zstd")
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
    columns = pq.read_table(pa.BufferReader(encoded)).select(_LIST.names).to_pydict().values()
    return tuple(map(DataFile, *columns))
