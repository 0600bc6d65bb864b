"""One file of a table: opened in a run's staging folder, hashed while it is written, and told when it is closed."""

import hashlib
import os
from collections.abc import Callable
from typing import Any, BinaryIO, TypeAlias

import pyarrow as pa

from beam_etl.io import manifest, staging

Finished: TypeAlias = tuple[manifest.DataFile, dict[str, str]]
"""A finished file, its path still below the staging folder's layout, and its column types."""


class HashedFile:
    """A file that is hashed while it is written."""

    def __init__(self, path: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._file: BinaryIO = open(path, "xb")  # noqa: SIM115 - closed in close()
        self._hash = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._hash.update(data)
        written = self._file.write(data)
        self.size += written
        return written

    def flush(self) -> None:
        """Nothing: close syncs."""

    def tell(self) -> int:
        return self.size

    def seekable(self) -> bool:
        return False

    def release(self) -> None:
        """Closes without a sync."""
        self.closed = True
        self._file.close()

    def close(self) -> str:
        """Syncs; the SHA-256 of all that was written."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.release()
        return self._hash.hexdigest()


class OpenFile:
    """A file of a table that a run is writing.

    Args:
      output: folder of the dataset.
      run: its name.
      path: of the file below the folder, `table/name`.
      columns: what it holds.
      writer: makes what writes into a sink: `writer` of a Format, or `copier`.

    Raises:
      AbandonedError: the run was given up.
    """

    def __init__(
        self, output: str, run: str, path: str, columns: pa.Schema, writer: Callable[[HashedFile], Any]
    ) -> None:
        self._path = path
        with staging.turn(run):
            self._file = HashedFile(os.path.join(staging.staging_folder(output, run), path))
        self.writer = writer(self._file)
        self._columns = {column.name: str(column.type) for column in columns}

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.size

    def discard(self) -> None:
        """Leaves the file unfinished, where it isn't closed: with its run's other remains it is removed."""
        self._file.release()

    def close(self, rows: int) -> Finished:
        """Ends the file, which has so many rows."""
        self.writer.close()
        digest, size = self._file.close(), self._file.size
        table = self._path.partition("/")[0]
        return manifest.DataFile(table, self._path, rows, size, digest), self._columns
