"""Rows that can be among the first in an order: the others are left out where they are read."""

import copy
from collections.abc import Iterator, Sequence

import pyarrow as pa
from apache_beam.metrics import Metrics

from beam_etl.io.choosing_rows import some_rows
from beam_etl.io.formats.base import Coding, Rows, Skipping, SplitReader
from beam_etl.io.rejects import Reject
from beam_etl.kernels.nearest import Nearest, is_numbered
from beam_etl.transforms.metrics import BYTES_SKIPPED, NAMESPACE, ROWS_READ


class NearRows:
    """A split's reader that gives the rows which `nearest` doesn't know to be behind k others.

    Parts of the file of which its statistics say that there are none aren't read; their bytes are counted, and so are
    the rows that are left out.

    Args:
      reader: of the split, which fits the order (see `spare_far`).
      nearest: what is known so far. It learns when the split is read: one that is tried again gives the same rows.
    """

    def __init__(self, reader: SplitReader, nearest: Nearest) -> None:
        self.schema = reader.schema
        self._reader = reader
        self._known, nearest = nearest, copy.copy(nearest)
        self._nearest = nearest
        if isinstance(reader, Skipping):
            kind = reader.schema.field(nearest.column).type
            skipped = reader.skip((nearest.column,), lambda facts: nearest.can_hold(facts, kind))
            Metrics.counter(NAMESPACE, BYTES_SKIPPED).inc(skipped)

    def prefer(self, coded: Sequence[str], batch_rows: int) -> None:
        """As of Coding; nothing where the reader isn't."""
        if isinstance(self._reader, Coding):
            self._reader.prefer(coded, batch_rows)

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        """As of SplitReader."""
        for found in self._reader.rows(names, complete):
            if isinstance(found, Reject):
                yield found
                continue
            places = self._nearest.places(found.batch.column(self._nearest.column))
            Metrics.counter(NAMESPACE, ROWS_READ).inc(len(found.positions) - len(places))
            if len(places):
                yield some_rows(found, places, names)
        self._known.take_over(self._nearest)


def spare_far(reader: SplitReader, common: pa.Schema | None, nearest: Nearest) -> SplitReader:
    """As splits.Spare: a reader of the near rows; the same one where its rows have to be looked at as documents.

    What is learnt is of rows whose order is sound. One that is a reject for another column, which shows when it is read
    whole, counts among the k as well: the answer has a row less then, and the reject is told.
    """
    return NearRows(reader, nearest) if _fits(nearest, reader.schema, common) else reader


def _fits(nearest: Nearest, stored: pa.Schema, common: pa.Schema | None) -> bool:
    """Whether rows can be left out before they are looked at as documents.

    Every column of the order has the type of the whole input in this file, one in which nothing can be wrong.
    """
    names = [name for name in nearest.order.columns if name in stored.names]
    kinds = [stored.field(name).type for name in names]
    same = common is None or all(
        common.field(name).type == kind for name, kind in zip(names, kinds, strict=True)
    )
    return same and len(names) == len(nearest.order.columns) and all(map(is_numbered, kinds))
