"""What Beam finds out about the methods of a DoFn, looked up once in a process.

Beam asks for the arguments of all methods of a DoFn, some thirty, and for states and timers among them, whenever one
is put into a pipeline, translated, or made by a worker: hundreds of times a job, most of it Python's `inspect`.
It reads the source of `process` as often. Nothing of that can have changed meanwhile.
"""

import functools
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

from apache_beam.transforms import core, userstate
from apache_beam.typehints.decorators import IOTypeHints

Arguments = tuple[list[str], list[Any]]
"""Names, without the one that is bound, and the defaults of the last ones."""

Specs = tuple[set[Any], set[Any]]
"""State and timers."""


@functools.cache
def look_up_once() -> None:
    """From now on Beam looks at a method of a class once, and then knows. Nothing else changes."""
    core.get_function_args_defaults = _arguments_once(core.get_function_args_defaults)
    userstate.get_dofn_specs = _specs_once(userstate.get_dofn_specs)
    core._check_fn_use_yield_and_return = _method_once(core._check_fn_use_yield_and_return)
    IOTypeHints.from_callable = staticmethod(_method_once(IOTypeHints.from_callable))


def _method_once(look_up: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What is found out about a method of a class; `look_up` is asked about other functions each time."""
    known: WeakKeyDictionary[FunctionType, Any] = WeakKeyDictionary()

    def known_or_looked_up(function: Any) -> Any:
        if not isinstance(function, MethodType) or not isinstance(function.__func__, FunctionType):
            return look_up(function)
        if function.__func__ not in known:
            known[function.__func__] = look_up(function)
        return known[function.__func__]

    return known_or_looked_up


def _arguments_once(look_up: Callable[[Any], Arguments]) -> Callable[[Any], Arguments]:
    look_up = _method_once(look_up)

    def own(function: Any) -> Arguments:
        names, defaults = look_up(function)
        return list(names), list(defaults)  # the caller's, as ever

    return own


def _specs_once(look_up: Callable[[Any], Specs]) -> Callable[[Any], Specs]:
    known: WeakKeyDictionary[type, Specs] = WeakKeyDictionary()

    def known_or_looked_up(dofn: Any) -> Specs:
        kind = type(dofn)
        # What wraps another has the other's, not its class's.
        if _takes_more(dofn) if hasattr(kind, "_inspect_process") else "process" in vars(dofn):
            return look_up(dofn)
        found = known.get(kind)
        if found is None:
            found = known[kind] = look_up(dofn)
        states, timers = found
        return set(states), set(timers)

    return known_or_looked_up


def _takes_more(dofn: Any) -> bool:
    """Whether `process` takes what Beam fills in: a state, a timer, the window."""
    _, defaults = core.get_function_arguments(dofn, "process")
    return any(isinstance(default, core._DoFnParam) for default in defaults)
