"""What a model of the user's says of documents, as a column."""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from beam_etl.kernels.process import NotOfRowsError, OncePerProcess

Values: TypeAlias = pa.Array | pa.ChunkedArray | np.ndarray | Sequence[Any]
Predict: TypeAlias = Callable[[Any, pa.RecordBatch], Values]
"""From a model and a batch to one value for each row, which depends on nothing but the row."""


class NoValuesError(NotOfRowsError):
    """What a model gave isn't a row of values, of however many rows."""


def with_values(batch: pa.RecordBatch, values: Values, column: str) -> pa.RecordBatch:
    """The batch with a column of these values; one of that name is replaced. Nothing but nulls is float64.

    Raises:
      NoValuesError: they are none: a single number, a table, an iterator.
      ValueError: they aren't one for each row.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    shape = getattr(values, "shape", None)
    if shape is None and isinstance(values, Sized) and not isinstance(values, str | bytes):
        shape = (len(values),)
    if shape is None or len(shape) != 1:
        what = type(values).__name__ if shape is None else f"{type(values).__name__} of shape {shape}"
        raise NoValuesError(
            f"a model gave {column!r} as {what}, of {batch.num_rows} rows: give one value for each row, "
            f"as an Arrow or NumPy array of one dimension or a list"
        )
    if shape[0] != batch.num_rows:
        raise ValueError(
            f"a model gave {shape[0]} values for {column!r} of {batch.num_rows} rows, which need one each"
        )
    made = values if isinstance(values, pa.Array) else pa.array(values)
    if pa.types.is_null(made.type):
        made = made.cast(pa.float64())
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
