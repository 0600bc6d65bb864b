"""What a join is: the columns of both sides, those of the result, and which rows it has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.join_keys import key_type, valid_keys
from beam_etl.kernels.mergeable import mergeable

INNER, LEFT, SEMI, ANTI, OUTER = "inner", "left", "semi", "anti", "outer"
HOWS = (INNER, LEFT, SEMI, ANTI, OUTER)

RIGHT_PREFIX = "right_"
"""Before the name of a column of the right side that the left one has too."""


class JoinError(ValueError):
    """Two sides can't be joined so. The message names the columns and their types."""


@dataclass(frozen=True, kw_only=True)
class JoinRule:
    """Which rows of two sides belong together, and what becomes of the others.

    The result has the columns of the left side, then, unless it is of SEMI or ANTI, those of the right side that are no
    key. One of these whose name the left side has is called `right_NAME`. Keys have the wider type of both sides. Keys
    with a null in any column are equal to no other; NaN equals NaN. `address` is left out: it means something inside
    one run only.

    Args:
      left, right: the columns of both sides.
      on: key columns, which both sides have.
      how: INNER: pairs; LEFT: and rows of the left side without a partner; OUTER: and those of the right side; SEMI:
        rows of the left side that have a partner, each once; ANTI: those that have none.

    Raises:
      JoinError: no key, one that a side lacks, types that don't go together or have no stable hash, a name that two
        columns of the result would have, or another `how`.
    """

    left: pa.Schema
    right: pa.Schema
    on: tuple[str, ...]
    how: str = INNER
    left_columns: pa.Schema = field(init=False)
    """Of rows of the left side, as `of_left` gives them."""
    right_columns: pa.Schema = field(init=False)
    """Of rows of the right side, as `of_right` gives them, under the names of the result."""
    columns: pa.Schema = field(init=False)
    """Of the result."""

    def __post_init__(self) -> None:
        if self.how not in HOWS:
            raise JoinError(f"a join is one of {', '.join(HOWS)}; got {self.how!r}")
        if not self.on or len(set(self.on)) < len(self.on):
            raise JoinError(f"a join is on at least one column, and each once; got {self.on!r}")
        types = {name: self._key_type(name) for name in self.on}
        left = _typed(mergeable(_without_address(self.left)), types)
        right = _typed(mergeable(_without_address(self.right)), types)
        if self.how in (SEMI, ANTI):
            right = pa.schema([right.field(name) for name in self.on])
        right = pa.schema([column.with_name(self._name_of_right(column.name)) for column in right])
        nullable = self.how == OUTER
        first = [column.with_nullable(column.nullable or nullable) for column in left]
        keeps_left = self.how in (LEFT, OUTER)
        rest = [
            column.with_nullable(column.nullable or keeps_left)
            for column in right
            if column.name not in self.on
        ]
        for name, value in (
            ("left_columns", left),
            ("right_columns", right),
            ("columns", pa.schema([*first, *rest])),
        ):
            object.__setattr__(self, name, value)

    def of_left(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of the left side as they are joined: in the columns and types of `left_columns`.

        Raises:
          KeyError: a column is missing.
        """
        return _as(batch, self.left_columns.names, self.left_columns)

    def of_right(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of the right side as they are joined, as `of_left`."""
        return _as(batch, self._stored_names, self.right_columns)

    @property
    def none_of_left(self) -> pa.RecordBatch:
        """A batch of the left side without rows."""
        return pa.RecordBatch.from_pylist([], self.left_columns)

    @property
    def keeps_left(self) -> bool:
        """Whether rows of the left side without a partner are in the result."""
        return self.how in (LEFT, ANTI, OUTER)

    @property
    def keeps_right(self) -> bool:
        """Whether rows of the right side without a partner are."""
        return self.how == OUTER

    @property
    def pairs(self) -> bool:
        """Whether the result has a row for each pair."""
        return self.how not in (SEMI, ANTI)

    def keys(self, rows: pa.RecordBatch) -> list[pa.Array]:
        """The key columns of rows of either side, as they are joined."""
        return [rows.column(name) for name in self.on]

    def keys_of(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The key columns of stored rows of either side, in the types in which they are joined."""
        return _as(rows, self.on, pa.schema([self.left_columns.field(name) for name in self.on]))

    def split_nulls(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Rows of either side whose key can have a partner, and the others."""
        valid = valid_keys(self.keys(rows))
        if valid is None:
            return rows, rows.slice(0, 0)
        return rows.filter(pa.array(valid)), rows.filter(pa.array(~valid))

    def paired(
        self, left: pa.RecordBatch, at: np.ndarray, right: pa.RecordBatch, right_at: np.ndarray
    ) -> pa.RecordBatch:
        """Rows of the result, of the left side's rows `at` and the right side's rows `right_at`."""
        others = _take(right.select(self._other_names), right_at).columns if self._other_names else []
        return self._result([*_take(left, at).columns, *others])

    def left_alone(self, left: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of the result, of rows of the left side that stand alone."""
        if not self.pairs:
            return self._result(left.columns)
        nulls = [pa.nulls(left.num_rows, self.columns.field(name).type) for name in self._other_names]
        return self._result([*left.columns, *nulls])

    def right_alone(self, right: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of the result, of rows of the right side that have no partner."""
        there = set(right.schema.names)
        return self._result(
            [
                right.column(column.name) if column.name in there else pa.nulls(right.num_rows, column.type)
                for column in self.columns
            ]
        )

    def _result(self, columns: Sequence[pa.Array]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(list(columns), schema=self.columns)

    @cached_property
    def _other_names(self) -> list[str]:
        """Columns of the right side that are no key, as the result calls them."""
        return [name for name in self.right_columns.names if name not in self.on]

    @cached_property
    def _stored_names(self) -> list[str]:
        """What the right side itself calls the columns of `right_columns`."""
        mine = _without_address(self.right).names if self.pairs else self.on
        return list(mine)

    def _key_type(self, name: str) -> pa.DataType:
        for side, columns in (("left", self.left), ("right", self.right)):
            if columns.names.count(name) != 1:
                raise JoinError(
                    f"the {side} side has no column {name!r}; it has {', '.join(map(repr, columns.names))}"
                )
        mine, other = self.left.field(name).type, self.right.field(name).type
        found = key_type(mine, other)
        if found is None:
            raise JoinError(
                f"can't join on {name!r}: the left side's column {name!r} is {mine}, the right side's "
                f"column {name!r} is {other}. Cast one of them: integers, floats, decimals, dates, times, strings and "
                f"bytes are each compared among themselves, lists and structs not at all."
            )
        return found

    def _name_of_right(self, name: str) -> str:
        mine = _without_address(self.left).names
        if name in self.on or name not in mine:
            return name
        renamed = f"{RIGHT_PREFIX}{name}"
        for side, names in (("left", mine), ("right", self.right.names)):
            if renamed in names:
                raise JoinError(
                    f"both sides have a column {name!r}; the right one would be called {renamed!r}, which the "
                    f"{side} side has already. Leave out or rename one of them."
                )
        return renamed


def _without_address(columns: pa.Schema) -> pa.Schema:
    mine = schema.DOCUMENT.field(schema.ADDRESS).type
    return pa.schema([column for column in columns if column.name != schema.ADDRESS or column.type != mine])


def _typed(columns: pa.Schema, types: dict[str, pa.DataType]) -> pa.Schema:
    return pa.schema([column.with_type(types.get(column.name, column.type)) for column in columns])


def _as(batch: pa.RecordBatch, names: Sequence[str], columns: pa.Schema) -> pa.RecordBatch:
    arrays = [_cast(batch.column(name), column.type) for name, column in zip(names, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    plain = (
        array.dictionary_decode()
        if pa.types.is_dictionary(array.type) and not pa.types.is_dictionary(kind)
        else array
    )
    return plain if plain.type == kind else plain.cast(kind)


def _take(rows: pa.RecordBatch, at: np.ndarray) -> pa.RecordBatch:
    """The rows at these places; without a copy where they are all in their order."""
    if len(at) == rows.num_rows and (at == np.arange(len(at))).all():
        return rows
    return rows.take(pa.array(at))
