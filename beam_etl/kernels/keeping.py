"""Which document of a cluster is kept: a rule as numbers, so that the smallest (rank, node) stays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.text import count_characters

Ranks = npt.NDArray[np.uint64]

NAMED = {
    "first": (None, False),
    "longest": (schema.TEXT, True),
    "shortest": (schema.TEXT, False),
    "newest": (schema.TIME, True),
    "oldest": (schema.TIME, False),
}
"""Rules by name: the column, and whether the largest of it stays."""

_WORST = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_LAST = np.uint64(0xFFFF_FFFF_FFFF_FFFE)
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True)
class Keep:
    """The document of a cluster that stays: the one with the largest or smallest value of a column.

    `text` stands for its characters. No column: the first. Ties are broken by the smallest node; nulls and NaNs lose.
    """

    column: str | None = None
    largest: bool = False

    @classmethod
    def parse(cls, rule: str) -> "Keep":
        """first, longest, shortest, newest, oldest, max:COLUMN or min:COLUMN.

        Raises:
          ValueError: anything else. The message names the rules.
        """
        if rule in NAMED:
            return cls(*NAMED[rule])
        order, _, column = rule.partition(":")
        if order in ("max", "min") and column:
            return cls(column, order == "max")
        raise ValueError(f"keep is one of {', '.join(NAMED)}, max:COLUMN or min:COLUMN; got {rule!r}")


def ranks(batch: pa.RecordBatch, keep: Keep) -> Ranks:
    """How good each document is to keep: the smallest rank stays.

    Args:
      batch: documents that have the rule's column.
      keep: the rule.

    Returns:
      uint64[rows].

    Raises:
      TypeError: the column's values have no order that is the same everywhere, such as strings.
    """
    if keep.column is None:
        return np.zeros(batch.num_rows, np.uint64)
    values = batch.column(keep.column)
    known = values.is_valid().to_numpy(zero_copy_only=False)
    if keep.column == schema.TEXT:
        found = _ordered_integers(pa.array(count_characters(values)))
    elif pa.types.is_floating(values.type):
        floats = values.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
        known &= ~np.isnan(floats)
        found = _ordered_floats(floats)
    else:
        check_orderable(keep.column, values.type)
        found = _ordered_integers(values)
    return np.where(known, _directed(found, keep.largest), _WORST)


def check_orderable(column: str, kind: pa.DataType) -> None:
    """Raises TypeError for a column that `ranks` can't order; the message names it and its type."""
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    if not any(check(kind) for check in (*numbers, pa.types.is_temporal)):
        raise TypeError(f"column {column!r} is {kind}: documents are kept by numbers, dates and times")


def _directed(found: Ranks, largest: bool) -> Ranks:
    """Below the rank of what isn't known, so that the two largest numbers of 64 bits are equal."""
    below = np.minimum(found, _LAST)
    return _LAST - below if largest else below


def _ordered_integers(values: pa.Array) -> Ranks:
    """Whole numbers and times as unsigned ones of the same order; nulls as anything."""
    if pa.types.is_uint64(values.type):
        return values.fill_null(0).to_numpy(zero_copy_only=False)
    if pa.types.is_date32(values.type) or pa.types.is_time32(values.type):
        values = values.cast(pa.int32())
    signed = values.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return signed.view(np.uint64) ^ _SIGN


def _ordered_floats(values: npt.NDArray[np.float64]) -> Ranks:
    """IEEE 754 doubles as unsigned integers of the same order; -0.0 equals 0.0."""
    bits = (values + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)
