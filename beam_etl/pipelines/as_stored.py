"""Documents with the columns of the input, without those that reading made."""

from collections.abc import Sequence
from functools import partial

import pyarrow as pa

from beam_etl.io.columns import resolve
from beam_etl.io.file_source import FileSource
from beam_etl.transforms.batches import Batches, MapBatches


def as_stored(documents: Batches, source: FileSource) -> Batches:
    """Documents of a second read without what the input doesn't have: an id made of path and position, an empty URL."""
    found = resolve(source.read.columns, source.stored_schema, source.files[0].path).sources
    made = [each.column for each in found if each.stored is None]
    return documents | "As stored" >> MapBatches(partial(_without, columns=made))


def _without(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    return batch.drop_columns(columns)
