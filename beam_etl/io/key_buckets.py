"""Rows of a partition in parts that each have all rows of their keys, in files of this machine where they are many."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType

import numpy as np
import pyarrow as pa

from beam_etl.kernels.hashing import hash_values
from beam_etl.transforms.batches import merge_batches

BUCKETS = 64
"""Files that are written at once: a process may have some 1,000, and its threads have a partition each."""

HELD_BYTES = 32 << 20
"""Of a partition that is held, without files."""

_BITS = np.uint64(40)
"""Of a hash that say nothing here: low ones are alike in a partition of a table that is partitioned by that hash."""


class KeyBuckets:
    """Takes batches, and gives them back in parts, each to be read several times. A context.

    Args:
      by: column of the key.
      held_bytes: with more, rows go to files.
    """

    def __init__(self, by: str, held_bytes: int = HELD_BYTES) -> None:
        self._by, self._held_bytes = by, held_bytes
        self._held: list[pa.RecordBatch] = []
        self._size = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    def __enter__(self) -> "KeyBuckets":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._held.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes a batch."""
        self._held.append(batch)
        self._size += batch.nbytes
        if self._size > self._held_bytes:
            self._spill()

    def parts(self) -> Iterator[Iterable[pa.RecordBatch]]:
        """All that was taken. Nothing can be added any more."""
        if self._folder is None:
            yield self._held
            return
        self._spill()
        self._close()
        for number in sorted(self._writers):
            yield _Stored(self._path(number))

    def _spill(self) -> None:
        if not self._held:
            return
        rows = merge_batches(self._held)
        self._held, self._size = [], 0
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="beam_etl-")
        numbers = (hash_values(rows.column(self._by)) >> _BITS) % np.uint64(BUCKETS)
        order = np.argsort(numbers, kind="stable")
        starts = np.flatnonzero(np.diff(numbers[order], prepend=np.uint64(BUCKETS)))
        for places in np.split(order, starts[1:]):
            self._writer(int(numbers[places[0]]), rows.schema).write_batch(rows.take(pa.array(places)))

    def _writer(self, number: int, columns: pa.Schema) -> pa.ipc.RecordBatchStreamWriter:
        if number not in self._writers:
            self._writers[number] = pa.ipc.new_stream(self._path(number), columns)
        return self._writers[number]

    def _path(self, number: int) -> str:
        assert self._folder is not None
        return os.path.join(self._folder.name, f"{number}.arrows")

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()


class _Stored:
    """Batches of a file, each read when it is iterated over."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(self._path) as file, pa.ipc.open_stream(file) as reader:
            yield from reader
