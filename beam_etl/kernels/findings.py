"""Findings: what a check found wrong, counted, the first ones in words."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

TOLD = 10
"""So many of a kind are told in words."""


class Found(NamedTuple):
    """What was found of one kind."""

    kind: str
    total: int
    first: tuple[tuple[int, str], ...]
    """At most TOLD: the row, and what is wrong with it."""


def found(kind: str, wrong: npt.NDArray[np.bool_], describe: Callable[[int], str]) -> list[Found]:
    """What is wrong in rows: nothing, or one finding.

    Args:
      kind: in a few words.
      wrong: bool[rows].
      describe: what is wrong with a row.
    """
    rows = np.flatnonzero(wrong)
    if not rows.size:
        return []
    return [Found(kind, rows.size, tuple((row, describe(row)) for row in rows[:TOLD].tolist()))]


def one(kind: str, what: str, row: int = -1) -> list[Found]:
    """A single finding; a row of -1 says that it is of no row."""
    return [Found(kind, 1, ((row, what),))]


def without_rows(each: Found) -> Found:
    """A finding whose rows aren't those of a file."""
    return each._replace(first=tuple((-1, what) for _, what in each.first))
