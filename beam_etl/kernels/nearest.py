"""Which rows can still be among the first k in an order, told by the values of its first column that have been seen."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.sorting import Order, ordered_floats
from beam_etl.kernels.where import Fact

Numbers = npt.NDArray[np.int64]

WAITING = 4
"""Values are dropped when there are more than so many times k."""


class Nearest:
    """The k-th value so far of the first column of an order: what is behind it needs no further look.

    What it says is true of the data, not of those who look: it may be asked about rows again, or never about others.

    Args:
      order: of rows.
      k: how many rows are wanted.
    """

    def __init__(self, order: Order, k: int) -> None:
        self._order, self._k = order, k
        self._descending = order.by[0].descending
        self._seen = np.empty(0, np.int64)
        self._bound: np.int64 | None = None

    @property
    def column(self) -> str:
        """The first of the order."""
        return self._order.columns[0]

    @property
    def order(self) -> Order:
        """Of rows."""
        return self._order

    def take_over(self, other: "Nearest") -> None:
        """Knows what another knows that began as a copy."""
        self._seen, self._bound = other._seen, other._bound

    def places(self, values: pa.Array) -> npt.NDArray[np.int64]:
        """Places of the rows that can be among the first k, ascending.

        Args:
          values: of the first column, of a type that `is_numbered`.
        """
        numbers = self._numbers(values)
        valid = values.is_valid().to_numpy(zero_copy_only=False) if values.null_count else None
        self._learn(numbers if valid is None else numbers[valid])
        if self._bound is None:
            return np.arange(len(values))
        is_near = numbers <= self._bound
        if valid is not None:
            is_near = (is_near & valid) if self._order.nulls == "last" else (is_near | ~valid)
        return np.flatnonzero(is_near)

    def can_hold(self, facts: Mapping[str, Sequence[Fact]], kind: pa.DataType) -> bool:
        """Whether a part of a file may have such a row.

        Args:
          facts: of it.
          kind: the type of the first column there.
        """
        if self._bound is None:
            return True
        return all(self._can_hold(fact, kind) for fact in facts.get(self.column, ()))

    def _can_hold(self, fact: Fact, kind: pa.DataType) -> bool:
        if self._order.nulls == "first" and fact.has_nulls:
            return True
        if not fact.has_values:
            return False
        limit = fact.high if self._descending else fact.low
        if limit is None or (self._descending and pa.types.is_floating(kind)):  # no footer tells of NaN
            return True
        values = pa.array([limit], pa.float64() if pa.types.is_floating(kind) else pa.int64())
        return bool(self._numbers(values)[0] <= self._bound)

    def _numbers(self, values: pa.Array) -> Numbers:
        """Integers that are the smaller, the sooner a value comes; any number for a null."""
        if pa.types.is_floating(values.type):
            values = ordered_floats(values)
        elif pa.types.is_temporal(values.type):
            values = values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())
        numbers = values.cast(pa.int64())
        plain: Numbers = (numbers.fill_null(0) if numbers.null_count else numbers).to_numpy()
        return ~plain if self._descending else plain

    def _learn(self, numbers: Numbers) -> None:
        if self._bound is not None:
            numbers = numbers[numbers < self._bound]
        self._seen = np.concatenate([self._seen, numbers])
        if len(self._seen) >= self._k and (self._bound is None or len(self._seen) > WAITING * self._k):
            self._seen = np.partition(self._seen, self._k - 1)[: self._k]
            self._bound = self._seen.max()


def is_numbered(kind: pa.DataType) -> bool:
    """Whether values of a type compare as 64-bit integers: numbers and times, that is."""
    whole = pa.types.is_integer(kind) and not pa.types.is_uint64(kind)
    return bool(
        whole or pa.types.is_floating(kind) or pa.types.is_temporal(kind)
    ) and not pa.types.is_interval(kind)
