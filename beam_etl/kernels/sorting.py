"""The order of rows: by several columns, ascending or descending, nulls first or last, and ties by address."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema

Indices = npt.NDArray[np.int64]

NULLS = ("last", "first")
"""Where nulls may stand, whatever the direction."""

KEY = "key."
"""Before the names of all columns of keys."""

TIE = "key.tie"
"""The last column of keys: what rows that are equal in all others are ordered by, ascending."""

FIRST_KEY = "key.0"
"""The first column of the order; with nulls first, FIRST_KEY.is_valid stands before it."""

_IS_VALID = ".is_valid"

WORTH_SORTING = 4
"""With fewer rows than so many times the first ones, all are sorted."""

_DIRECTIONS = {"": False, "asc": False, "desc": True}
_SIGN = 63
_BELOW_SIGN = np.int64((1 << _SIGN) - 1)


class Key(NamedTuple):
    """A column to order by."""

    column: str
    descending: bool = False


@dataclass(frozen=True)
class Order:
    """What comes first: by `by`, the first column above all, then by the column `tie`, where batches have it.

    Strings and binaries compare by their bytes, which for strings is the order of code points; false is below true. NaN
    is above all other numbers, and one zero like the other.

    Args:
      by: columns, each once.
      nulls: last or first, whatever the direction.
      tie: a column that no two rows have the same value in, ascending.

    Raises:
      ValueError: no column, one twice, or `nulls` is neither.
    """

    by: tuple[Key, ...]
    nulls: str = "last"
    tie: str = schema.ADDRESS

    def __post_init__(self) -> None:
        if not self.by or len(set(self.columns)) < len(self.by):
            raise ValueError(f"an order needs at least one column, and each once, got {self.columns!r}")
        if self.nulls not in NULLS:
            raise ValueError(f"nulls are {' or '.join(NULLS)}, got {self.nulls!r}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `by`."""
        return tuple(key.column for key in self.by)

    @property
    def ascending(self) -> bool:
        """Whether every column ascends, nulls last."""
        return self.nulls == "last" and not any(key.descending for key in self.by)


def parse_order(items: Sequence[str], nulls: str = "last") -> Order:
    """An order as users write it: `date:desc`, `id` or `id:asc`.

    Raises:
      ValueError: as Order, or something else follows a colon.
    """
    keys = []
    for item in items:
        column, _, direction = item.rpartition(":") if item.endswith((":asc", ":desc")) else (item, "", "")
        keys.append(Key(column, _DIRECTIONS[direction]))
    return Order(tuple(keys), nulls)


def key_rows(batch: pa.RecordBatch, order: Order) -> pa.RecordBatch:
    """What rows are compared by: the columns of the order as `comparable` makes them, and TIE. Names begin with KEY.

    Raises:
      KeyError: a column is missing. The message names it and the columns there are.
      TypeError: a column has a type without an order.
    """
    columns: dict[str, pa.Array] = {}
    for place, name in enumerate(order.columns):
        if batch.schema.names.count(name) != 1:
            raise KeyError(f"no column {name!r} to order by; there are {', '.join(batch.schema.names)}")
        if order.nulls == "first":
            columns[f"{KEY}{place}{_IS_VALID}"] = batch.column(name).is_valid().cast(pa.uint8())
        columns[f"{KEY}{place}"] = comparable(batch.column(name), name)
    if order.tie in batch.schema.names:
        columns[TIE] = batch.column(order.tie)
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def comparable(values: pa.Array, name: str) -> pa.Array:
    """The same values in a type that Arrow sorts as Order says; floats as int64 (`ordered_floats`).

    Raises:
      TypeError: lists, structs and the like have no order.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        return comparable(values.dictionary_decode(), name)
    if pa.types.is_floating(kind):
        return ordered_floats(values)
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return values.cast(pa.uint8())
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return values.cast(pa.large_binary())
    if pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType) or pa.types.is_interval(kind):
        raise TypeError(f"column {name!r} is {kind}, which has no order; use columns of plain values")
    return values


def ordered_floats(values: pa.Array) -> pa.Array:
    """Floats as int64 that compare as Order says: -inf is the smallest, NaN the largest, zeros are one."""
    doubles = values.cast(pa.float64())
    plain = doubles.to_numpy(zero_copy_only=False) + 0.0
    plain[np.isnan(plain)] = np.nan
    return pa.array(_flipped(plain.view(np.int64)), mask=np.asarray(pc.is_null(doubles)))


def floats_of(ordered: pa.Array) -> pa.Array:
    """The doubles that `ordered_floats` took."""
    bits = pc.fill_null(ordered, 0).to_numpy(zero_copy_only=False)
    return pa.array(_flipped(bits).view(np.float64), mask=np.asarray(pc.is_null(ordered)), from_pandas=False)


def _flipped(bits: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bits of doubles to integers of their order, and back."""
    return bits ^ ((bits >> _SIGN) & _BELOW_SIGN)


def sorted_places(keys: pa.RecordBatch, order: Order) -> Indices:
    """The places of rows in order, given their `key_rows`. Rows that are equal in all stay as they stand."""
    descending = {f"{KEY}{place}" for place, key in enumerate(order.by) if key.descending}
    options = [(name, "descending" if name in descending else "ascending") for name in keys.schema.names]
    return np.asarray(pc.sort_indices(keys, options)).astype(np.int64)  # Arrow puts nulls last by itself


def sort_batch(batch: pa.RecordBatch, order: Order) -> pa.RecordBatch:
    """The rows in order; those that are equal in all columns of it stay as they stand.

    Raises:
      KeyError, TypeError: as `key_rows`.
    """
    return batch.take(pa.array(sorted_places(key_rows(batch, order), order)))


def first_rows(batch: pa.RecordBatch, order: Order, k: int) -> pa.RecordBatch:
    """The first `k` rows in order. A merge kernel.

    Raises:
      KeyError, TypeError: as `key_rows`; KeyError also without the tie, since equal rows would come by chance.
    """
    if order.tie not in batch.schema.names:
        raise KeyError(
            f"no column {order.tie!r} to tell ties apart; there are {', '.join(batch.schema.names)}"
        )
    keys = key_rows(batch, order)
    near = _near_first(keys.column(0), order.by[0].descending and order.nulls == "last", k)
    if near is None:
        return batch.take(pa.array(sorted_places(keys, order)[:k]))
    places = near[sorted_places(keys.take(pa.array(near)), order)[:k]]
    return batch.take(pa.array(places))


def _near_first(values: pa.Array, descending: bool, k: int) -> Indices | None:
    """Rows that can be among the first `k` by their first key, found without sorting; None where that doesn't help."""
    kinds = (pa.types.is_integer, pa.types.is_date, pa.types.is_timestamp)
    plain = any(is_kind(values.type) for is_kind in kinds)
    if not plain or values.null_count or k * WORTH_SORTING > len(values):
        return None
    numbers = values.to_numpy(zero_copy_only=False)
    if descending:
        return np.flatnonzero(numbers >= np.partition(numbers, -k)[-k])
    return np.flatnonzero(numbers <= np.partition(numbers, k - 1)[k - 1])


def range_numbers(keys: pa.RecordBatch, bounds: pa.RecordBatch, order: Order) -> Indices:
    """Which range each row is in: how many bounds are not behind it.

    Args:
      keys: `key_rows` of some rows.
      bounds: of others, in order, with the same columns, or the first of them: then rows are compared by these alone.
      order: of both.

    Returns:
      int64[rows], 0 to the number of bounds.
    """
    both = pa.concat_batches([bounds, keys.select(bounds.schema.names).cast(bounds.schema)])
    places = sorted_places(both, order)
    is_bound = places < bounds.num_rows
    behind = np.cumsum(is_bound)
    numbers = np.empty(keys.num_rows, np.int64)
    numbers[places[~is_bound] - bounds.num_rows] = behind[~is_bound]
    return numbers
