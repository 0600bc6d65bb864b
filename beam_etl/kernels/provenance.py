"""Where rows were read from."""

import numpy as np
import pyarrow as pa

from beam_etl.schema import ADDRESS, FILE, FILE_METADATA, MAX_POSITION

POSITION = "position"
"""int64: where a document begins in its file; see docs/vocabulary.md."""


_CARRIED = FILE_METADATA.decode()
"""The column that tells the path while a batch has no metadata."""


def carry_file(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch ready for a shuffle, which loses metadata: where it says which path it was read from, a column does."""
    path = (batch.schema.metadata or {}).get(FILE_METADATA)
    if path is None:
        return batch
    return batch.append_column(_CARRIED, _repeat(path, batch.num_rows).dictionary_encode())


def without_carried(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without what `carry_file` added."""
    return batch.drop_columns([_CARRIED]) if _CARRIED in batch.schema.names else batch


def files_of(batch: pa.RecordBatch) -> pa.Array | None:
    """The path that each row was read from, of a batch as it was read or after `carry_file`; None if it isn't known."""
    if _CARRIED in batch.schema.names:
        return batch.column(_CARRIED)
    path = (batch.schema.metadata or {}).get(FILE_METADATA)
    return None if path is None else _repeat(path, batch.num_rows)


def _repeat(path: bytes, rows: int) -> pa.StringArray:
    return pa.repeat(pa.scalar(path.decode(), pa.string()), rows)


def add_file(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with a column `file`: the path it was read from. A stored column of that name is replaced.

    Args:
      batch: as ReadDocuments gives it, not shuffled yet.

    Raises:
      ValueError: the batch doesn't say where it was read from.
    """
    path = (batch.schema.metadata or {}).get(FILE_METADATA)
    if path is None:
        raise ValueError(
            f"a batch without its file (columns {', '.join(batch.schema.names)}): add it before a shuffle"
        )
    paths = _repeat(path, batch.num_rows)
    index = batch.schema.get_field_index(FILE)
    return batch.append_column(FILE, paths) if index < 0 else batch.set_column(index, FILE, paths)


def add_place(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the columns `file` and `position`. Args and errors as of add_file; it needs an address."""
    position = (batch.column(ADDRESS).to_numpy() & np.uint64(MAX_POSITION)).astype(np.int64)
    index = batch.schema.get_field_index(POSITION)
    batch = batch if index < 0 else batch.remove_column(index)
    return add_file(batch).append_column(POSITION, pa.array(position))
