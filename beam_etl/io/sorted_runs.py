"""Sorted runs in files, and the sort of more rows than memory holds."""

import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice

import numpy as np
import pyarrow as pa

from beam_etl.io.access import create_file, open_file
from beam_etl.kernels.merging import merge_blocks
from beam_etl.kernels.range_bounds import row_bytes
from beam_etl.kernels.sorting import Order, key_rows, sort_batch
from beam_etl.transforms.batches import merge_batches, split_batch

SORT_BYTES = 64 << 20
"""Rows that are sorted at once. While they are, three times as many bytes are held."""

BLOCK_BYTES = 256 << 10
"""What is read at once of a run."""

OPEN_FILES = 256
"""Of runs, in one merge: a process may have some 1,000."""

_POSITION = "beam_etl.position"
"""uint64: the number of a row in the input of a sort, where batches have no column that tells ties apart."""

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


def sort_external(
    batches: Iterable[pa.RecordBatch], order: Order, folder: str | None = None, memory_bytes: int = SORT_BYTES
) -> Iterator[pa.RecordBatch]:
    """All rows in order. Stable: rows that are equal in all columns of it, and in its tie, come as they came.

    Up to `memory_bytes` are sorted where they are. More of them go to files, sorted run by run, compressed, which are
    merged while they are read; they are gone when the iterator is exhausted or closed.

    Args:
      batches: of the same columns; read once.
      order: by columns that they have.
      folder: where files may be made; None for the system's.
      memory_bytes: rows that are sorted at once. Held are at most some three times as many, and BLOCK_BYTES for
        every `memory_bytes` of rows there are.

    Returns:
      Batches within the bounds of `split_batch`, without the path that they came from. Types are those of
      `merge_batches`.

    Raises:
      KeyError, TypeError: a column is missing, or has no order; see `key_rows`.
    """
    numbered = _Numbered(batches, order)
    runs = _sorted_runs(numbered, memory_bytes)
    held = list(islice(runs, 2))
    if len(held) < 2:
        for rows in held:
            yield from numbered.plain(rows)
        return
    with tempfile.TemporaryDirectory(prefix="beam_etl_sort_", dir=folder) as temporary:
        firsts, places = [], []
        for number, run in enumerate(chain(_popped(held), runs)):
            path = os.path.join(temporary, f"{number}.arrow")
            keys = write_run(path, run, numbered.order)[0]
            firsts.append(keys)
            places += [(path, block) for block in range(keys.num_rows)]
        files = RunFiles()
        merged = merge_blocks(
            pa.concat_batches(firsts), lambda place: files.read(*places[place]), numbered.order, memory_bytes
        )
        for rows in merged:
            yield from numbered.plain(rows)


def _popped(held: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    while held:
        yield held.pop()


def _sorted_runs(batches: "_Numbered", size: int) -> Iterator[pa.RecordBatch]:
    """About `size` bytes of rows at a time, sorted."""
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        waiting.append(batch)
        held += batch.nbytes
        if held >= size:
            yield sort_batch(merge_batches(waiting), batches.order)
            waiting, held = [], 0
    if waiting:
        yield sort_batch(merge_batches(waiting), batches.order)


class _Numbered:
    """Batches with a column that tells ties apart: their own, or the number of the row."""

    def __init__(self, batches: Iterable[pa.RecordBatch], order: Order) -> None:
        self._batches = batches
        self.order = order
        self._added = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        done = 0
        for batch in self._batches:
            if done == 0 and self.order.tie not in batch.schema.names:
                self.order = replace(self.order, tie=_POSITION)
                self._added = True
            if self._added:
                numbers = np.arange(done, done + batch.num_rows, dtype=np.uint64)
                yield batch.append_column(_POSITION, pa.array(numbers))
            elif batch.num_rows:
                yield batch
            done += batch.num_rows

    def plain(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Sorted rows, bounded, without what was added."""
        yield from split_batch(rows.drop_columns([_POSITION]) if self._added else rows)


def write_run(
    path: str, rows: pa.RecordBatch, order: Order, block_bytes: int = BLOCK_BYTES
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Writes sorted rows, one or more, as blocks of about `block_bytes`, each readable by itself.

    Returns:
      `key_rows` of the first row of each block, and of the last one.
    """
    block = np.cumsum(row_bytes(rows)) // block_bytes
    begins = np.flatnonzero(np.diff(block, prepend=-1))
    ends = np.append(begins[1:], rows.num_rows)
    with create_file(path) as sink, pa.ipc.new_file(sink, rows.schema, options=_OPTIONS) as writer:
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            writer.write_batch(rows.slice(begin, end - begin))
    keys = key_rows(rows, order)
    return keys.take(pa.array(begins)), keys.take(pa.array(ends - 1))


class RunFiles:
    """Files of runs, of which those stay open that were read last."""

    def __init__(self) -> None:
        self._readers: OrderedDict[str, pa.ipc.RecordBatchFileReader] = OrderedDict()

    def read(self, path: str, block: int) -> pa.RecordBatch:
        """One block.

        Raises:
          FileNotFoundError: the file is gone.
        """
        if path not in self._readers:
            self._readers[path] = pa.ipc.open_file(open_file(path))
            if len(self._readers) > OPEN_FILES:
                self._readers.popitem(last=False)
        self._readers.move_to_end(path)
        return self._readers[path].get_batch(block)
