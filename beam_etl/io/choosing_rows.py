"""Rows that a condition chooses: the others are left out where they are read, so that all readers see the same."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics

from beam_etl.io.errors import InputError
from beam_etl.io.formats.base import Coding, Facts, Rows, Seeking, Skipping, SplitReader, take_rows
from beam_etl.io.rejects import Reject
from beam_etl.kernels.where import Condition, WhereError, bind, can_hold, chosen, columns_of
from beam_etl.transforms.metrics import BYTES_SKIPPED, NAMESPACE


class ChosenRows:
    """A split's reader that gives the rows of which a condition is true, at their own positions.

    Parts of the file of which its statistics say that there are none aren't read; their bytes are counted.

    Args:
      reader: of the split.
      condition: of stored columns. One that the file lacks is null.
      common: the columns of the whole input, in whose types values are compared; None for those of the file.

    Raises:
      InputError: a value can't be compared with its column.
    """

    def __init__(self, reader: SplitReader, condition: Condition, common: pa.Schema | None = None) -> None:
        self.schema = reader.schema
        self._reader = reader
        self._names = columns_of(condition)
        own = {name: _type(reader.schema, name) for name in self._names}
        self._types = {name: own[name] if common is None else _type(common, name) for name in self._names}
        try:
            self._condition = bind(condition, self._types)
        except WhereError as error:
            raise InputError(str(error)) from error
        if isinstance(reader, Skipping) and own == self._types:
            skipped = reader.skip(self._names, lambda facts: can_hold(self._condition, facts))
            Metrics.counter(NAMESPACE, BYTES_SKIPPED).inc(skipped)

    def prefer(self, coded: Sequence[str], batch_rows: int) -> None:
        """As of Coding; nothing where the reader isn't."""
        if isinstance(self._reader, Coding):
            self._reader.prefer(coded, batch_rows)

    def seek(self, positions: np.ndarray) -> None:
        """As of Seeking; nothing where the reader isn't."""
        if isinstance(self._reader, Seeking):
            self._reader.seek(positions)

    def skip(self, names: Sequence[str], can_hold: Callable[[Facts], bool]) -> int:
        """As of Skipping; nothing where the reader isn't."""
        return self._reader.skip(names, can_hold) if isinstance(self._reader, Skipping) else 0

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        """As of SplitReader."""
        more = [name for name in self._names if name not in names and name in self.schema.names]
        for found in self._reader.rows([*names, *more], complete):
            if isinstance(found, Reject):
                yield found
                continue
            places = np.flatnonzero(
                chosen(self._completed(found.batch), self._condition).to_numpy(zero_copy_only=False)
            )
            if len(places):
                yield some_rows(found, places, names)

    def _completed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [
            batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows)
            for name in self._names
        ]
        typed = [
            column if column.type == self._types[name] else column.cast(self._types[name])
            for name, column in zip(self._names, columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(typed, list(self._names))


def _type(stored: pa.Schema, name: str) -> pa.DataType:
    return stored.field(name).type if name in stored.names else pa.null()


def some_rows(rows: Rows, places: np.ndarray, names: Sequence[str]) -> Rows:
    """The rows at these places, ascending, with the columns `names`."""

    def stored(some: np.ndarray | None) -> bytes:
        return rows.stored(places if some is None else places[some])

    raw: Callable[[int], bytes] = lambda row: rows.raw(int(places[row]))  # noqa: E731
    batch = rows.batch.select(list(names))
    whole = len(places) == len(rows.positions)
    return Rows(batch if whole else take_rows(batch, places), rows.positions[places], raw, stored)
