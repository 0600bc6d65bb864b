"""What can be asked of groups of rows, and the columns in which partial answers travel."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import pyarrow as pa

from beam_etl.kernels.hashing import hash_rows
from beam_etl.kernels.log_buckets import log_buckets
from beam_etl.kernels.sorting import comparable, floats_of, ordered_floats

COUNT, SUM, MEAN, MIN, MAX, DISTINCT = "count", "sum", "mean", "min", "max", "distinct"

_PLAIN = (COUNT, SUM, MEAN, MIN, MAX, DISTINCT)
_PERCENT = re.compile(r"p(\d{1,3}(?:\.\d{1,6})?)")

KIND, ROWS, BIN, PIECE = (f"beam_etl.{name}" for name in ("kind", "rows", "bin", "piece"))
"""Columns of a state: what a row tells, of how many rows; and of a sum of doubles where a piece of it belongs."""


@dataclass(frozen=True)
class Aggregation:
    """One answer: `function` of a column's values that aren't null; count alone is of rows."""

    function: str
    """count, sum, mean, min, max, distinct, or pN: the smallest value that N percent don't exceed."""
    column: str | None = None

    @property
    def name(self) -> str:
        """Of the column with the answer: count, or COLUMN_FUNCTION."""
        return f"{self.column}_{self.function}" if self.column else self.function

    @property
    def part(self) -> Fraction | None:
        """Of a quantile, 0 to 1; None of others."""
        found = _PERCENT.fullmatch(self.function)
        return Fraction(found[1]) / 100 if found else None


def parse_aggregation(text: str) -> Aggregation:
    """An aggregation as users write it: `count`, `sum:bytes`, `p99.9:words`.

    Raises:
      ValueError: the message shows what was written and what can be.
    """
    function, _, column = text.partition(":")
    part = Aggregation(function).part
    known = function in _PLAIN or (part is not None and part <= 1)
    if not known or (not column and function != COUNT):
        raise ValueError(
            f"{text!r} is none of count, count:COLUMN, sum:COLUMN, mean:COLUMN, min:COLUMN, max:COLUMN, "
            f"distinct:COLUMN, pN:COLUMN with N from 0 to 100"
        )
    return Aggregation(function, column or None)


def percent_name(quantile: str) -> str:
    """The function that is this quantile: 0.5 is p50.

    Raises:
      ValueError: no number from 0 to 1, or one of more than 8 decimals.
    """
    try:
        percent = Fraction(quantile) * 100
        name = f"p{float(percent):.6f}".rstrip("0").rstrip(".")
        if not 0 <= percent <= 100 or Fraction(name[1:]) != percent:
            raise ValueError
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"{quantile!r} is no quantile: a number from 0 to 1 of at most 8 decimals"
        ) from error
    return name


def part_of(what: str, column: str) -> str:
    """The column of a state that has this of the column."""
    return f"beam_etl.{what}.{column}"


@dataclass(frozen=True)
class StatePlan:
    """The columns of partial answers.

    A row of kind 0 tells the counts, sums and limits of some rows of a group. Another kind is of a column: of an exact
    one, how many rows have a value; of a sum of doubles, a piece of it.

    Args:
      by: group columns.
      aggregations: what is asked.
      input: the columns of rows.
      approximate: quantiles are those of `log_buckets`.

    Raises:
      KeyError: a column is missing. The message names it and the columns there are.
      TypeError: a column can't be grouped by, or has no such answer.
      ValueError: two columns of the result would have one name, or there is none.
    """

    by: tuple[str, ...]
    aggregations: tuple[Aggregation, ...]
    input: pa.Schema
    approximate: bool = False

    def __post_init__(self) -> None:
        names = [*self.by, *(one.name for one in self.aggregations)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not self.aggregations:
            raise ValueError(
                f"needs something to compute, and columns of different names, got {', '.join(names)}"
            )
        for name in self.needed:
            if self.input.names.count(name) != 1:
                raise KeyError(f"no column {name!r}; there are {', '.join(self.input.names)}")
        for name in self.by:
            hash_rows([pa.array([], self.input.field(name).type)])
        for one in self.aggregations:
            self._check(one)

    def _check(self, one: Aggregation) -> None:
        if one.column is None or one.function == COUNT:
            return
        kind = self.kind_of(one.column)
        if one.function in (SUM, MEAN) or (self.approximate and one.part is not None):
            if not (is_summed(kind) or pa.types.is_floating(kind)) or (
                one.part is not None and is_decimal(kind)
            ):
                raise TypeError(f"column {one.column!r} is {kind}: {one.name} needs numbers")
        else:
            comparable(pa.array([], kind), one.column)

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns of rows that are looked at."""
        return tuple(dict.fromkeys((*self.by, *self.answered)))

    @property
    def answered(self) -> tuple[str, ...]:
        """The columns of which something is asked."""
        return tuple(dict.fromkeys(one.column for one in self.aggregations if one.column))

    def kind_of(self, column: str) -> pa.DataType:
        """The type of a column, of its values where it is a dictionary."""
        kind = self.input.field(column).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    def asked(self, *functions: str) -> tuple[str, ...]:
        """Columns of which one of these is asked."""
        return tuple(
            dict.fromkeys(one.column for one in self.aggregations if one.column and one.function in functions)
        )

    @cached_property
    def valued(self) -> tuple[str, ...]:
        """Columns whose distinct values travel: kind i + 1 is of the i-th."""
        asked = (one for one in self.aggregations if one.function == DISTINCT or one.part is not None)
        return tuple(dict.fromkeys(str(one.column) for one in asked))

    @cached_property
    def floats(self) -> tuple[str, ...]:
        """Columns of doubles that are summed: kinds after those of `valued`."""
        return tuple(name for name in self.asked(SUM, MEAN) if pa.types.is_floating(self.kind_of(name)))

    @cached_property
    def whole(self) -> tuple[str, ...]:
        """Columns of integers that are summed."""
        found = (name for name in self.asked(SUM, MEAN) if is_summed(self.kind_of(name)))
        return tuple(name for name in found if not is_decimal(self.kind_of(name)))

    @cached_property
    def decimals(self) -> tuple[str, ...]:
        """Columns of decimals that are summed."""
        return tuple(name for name in self.asked(SUM, MEAN) if is_decimal(self.kind_of(name)))

    def value_of(self, values: pa.Array, column: str) -> pa.Array:
        """Values as they travel."""
        if self.approximate and not pa.types.is_null(values.type):
            return log_buckets(values)
        return comparable(values, column)

    @cached_property
    def state(self) -> pa.Schema:
        """The columns of partial answers."""
        fields = [(name, plain_group(pa.array([], self.input.field(name).type)).type) for name in self.by]
        fields.append((KIND, pa.int16()))
        fields += [
            (part_of("value", column), self.value_of(self._none(column), column).type)
            for column in self.valued
        ]
        fields += [(BIN, pa.int32())] if self.floats else []
        return pa.schema([*fields, *self._sums(), *self._limits()])

    def _sums(self) -> list[tuple[str, pa.DataType]]:
        fields = [(ROWS, pa.int64())]
        fields += [(part_of("valid", column), pa.int64()) for column in self.asked(COUNT, SUM, MEAN)]
        for column in self.whole:
            fields += [(part_of("high", column), pa.int64()), (part_of("low", column), pa.int64())]
        for column in self.decimals:
            fields.append((part_of("total", column), pa.decimal256(76, self.kind_of(column).scale)))
        return fields + ([(PIECE, pa.int64())] if self.floats else [])

    def _limits(self) -> list[tuple[str, pa.DataType]]:
        return [
            (part_of(function, column), comparable(self._none(column), column).type)
            for function in (MIN, MAX)
            for column in self.asked(function)
        ]

    def _none(self, column: str) -> pa.Array:
        return pa.array([], self.kind_of(column))

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What rows of a state are equal in that are merged."""
        first = self.state.get_field_index(ROWS)
        return tuple(self.state.names[:first])

    @cached_property
    def sums(self) -> tuple[str, ...]:
        """Columns of a state that are added up; the others are limits."""
        return tuple(name for name, _ in self._sums())


def is_decimal(kind: pa.DataType) -> bool:
    """Whether it is a decimal that Arrow can add up."""
    return bool(pa.types.is_decimal(kind)) and not pa.types.is_decimal256(kind)


def is_summed(kind: pa.DataType) -> bool:
    """Whether sums of it are exact by themselves: integers, booleans, decimals."""
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind) or is_decimal(kind))


def plain_group(values: pa.Array) -> pa.Array:
    """A group column as Arrow groups by it: without dictionaries, extensions and views, with one zero and one NaN."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return plain_group(values.dictionary_decode())
    if isinstance(kind, pa.BaseExtensionType):
        return plain_group(values.storage)
    if pa.types.is_null(kind) or pa.types.is_string_view(kind):
        return values.cast(pa.large_string())
    if pa.types.is_binary_view(kind):
        return values.cast(pa.large_binary())
    if pa.types.is_floating(kind):
        return floats_of(ordered_floats(values)).cast(kind)
    return values


def parse_aggregations(texts: Sequence[str]) -> tuple[Aggregation, ...]:
    """Several of `parse_aggregation`."""
    return tuple(map(parse_aggregation, texts))
