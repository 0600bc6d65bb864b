"""Finding the few rows whose content makes a native call fail, or ends the process that makes it."""

from collections.abc import Callable, Hashable, Iterator
from typing import TypeVar

from beam_etl.io.errors import CONTENT_ERRORS
from beam_etl.kernels import halving

Result = TypeVar("Result")

Place = tuple[Hashable, ...]
"""What a reader is about to do, in words and numbers that are the same whenever it comes there."""

_told: Callable[[Place], None] | None = None


MAY_PASS = "; it may not be so in another run"
"""In the message of a FatalError of which the machine may be the cause, not what is here."""


class FatalError(ValueError):
    """What is here ended a process that read it. The message says how."""


def entering(*place: Hashable) -> None:
    """Told by a reader before each call whose content might end the process. Free where nobody listens.

    Raises:
      FatalError: it did end one. So the reader goes on as after any content that can't be read.
    """
    if _told is not None:
        _told(place)


def listen(told: Callable[[Place], None] | None) -> None:
    """From now on this process tells `told` where it enters; None ends that."""
    global _told
    _told = told


def by_halves(
    function: Callable[[int, int], Result], start: int, stop: int
) -> Iterator[tuple[int, int, Result | Exception]]:
    """As `kernels.halving.by_halves`, for what libraries raise on bad content; row by row where a process ended."""
    fatal: FatalError | None = None

    def careful(first: int, last: int) -> Result:
        nonlocal fatal
        if fatal and last - first > 1:
            raise fatal  # each half that has the row would end another process
        try:
            return function(first, last)
        except FatalError as error:
            fatal = error
            raise

    yield from halving.by_halves(careful, start, stop, CONTENT_ERRORS)


def failures(
    function: Callable[[int, int], object], start: int, stop: int
) -> Iterator[tuple[int, Exception]]:
    """The places in [start, stop) at which `function` fails, with their errors."""
    for place, _, result in by_halves(function, start, stop):
        if isinstance(result, Exception):
            yield place, result
