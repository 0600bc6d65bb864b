"""Rows of groups that have codes: counted, added up and compared in arrays in which a code is a place."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.compiled import ReadOnly, compiled

Column: TypeAlias = pa.Array | pa.ChunkedArray
Integers = npt.NDArray[np.int64]

MANY_ROWS = 1 << 18
"""From so many rows on it is worth loading the kernels, which takes some 0.3 s once; then it is three times as fast as
Arrow's group_by."""

_CODE = "code"
_LIMITS = {"min": np.iinfo(np.int64).max, "max": np.iinfo(np.int64).min}


def group_codes(
    codes: Column, groups: int, columns: Mapping[str, Column], wanted: Mapping[str, str]
) -> tuple[pa.Array, dict[str, pa.Array]] | None:
    """What is asked of the rows of each code.

    Args:
      codes: integers of rows, below `groups`, which isn't checked; nulls are a group.
      groups: how many codes there are.
      columns: what is summed, counted or compared.
      wanted: `count`, `sum`, `min` or `max` by the names of some columns; `count_all` by any name.

    Returns:
      The codes that some row has, each once, and by name what was asked of their rows: counts and sums int64, limits of
      the column's type. None where the columns aren't all integers that fit, limits of such without nulls: Arrow's
      group_by has no such bounds.
    """
    if not all(_is_simple(columns.get(name), function) for name, function in wanted.items()):
        return None
    found = {
        name: np.full(groups + 1, _LIMITS.get(function, 0), np.int64) for name, function in wanted.items()
    }
    present = np.zeros(groups + 1, np.int64)
    used = {name: columns[name] for name, function in wanted.items() if function != "count_all"}
    for batch in pa.table({**used, _CODE: pc.fill_null(codes.cast(pa.int32()), groups)}).to_batches():
        code = batch.column(_CODE).to_numpy()
        _count(code, present)
        for name in used:
            _add(wanted[name], code, batch.column(name), found[name])
    places = np.flatnonzero(present)
    answers = {
        name: pa.array((present if function == "count_all" else found[name])[places])
        for name, function in wanted.items()
    }
    for name, function in wanted.items():
        if function in _LIMITS:
            answers[name] = answers[name].cast(columns[name].type)
    return pa.array(places.astype(np.int32), mask=places == groups), answers


def _is_simple(values: Column | None, function: str) -> bool:
    if values is None or function in ("count_all", "count"):
        return True
    if not pa.types.is_integer(values.type) or pa.types.is_uint64(values.type):
        return False
    return function == "sum" or not values.null_count


def _add(function: str, code: npt.NDArray[np.int32], values: pa.Array, found: Integers) -> None:
    if function == "count":
        values = values.is_valid()
    numbers = pc.fill_null(values.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    kernel = {"min": _take_least, "max": _take_most}.get(function, _add_up)
    kernel(code, numbers, found)


@compiled
def _count(codes: ReadOnly[np.int32], found: npt.NDArray[np.int64]) -> None:
    for row in range(codes.size):
        found[np.uintp(codes[row])] += 1


@compiled
def _add_up(codes: ReadOnly[np.int32], values: ReadOnly[np.int64], found: npt.NDArray[np.int64]) -> None:
    for row in range(codes.size):
        found[np.uintp(codes[row])] += values[row]


@compiled
def _take_least(codes: ReadOnly[np.int32], values: ReadOnly[np.int64], found: npt.NDArray[np.int64]) -> None:
    for row in range(codes.size):
        place = np.uintp(codes[row])
        found[place] = min(found[place], values[row])


@compiled
def _take_most(codes: ReadOnly[np.int32], values: ReadOnly[np.int64], found: npt.NDArray[np.int64]) -> None:
    for row in range(codes.size):
        place = np.uintp(codes[row])
        found[place] = max(found[place], values[row])
