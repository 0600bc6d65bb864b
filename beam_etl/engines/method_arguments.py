"""The arguments of a DoFn's methods, looked up once in a process.

Beam asks for those of all methods of a DoFn, some thirty, whenever one is put into a pipeline, translated, or made by a
worker: hundreds of times a job, and most of that is Python's `inspect`. They can't have changed meanwhile.
"""

import functools
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

from apache_beam.transforms import core

Arguments = tuple[list[str], list[Any]]
"""Names, without the one that is bound, and the defaults of the last ones."""


@functools.cache
def look_up_once() -> None:
    """From now on Beam looks at a method of a class once, and then knows. Nothing else changes."""
    core.get_function_args_defaults = _once(core.get_function_args_defaults)


def _once(look_up: Callable[[Any], Arguments]) -> Callable[[Any], Arguments]:
    known: WeakKeyDictionary[FunctionType, Arguments] = WeakKeyDictionary()

    def known_or_looked_up(function: Any) -> Arguments:
        if not isinstance(function, MethodType) or not isinstance(function.__func__, FunctionType):
            return look_up(function)
        found = known.get(function.__func__)
        if found is None:
            found = known[function.__func__] = look_up(function)
        names, defaults = found
        return list(names), list(defaults)  # the caller's own, as ever

    return known_or_looked_up
