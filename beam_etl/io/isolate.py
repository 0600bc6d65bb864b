"""Finding the few rows that make a native call fail, with few calls."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from beam_etl.io.errors import CONTENT_ERRORS

Result = TypeVar("Result")


def by_halves(
    function: Callable[[int, int], Result], start: int, stop: int
) -> Iterator[tuple[int, int, Result | Exception]]:
    """`function(i, j)` over ranges that cover [start, stop) in order: the whole, or halves where it fails.

    A range of one for which it fails comes with its error. So n bad rows of m cost about n log2(m) calls.
    """
    if start >= stop:
        return
    try:
        result = function(start, stop)
    except CONTENT_ERRORS as error:
        if stop - start == 1:
            yield start, stop, error
            return
    else:
        yield start, stop, result
        return
    middle = (start + stop) // 2
    yield from by_halves(function, start, middle)
    yield from by_halves(function, middle, stop)


def failures(
    function: Callable[[int, int], object], start: int, stop: int
) -> Iterator[tuple[int, Exception]]:
    """The places in [start, stop) at which `function` fails, with their errors."""
    for place, _, result in by_halves(function, start, stop):
        if isinstance(result, Exception):
            yield place, result
