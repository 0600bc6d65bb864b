"""The one way from a Python loop to native code: `@compiled` on a function of arrays and scalars (Numba).

The annotations are the signature, so that a kernel has one compiled form, known before it is called:

    @compiled
    def total(values: ReadOnly[np.int64], first: int) -> int: ...

`int`, `float`, `bool` and NumPy scalars pass by value; `tuple[int, int]` returns two.
`npt.NDArray[np.int64]` is an array that the kernel writes; `ReadOnly[np.int64]` takes any, Arrow's buffers
too. Arrays are contiguous, of one dimension. A kernel may call other kernels. Only one that returns an array,
or calls one that does, may make arrays. It runs without the GIL.

Nothing is compiled, nor Numba imported, before the first call. The result is kept in a folder that only this
user can write: $BEAM_ETL_CACHE_DIR, or beam_etl in $XDG_CACHE_HOME or ~/.cache. Where there can't be one,
each process compiles for itself. What was kept is compared with its digest before it is run: a damaged file
is compiled again. Other sources, another Numba and another kind of CPU have folders of their own; one that
wasn't used for UNUSED_DAYS goes when there is a new one.
"""

import functools
import hashlib
import inspect
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import (
    Annotated,
    Any,
    Generic,
    ParamSpec,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
import numpy.typing as npt

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Scalar = TypeVar("Scalar", bound=np.generic)
ReadOnly = Annotated[npt.NDArray[Scalar], "read-only"]

UNUSED_DAYS = 30

_SEAL = "seal.json"
_kernels: "list[Kernel[..., Any]]" = []
_log = logging.getLogger(__name__)


class Kernel(Generic[Parameters, Result]):
    """A function that is compiled when it is first called. `__wrapped__` is the function in Python."""

    def __init__(self, function: Callable[Parameters, Result]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._native: Callable[Parameters, Result] | None = None
        _kernels.append(self)

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return (self._native or self.native())(*args, **kwargs)

    def native(self) -> Callable[Parameters, Result]:
        """The compiled function. Threads that ask at the same time wait for one compilation."""
        numba = _numba()
        with numba.core.compiler_lock.global_compiler_lock, _without_extensions():
            if self._native is None:
                self._native = _compile(self._function)
            return self._native


def compiled(function: Callable[Parameters, Result]) -> Kernel[Parameters, Result]:
    """Decorator: a function of arrays and scalars, to be compiled by its annotations."""
    return Kernel(function)


def load_kept() -> Iterator[str]:
    """Loads the kernels of all imported modules that an earlier process has compiled and kept.

    Yields the name of each when it can be called. The others are left to their first call.
    """
    for kernel in _kernels:
        folder = _cache_folder(kernel._function)
        if folder is not None and _is_sound(folder):
            kernel.native()
            yield kernel._function.__qualname__


@functools.cache
def _numba() -> Any:
    """Numba, told that a kernel named in another kernel is a function to call."""
    import numba
    from numba.extending import typeof_impl

    @typeof_impl.register(Kernel)
    def type_of(kernel: Kernel[..., Any], context: object) -> Any:
        return numba.types.Dispatcher(kernel.native())

    return numba


@functools.cache
def _load_arrays() -> None:
    """Loads Numba's arrays, to compile, without the look for a BLAS there, which imports SciPy: 0.2 s of each process.

    No kernel uses one, nor does Numba of what it looks for there but a faster inner product of floats.
    """
    from numba.np import linalg

    look = linalg.ensure_blas
    linalg.ensure_blas = _no_blas
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        linalg.ensure_blas = look


def _no_blas() -> None:
    raise ImportError("not looked for")


@contextmanager
def _without_extensions() -> Iterator[None]:
    """Kernels need no types of other libraries: those that extend Numba, such as awkward, take 0.1 s to import.

    They are loaded as ever when somebody else compiles.
    """
    entrypoints = _numba().core.entrypoints
    before = entrypoints._already_initialized
    entrypoints._already_initialized = True
    try:
        yield
    finally:
        entrypoints._already_initialized = before


def _compile(function: Callable[..., Any]) -> Any:
    if _numba().config.DISABLE_JIT:
        return function
    folder = _cache_folder(function)
    if folder is not None:
        try:
            return _compile_kept(function, folder)
        except (OSError, RuntimeError) as error:
            _log.debug("%s: compiled for this process only: %s", function.__qualname__, error)
    _load_arrays()
    return _compile_now(_dispatcher(function))


def _compile_kept(function: Callable[..., Any], folder: Path) -> Any:
    """Takes a kernel from its folder, or compiles it and puts it there."""
    is_kept = _is_sound(folder)
    if not is_kept:
        for index in folder.rglob("*.nbi"):
            index.unlink(missing_ok=True)
    native = _dispatcher(function)
    with _cache_in(folder):
        native.enable_caching()
    if folder not in Path(native.stats.cache_path).parents:  # Numba went on to a folder of its own choice
        raise OSError(f"{folder} is not writable")
    if is_kept:
        native._cache.load_overload = functools.partial(_load, native._cache._load_overload)
        if _makes_arrays(function):
            _numba().core.runtime.rtsys.initialize(native.targetctx)
    else:
        _load_arrays()
    _compile_now(native)
    if native.stats.cache_misses and _digest_of_sources() == _SOURCES:
        _seal(folder)
    return native


def _load(look: Callable[[Any, Any], Any], signature: Any, context: Any) -> Any:
    """What is kept, or None. Numba would load all that it can compile first: 0.3 s, where nothing is to be compiled."""
    found = look(signature, context)
    if found is None:
        _load_arrays()
    return found


def _compile_now(native: Any) -> Any:
    native.compile(_signature(native.py_func))
    native.disable_compile()
    return native


def _dispatcher(function: Callable[..., Any]) -> Any:
    """Numba's function, not yet compiled.

    It counts references only if it makes arrays: that costs 5 ns for each array passed to another kernel.
    """
    return _numba().njit(nogil=True, _nrt=_makes_arrays(function))(function)


@functools.cache
def _makes_arrays(function: Callable[..., Any]) -> bool:
    """Whether it returns an array, or calls a kernel that makes some."""
    if get_origin(get_type_hints(function)["return"]) is np.ndarray:
        return True
    return any(_makes_arrays(kernel._function) for kernel in _called(function))


def _called(function: Callable[..., Any]) -> Iterator[Kernel[..., Any]]:
    """The kernels that a function names, also as `module.kernel`, but for itself."""
    known = inspect.getclosurevars(function)
    named = [*known.globals.values(), *known.nonlocals.values()]
    modules = [one for one in named if isinstance(one, ModuleType)]
    named += [vars(module).get(name) for module in modules for name in function.__code__.co_names]
    return (one for one in named if isinstance(one, Kernel) and one._function is not function)


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    config = _numba().config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before


def _signature(function: Callable[..., Any]) -> Any:
    hints = get_type_hints(function, include_extras=True)
    result = hints.pop("return")
    return _numba_type(result)(*map(_numba_type, hints.values()))


def _numba_type(hint: Any) -> Any:
    types = _numba().types
    simple = {int: types.int64, float: types.float64, bool: types.boolean, type(None): types.void}
    if hint in simple:
        return simple[hint]
    if isinstance(hint, type) and issubclass(hint, np.generic):
        return _numba().from_dtype(np.dtype(hint))
    if get_origin(hint) is tuple:
        return types.Tuple([_numba_type(part) for part in get_args(hint)])
    array = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(array) is np.ndarray:
        (dtype,) = get_args(get_args(array)[1])
        return types.Array(_numba_type(dtype), 1, "C", readonly=array is not hint)
    raise TypeError(f"{hint!r} is no type of a kernel's argument or result")


def _cache_folder(function: Callable[..., Any]) -> Path | None:
    """The folder of one kernel of one source file, or None where this user can't have a private one."""
    try:
        base = os.environ.get("BEAM_ETL_CACHE_DIR")
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        private = (Path(base) if base else Path(home) / "beam_etl") / "kernels"
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = private.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
            raise PermissionError(f"{private} can be written by other users")  # and what lies there is run
        place = hashlib.sha256(function.__code__.co_filename.encode()).hexdigest()[:16]
        version = _version_folder(private.resolve())
        folder = version / f"{function.__module__}.{function.__qualname__}-{place}"
        folder.mkdir(exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        _log.debug("%s: compiled for this process only: %s", function.__qualname__, error)
        return None
    return folder


@functools.cache
def _version() -> str:
    """Of these sources, this Numba and this kind of CPU."""
    cpu = _numba().core.registry.cpu_target.target_context.codegen().magic_tuple()
    return hashlib.sha256(json.dumps([_SOURCES, _numba().__version__, cpu]).encode()).hexdigest()[:16]


def _version_folder(private: Path) -> Path:
    """The folder of this version. When it is made, unused ones go."""
    folder = private / _version()
    try:
        folder.mkdir()
    except FileExistsError:
        os.utime(folder)
        return folder
    oldest = folder.stat().st_mtime - UNUSED_DAYS * 24 * 60 * 60
    for other in private.glob("[0-9a-f]" * len(folder.name)):
        if other.stat().st_mtime < oldest:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def _is_sound(folder: Path) -> bool:
    """Whether a kernel's files are those that were sealed."""
    try:
        return bool(json.loads((folder / _SEAL).read_bytes()) == _contents(folder))
    except (OSError, ValueError):
        return False


def _seal(folder: Path) -> None:
    draft = folder / f"{_SEAL}.{os.getpid()}"
    draft.write_text(json.dumps(_contents(folder)))
    draft.replace(folder / _SEAL)


def _contents(folder: Path) -> dict[str, str]:
    """Digests of Numba's index and data files."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.nb?"))
    }


def _digest_of_sources() -> str:
    """Of all kernels. (Numba looks at the file of a kernel, not at those of kernels that it calls.)"""
    digest = hashlib.sha256()
    for folder, within, names in os.walk(Path(__file__).parent):
        within.sort()
        for name in sorted(names):
            if name.endswith(".py"):
                digest.update(Path(folder, name).read_bytes())
    return digest.hexdigest()


_SOURCES = _digest_of_sources()
"""As this process imports them; others may be put in their place while it runs."""
