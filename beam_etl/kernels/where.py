"""Conditions that choose rows: applied to batches, and asked whether any row of a part can fulfil them.

Null compares as in SQL: a comparison with it is neither true nor false, and only true chooses a row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

Outcomes: TypeAlias = frozenset[bool | None]
"""What a condition can come to for some rows: true, false, None."""

_ANY: Outcomes = frozenset((True, False, None))


class WhereError(ValueError):
    """A condition that can't be read, or doesn't fit the data. The message says where."""


@dataclass(frozen=True)
class Comparison:
    """`column operator value`; the value as it was written, or a scalar once it is bound."""

    column: str
    operator: str
    value: Any


@dataclass(frozen=True)
class Membership:
    """`column in (values)`."""

    column: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class IsNull:
    """`column is null`."""

    column: str


@dataclass(frozen=True)
class Negation:
    """`not condition`."""

    of: "Condition"


@dataclass(frozen=True)
class Both:
    """`left and right`."""

    left: "Condition"
    right: "Condition"


@dataclass(frozen=True)
class Either:
    """`left or right`."""

    left: "Condition"
    right: "Condition"


Condition: TypeAlias = Comparison | Membership | IsNull | Negation | Both | Either

_COMPUTE: dict[str, Callable[..., Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def columns_of(condition: Condition) -> tuple[str, ...]:
    """The columns that a condition names, each once."""
    match condition:
        case Negation(of):
            return columns_of(of)
        case Both(left, right) | Either(left, right):
            return tuple(dict.fromkeys((*columns_of(left), *columns_of(right))))
        case _:
            return (condition.column,)


def bind(condition: Condition, types: Mapping[str, pa.DataType]) -> Condition:
    """The condition with its values in the types of their columns.

    Raises:
      WhereError: a value is none of its column's type, or the type can't be compared.
    """
    match condition:
        case Comparison(column, _, value):
            return replace(condition, value=_scalar(value, types[column], column))
        case Membership(column, values):
            return Membership(column, tuple(_scalar(value, types[column], column) for value in values))
        case Negation(of):
            return Negation(bind(of, types))
        case Both(left, right):
            return Both(bind(left, types), bind(right, types))
        case Either(left, right):
            return Either(bind(left, types), bind(right, types))
        case _:
            return condition


def _scalar(text: str, kind: pa.DataType, column: str) -> pa.Scalar:
    kind = _compared_as(kind)
    if pa.types.is_null(kind):
        return pa.scalar(None)
    try:
        if pa.types.is_timestamp(kind):
            return moment(text, kind)
        if pa.types.is_large_binary(kind):
            return pa.scalar(text.encode(), kind)
        return pa.scalar(text, pa.string()).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise WhereError(
            f"--where: {text!r} can't be compared with column {column!r}, which is {kind}"
        ) from error


def moment(text: str, kind: pa.DataType) -> pa.Scalar:
    """A time as written, in UTC unless it says otherwise.

    Raises:
      ArrowInvalid: it is none.
    """
    try:
        found = pa.scalar(text).cast(pa.timestamp(kind.unit, "UTC"))
    except pa.ArrowInvalid:
        found = pa.scalar(text).cast(pa.timestamp(kind.unit))
    return pa.scalar(found.value, pa.int64()).cast(kind)


def _compared_as(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _compared_as(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.large_binary()
    return kind


def chosen(batch: pa.RecordBatch, condition: Condition) -> pa.BooleanArray:
    """Which rows fulfil a bound condition: bool[rows] without nulls."""
    return pc.fill_null(_evaluated(batch, condition), False)


def _evaluated(batch: pa.RecordBatch, condition: Condition) -> pa.BooleanArray:
    match condition:
        case Negation(of):
            return pc.invert(_evaluated(batch, of))
        case Both(left, right):
            return pc.and_kleene(_evaluated(batch, left), _evaluated(batch, right))
        case Either(left, right):
            return pc.or_kleene(_evaluated(batch, left), _evaluated(batch, right))
    values = batch.column(condition.column)
    if isinstance(condition, IsNull):
        return pc.is_null(values)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = _compared_as(values.type)
    values = values.cast(kind) if values.type != kind else values
    if isinstance(condition, Comparison):
        return _COMPUTE[condition.operator](values, condition.value)
    wanted = pa.array(condition.values, kind)
    return pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), pc.is_in(values, wanted))


@dataclass(frozen=True)
class Fact:
    """What is known of a column in a part of the data.

    Args:
      low, high: no value is below or above; `comparable_value` of scalars. None where it isn't known.
      has_values, has_nulls: false where there is none.
      excludes: says of a value that it isn't there.
    """

    low: Any = None
    high: Any = None
    has_values: bool = True
    has_nulls: bool = True
    excludes: Callable[[pa.Scalar], bool] | None = None


def comparable_value(value: pa.Scalar) -> Any:
    """A value that Python compares as Arrow does: dates and times by their numbers."""
    if pa.types.is_temporal(value.type):
        return value.value
    return value.as_py()


def can_hold(condition: Condition, facts: Mapping[str, Sequence[Fact]]) -> bool:
    """Whether a bound condition may be true of some row.

    Args:
      condition: bound.
      facts: by column; all of a column's hold. Columns of which nothing is known may be absent.
    """
    return True in outcomes(condition, facts)


def outcomes(condition: Condition, facts: Mapping[str, Sequence[Fact]]) -> Outcomes:
    """What a bound condition can come to; see `can_hold`."""
    match condition:
        case Negation(of):
            return frozenset(None if found is None else not found for found in outcomes(of, facts))
        case Both(left, right):
            return frozenset(map(_and, product(outcomes(left, facts), outcomes(right, facts))))
        case Either(left, right):
            return frozenset(map(_or, product(outcomes(left, facts), outcomes(right, facts))))
    return reduce(
        frozenset.__and__, (_leaf(condition, fact) for fact in facts.get(condition.column, ())), _ANY
    )


def _and(pair: tuple[bool | None, bool | None]) -> bool | None:
    if False in pair:
        return False
    return None if None in pair else True


def _or(pair: tuple[bool | None, bool | None]) -> bool | None:
    if True in pair:
        return True
    return None if None in pair else False


def _leaf(condition: Comparison | Membership | IsNull, fact: Fact) -> Outcomes:
    if isinstance(condition, IsNull):
        return frozenset([True] * fact.has_nulls + [False] * fact.has_values)
    unknown = frozenset([None] * fact.has_nulls)
    if not fact.has_values:
        return unknown
    if isinstance(condition, Membership):
        return unknown | _member(condition.values, fact)
    return unknown | frozenset(_compared(condition.operator, condition.value, fact))


def _member(values: Sequence[pa.Scalar], fact: Fact) -> Outcomes:
    """A value is in a list where it equals one of it; here NaN equals NaN, which lies within no bounds."""
    each = [{True, False} if _is_nan(value) else set(_compared("=", value, fact)) for value in values]
    return frozenset([True] * any(True in found for found in each) + [False] * ({True} not in each))


def _is_nan(value: pa.Scalar) -> bool:
    return bool(pa.types.is_floating(value.type)) and value.is_valid and value.as_py() != value.as_py()


def _compared(operator: str, value: pa.Scalar, fact: Fact) -> Iterator[bool]:
    """What a comparison can come to for the values that there are."""
    if operator == "!=":
        yield from (not found for found in _compared("=", value, fact))
        return
    plain, low, high = comparable_value(value), fact.low, fact.high
    is_float = pa.types.is_floating(value.type)  # a NaN compares false, and lies within no bounds
    if operator == "=":
        absent = fact.excludes is not None and fact.excludes(value)
        if not absent and (low is None or low <= plain) and (high is None or plain <= high):
            yield True
        if is_float or not (low == high == plain):
            yield False
        return
    below, at_most = (low is None or low < plain), (low is None or low <= plain)
    above, at_least = (high is None or high > plain), (high is None or high >= plain)
    can, cannot = {
        "<": (below, at_least),
        "<=": (at_most, above),
        ">": (above, at_most),
        ">=": (at_least, below),
    }[operator]
    if can:
        yield True
    if cannot or is_float:
        yield False
