"""Finding the few rows whose content makes a native call fail."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from beam_etl.io.errors import CONTENT_ERRORS
from beam_etl.kernels import halving

Result = TypeVar("Result")


def by_halves(
    function: Callable[[int, int], Result], start: int, stop: int
) -> Iterator[tuple[int, int, Result | Exception]]:
    """As `kernels.halving.by_halves`, for what libraries raise on bad content."""
    return halving.by_halves(function, start, stop, CONTENT_ERRORS)


def failures(
    function: Callable[[int, int], object], start: int, stop: int
) -> Iterator[tuple[int, Exception]]:
    """The places in [start, stop) at which `function` fails, with their errors."""
    for place, _, result in by_halves(function, start, stop):
        if isinstance(result, Exception):
            yield place, result
