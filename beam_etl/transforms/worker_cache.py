"""What workers keep of a key's state in a form that is faster than reading it: true as long as its version is."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol

CACHE_BYTES = 1 << 30
"""In one process. What was used longest ago goes first, and is read from the state again."""


class Sized(Protocol):
    """What tells its bytes."""

    @property
    def nbytes(self) -> int: ...


class _Entry(NamedTuple):
    version: int
    value: Sized
    size: int
    """Of the value when it was put here."""


class WorkerCache:
    """Values by key, each of one version. Whoever takes one owns it until he puts it back: no two have the same."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._held: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def take(self, key: Hashable, version: int) -> Any | None:
        """The value, where it is of this version; it is not in the cache any more."""
        with self._lock:
            found = self._pop(key)
        return found.value if found is not None and found.version == version else None

    def put(self, key: Hashable, version: int, value: Sized) -> None:
        """Holds a value, and lets others go where all are more than the limit."""
        size = value.nbytes
        with self._lock:
            self._pop(key)
            self._held[key] = _Entry(version, value, size)
            self._size += size
            while self._size > self._limit:
                self._pop(next(iter(self._held)))

    def _pop(self, key: Hashable) -> "_Entry | None":
        found = self._held.pop(key, None)
        self._size -= 0 if found is None else found.size
        return found

    def __len__(self) -> int:
        return len(self._held)
