"""Heavy resources (vocabularies, models) loaded once a process, whatever the threads, steps and elements."""

import functools
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def made_once(make: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """As functools.cache, for what takes long: threads that ask meanwhile wait, and don't make it each."""
    lock, made = threading.RLock(), functools.cache(make)

    @functools.wraps(make)
    def waiting(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with lock:
            return made(*args, **kwargs)  # type: ignore[arg-type]  # hashable, as of any cache

    return waiting


@dataclass
class _Slot:
    lock: threading.Lock
    made: Callable[..., Any] | None = None


class NotOfRowsError(Exception):
    """A kernel can't do its work, which says nothing of the rows that it was called with."""


class NotLoadedError(NotOfRowsError):
    """A process couldn't make what a kernel needs."""


_slots: dict[Hashable, _Slot] = {}
_slots_lock = threading.Lock()


@dataclass(frozen=True)
class OncePerProcess(Generic[Parameters, Result]):
    """A kernel that a process makes when it first calls it. Pickles as the factory's name and arguments."""

    factory: Callable[..., Callable[Parameters, Result]]
    args: tuple[Hashable, ...]

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return self.ready()(*args, **kwargs)

    def ready(self) -> Callable[Parameters, Result]:
        """As `get`, for a kernel at work, whose failures are told apart from those of its rows.

        Raises:
          NotLoadedError: the factory raised.
        """
        try:
            return self.get()
        except Exception as error:
            name = f"{self.factory.__module__}.{self.factory.__qualname__}"
            raise NotLoadedError(f"{name} failed on this worker: {type(error).__name__}: {error}") from error

    def get(self) -> Callable[Parameters, Result]:
        """The kernel itself. Threads that ask for the same one wait; those that ask for another don't.

        When the factory raises, this raises the same.
        """
        key = (self.factory.__module__, self.factory.__qualname__, self.args)
        with _slots_lock:
            slot = _slots.setdefault(key, _Slot(threading.Lock()))
        with slot.lock:
            if slot.made is None:
                slot.made = self.factory(*self.args)
            return slot.made


def once_per_process(
    factory: Callable[..., Callable[Parameters, Result]], *args: Hashable
) -> OncePerProcess[Parameters, Result]:
    """A kernel that `factory(*args)` makes, once in each process that calls it.

    All threads and pipeline steps share it: so it must be thread-safe. When the factory raises, the call that
    asked raises NotLoadedError, and the next call tries again.

    Args:
      factory: a function or class of an importable module; its name and `args` say what is the same kernel.
      args: what it is called with. They travel in the pickle, so they should be small.

    Raises:
      ValueError: the factory has no name of its own (a lambda, a local function, a partial).
      TypeError: an argument isn't hashable.
    """
    name = getattr(factory, "__qualname__", "")
    if not name or "<" in name:
        raise ValueError(
            f"once_per_process needs a function of a module, whose name says which it is, got {factory!r}"
        )
    hash(args)
    return OncePerProcess(factory, args)
