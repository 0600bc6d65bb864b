"""What a model of the user's says of documents, as a column."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from beam_etl.kernels.process import OncePerProcess

Values: TypeAlias = pa.Array | pa.ChunkedArray | np.ndarray | Sequence[Any]
Predict: TypeAlias = Callable[[Any, pa.RecordBatch], Values]
"""From a model and a batch to one value for each row, which depends on nothing but the row."""


def with_values(batch: pa.RecordBatch, values: Values, column: str) -> pa.RecordBatch:
    """The batch with a column of these values; one of that name is replaced.

    Raises:
      ValueError: they aren't one for each row.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    shape = getattr(values, "shape", None) or (len(values),)
    if shape != (batch.num_rows,):
        raise ValueError(
            f"a model gave {shape} values for {column!r} of {batch.num_rows} rows, which need one each"
        )
    made = values if isinstance(values, pa.Array) else pa.array(values)
    index = batch.schema.get_field_index(column)
    return batch.append_column(column, made) if index < 0 else batch.set_column(index, column, made)


@dataclass(frozen=True)
class Scorer:
    """A kernel that adds what a model says of each row."""

    model: OncePerProcess[..., Any]
    predict: Predict
    column: str

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return with_values(batch, self.predict(self.model.ready(), batch), self.column)
