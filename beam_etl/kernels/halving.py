"""Finding the few rows that make a call fail, with few calls."""

from collections.abc import Callable, Iterator
from typing import TypeVar

Result = TypeVar("Result")


def by_halves(
    function: Callable[[int, int], Result], start: int, stop: int, errors: tuple[type[Exception], ...]
) -> Iterator[tuple[int, int, Result | Exception]]:
    """`function(i, j)` over ranges that cover [start, stop) in order: the whole, or halves where it fails.

    A range of one for which it fails comes with its error. So n bad rows of m cost about n log2(m) calls.

    Args:
      function: of a range.
      start, stop: the whole.
      errors: what counts as failing; others are raised.
    """
    if start >= stop:
        return
    try:
        result = function(start, stop)
    except errors as error:
        if stop - start == 1:
            yield start, stop, error
            return
    else:
        yield start, stop, result
        return
    middle = (start + stop) // 2
    yield from by_halves(function, start, middle, errors)
    yield from by_halves(function, middle, stop, errors)
