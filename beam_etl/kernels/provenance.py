"""Where rows were read from."""

import pyarrow as pa

from beam_etl.schema import FILE, FILE_METADATA


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
    paths = pa.repeat(pa.scalar(path.decode(), pa.string()), batch.num_rows)
    index = batch.schema.get_field_index(FILE)
    return batch.append_column(FILE, paths) if index < 0 else batch.set_column(index, FILE, paths)
