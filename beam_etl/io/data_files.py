"""One file of a table: opened in a run's staging folder, hashed while it is written, and told when it is closed."""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple
from functools import lru_cache
from typing import Any, TypeAlias

import pyarrow as pa

from beam_etl import schema
from beam_etl.io import manifest, publishing, staging
from beam_etl.io.stores import Sink, store_of
from beam_etl.transforms.metrics import StepMetrics

Finished: TypeAlias = tuple[manifest.DataFile, dict[str, str]]
"""A finished file, its path still below the staging folder's layout, and its column types."""


_PACK_LEVEL = 1
"""Of zlib: a file takes some 65 bytes, of which hashes are 40."""


def pack_finished(finished: Sequence[Finished]) -> bytes:
    """Finished files as few bytes; columns that many have in common stand there once."""
    kinds = {json.dumps(columns): columns for _, columns in finished}
    numbers = {kind: number for number, kind in enumerate(kinds)}
    files = [[*astuple(file), numbers[json.dumps(columns)]] for file, columns in finished]
    body = json.dumps({"columns": list(kinds.values()), "files": files}, ensure_ascii=False)
    return zlib.compress(body.encode(), _PACK_LEVEL)


def unpack_finished(packed: Iterable[bytes]) -> Iterator[Finished]:
    """The files of several packs."""
    for pack in packed:
        body = json.loads(zlib.decompress(pack))
        for *file, kind in body["files"]:
            table, path, rows, size, sha256, pane = file
            told = manifest.Pane(*pane) if pane else None
            yield manifest.DataFile(table, path, rows, size, sha256, told), body["columns"][kind]


def stored_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch as it is stored: without what means something inside one run only."""
    batch = batch.replace_schema_metadata(None)
    index = batch.schema.get_field_index(schema.ADDRESS)
    if index < 0 or batch.schema.field(index).type != schema.DOCUMENT.field(schema.ADDRESS).type:
        return batch  # a column of the user's that has the same name stays
    return batch.remove_column(index)


class HashedFile:
    """A file that is hashed while it is written; without a path, only hashed."""

    def __init__(self, path: str | None) -> None:
        self._file: Sink | None = store_of(path).open_new(path) if path else None
        self._hash = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._hash.update(data)
        written = self._file.write(data) if self._file else memoryview(data).nbytes
        self.size += written
        return written

    def flush(self) -> None:
        """Nothing: close syncs."""

    def tell(self) -> int:
        return self.size

    def seekable(self) -> bool:
        return False

    def release(self) -> None:
        """Leaves it unfinished."""
        self.closed = True
        if self._file:
            self._file.abort()

    def close(self) -> str:
        """Ends it; the SHA-256 of all that was written."""
        self.closed = True
        if self._file:
            self._file.close()
        return self._hash.hexdigest()


class OpenFile:
    """A file of a table that a run is writing. Where the run is published already, it goes nowhere: it wouldn't count.

    Args:
      output: folder of the dataset.
      run: its name.
      path: of the file below the folder, `table/name`.
      columns: what it holds.
      writer: makes what writes into a sink: `writer` of a Format, or `copier`.
      append: whether the run adds to the dataset.

    Raises:
      AbandonedError: the run was given up.
    """

    def __init__(
        self,
        output: str,
        run: str,
        path: str,
        columns: pa.Schema,
        writer: Callable[[HashedFile], Any],
        append: bool = False,
    ) -> None:
        self._path = path
        with staging.turn(run):
            folder = _begin(output, run, append)
            if folder is not None and not store_of(output).has_folders:
                folder = output
            self._file = HashedFile(None if folder is None else os.path.join(folder, path))
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


def write_files(
    batches: Iterable[pa.RecordBatch],
    open_file: Callable[[int, pa.Schema], OpenFile],
    file_bytes: int,
    metrics: StepMetrics,
) -> Iterator[Finished]:
    """Writes batches in order, into files of at most about so many bytes.

    Args:
      batches: of the same columns; they are written as `stored_rows` gives them.
      open_file: makes a file from its number, 0 and up, and its columns.
      file_bytes: a file is closed at so many.
      metrics: of the step.
    """
    number = rows = 0
    file: OpenFile | None = None
    for batch in map(stored_rows, batches):
        metrics.took_in(batch)
        if file is None:
            file = open_file(number, batch.schema)
            metrics.add("files_out", 1)
        file.writer.write(batch)
        rows += batch.num_rows
        if file.size >= file_bytes:
            yield file.close(rows)
            number, rows, file = number + 1, 0, None
    if file is not None:
        yield file.close(rows)


def working_folder(output: str, run: str, name: str, append: bool = False) -> str | None:
    """A folder for files that a run makes on its way; None where it is published already: they wouldn't count.

    Raises:
      AbandonedError: the run was given up.
    """
    with staging.turn(run):
        staged = _begin(output, run, append)
        if staged is None:
            return None
        folder = os.path.join(staged, name)
        store_of(output).make_folder(folder)
        return folder


def _begin(output: str, run: str, append: bool) -> str | None:
    """The staging folder of a run, with what it says of itself; None where what it writes wouldn't count any more."""
    folder = staging.staging_folder(output, run)
    if not store_of(output).has_folders:
        return folder if _begin_in_objects(output, run, append) else None
    if not os.path.isdir(folder) and publishing.is_published(output, run):
        return None
    if append:
        staging.mark_appending(output, run)
    return folder


@lru_cache(maxsize=1000)
def _begin_in_objects(output: str, run: str, append: bool) -> bool:
    """Asked once: what is written after the run has ended in another process is found by `clean`.

    A stream is published from its beginning on, and has said that it has begun.
    """
    if staging.is_decided(output, run):
        return False
    if publishing.is_published(output, run):
        return staging.begun(output, run) is not None
    staging.mark_begun(output, run, append)
    return True
