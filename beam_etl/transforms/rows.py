"""Rows to batches and back, for pipelines whose elements are dicts, beam.Rows or NamedTuples."""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Union

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import BoundedWindow
from apache_beam.typehints import arrow_type_compatibility
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.typehints.schemas import schema_from_element_type
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl.transforms.batches import MAX_BYTES, MAX_ROWS, Batches, split_batch


@dataclass(eq=False, kw_only=True)
class BatchRows(beam.PTransform):
    """Rows to batches, window by window. No shuffle.

    Input: dicts, beam.Rows or NamedTuples. Output: batches of at most `rows` rows and `bytes` bytes, with the smallest
    timestamp of their rows; what is left is sent when a bundle ends.

    Args:
      schema: columns of the batches. None takes them from the element type, which beam.Rows and NamedTuples have.
      rows, bytes: bounds of a batch.

    Raises:
      TypeError: when the pipeline is made, without a schema for elements that declare no fields.
      ValueError: while running, a row has a field that is no column.
      pyarrow.ArrowInvalid, pyarrow.ArrowTypeError: while running, a value that doesn't fit its column.
    """

    schema: pa.Schema | None = None
    rows: int = MAX_ROWS
    bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        super().__init__()
        if self.rows < 1 or self.bytes < 1:
            raise ValueError(f"rows and bytes must be at least 1, got {self.rows} and {self.bytes}")

    def expand(self, rows: beam.PCollection[Any]) -> Batches:
        schema = self.schema or _declared(rows.element_type)
        return rows | "Batch" >> beam.ParDo(_Batch(schema, self.rows, self.bytes)).with_output_types(
            pa.RecordBatch
        )


class UnbatchRows(beam.PTransform):
    """Batches to a dict for each row: Python objects, some 50 times slower than a batch. No shuffle."""

    def expand(self, batches: Batches) -> beam.PCollection[dict[str, Any]]:
        return batches | "Rows" >> beam.FlatMap(pa.RecordBatch.to_pylist).with_output_types(dict[str, Any])


def _declared(element_type: Any) -> pa.Schema:
    """The columns that an element type declares."""
    row_type = element_type
    if isinstance(element_type, type) and hasattr(
        element_type, "_fields"
    ):  # Beam reads Optional[int] of a NamedTuple, but not int | None
        hints = typing.get_type_hints(element_type)
        row_type = RowTypeConstraint.from_fields([(name, _optional(hint)) for name, hint in hints.items()])
    try:
        return arrow_type_compatibility.arrow_schema_from_beam_schema(schema_from_element_type(row_type))
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise TypeError(
            f"elements of type {element_type} declare no fields that have a column type: "
            f"give BatchRows(schema=pa.schema([...])), or annotate the step before as a NamedTuple or beam.Row"
        ) from error


def _optional(hint: Any) -> Any:
    return Union[typing.get_args(hint)] if isinstance(hint, types.UnionType) else hint  # noqa: UP007


def _size(value: Any) -> int:
    """Bytes that a value takes in a batch, roughly: text at its length, all else as 8 bytes an item."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if value is None or isinstance(value, (int, float)):
        return 8
    if isinstance(value, (list, tuple, set, frozenset)):
        if isinstance(next(iter(value), None), (int, float)):  # numbers, of which there may be many
            return 8 * len(value)
        return sum(map(_size, value))
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    return int(getattr(value, "nbytes", 8))


class _Batch(beam.DoFn):
    def __init__(self, schema: pa.Schema, rows: int, bytes_: int) -> None:
        self._schema = schema
        self._names = frozenset(schema.names)
        self._rows = rows
        self._bytes = bytes_

    def start_bundle(self) -> None:
        self._windows: dict[BoundedWindow, tuple[list[Mapping[str, Any]], Timestamp]] = {}
        self._held_rows = self._held_bytes = 0

    def process(
        self,
        row: Any,
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        window: BoundedWindow = beam.DoFn.WindowParam,
    ) -> Iterator[WindowedValue]:
        rows, smallest = self._windows.get(window, ([], timestamp))
        values = row if isinstance(row, Mapping) else row._asdict()
        if not self._names.issuperset(values):
            unknown = next(name for name in values if name not in self._names)
            raise ValueError(
                f"a row has {unknown!r}, which is no column; columns: {', '.join(self._schema.names)}"
            )
        rows.append(values)
        self._windows[window] = rows, min(smallest, timestamp)
        self._held_rows += 1
        self._held_bytes += _size(values)
        if self._held_rows >= self._rows or self._held_bytes >= self._bytes:
            yield from self.finish_bundle()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        windows, self._windows = self._windows, {}
        self._held_rows = self._held_bytes = 0
        for window in sorted(windows, key=lambda held: held.max_timestamp()):
            rows, timestamp = windows[window]
            for batch in split_batch(
                pa.RecordBatch.from_pylist(rows, schema=self._schema), self._rows, self._bytes
            ):
                yield WindowedValue(batch, timestamp, (window,))
