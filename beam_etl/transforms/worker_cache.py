"""What workers keep of a key's state in a form that is faster than reading it: true as long as its version is."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Protocol

CACHE_BYTES = 1 << 30
"""In one process. What was used longest ago goes first, and is read from the state again."""


class Sized(Protocol):
    """What tells its bytes."""

    @property
    def nbytes(self) -> int: ...


class WorkerCache:
    """Values by key, each of one version. Whoever takes one owns it until he puts it back: no two have the same."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._held: OrderedDict[Hashable, tuple[int, Sized]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: Hashable, version: int) -> Any | None:
        """The value, where it is of this version; it is not in the cache any more."""
        with self._lock:
            found = self._held.pop(key, None)
        return found[1] if found is not None and found[0] == version else None

    def put(self, key: Hashable, version: int, value: Sized) -> None:
        """Holds a value, and lets others go where all are more than the limit."""
        with self._lock:
            self._held[key] = (version, value)
            self._held.move_to_end(key)
            size = sum(held.nbytes for _, held in self._held.values())
            while size > self._limit and self._held:
                _, (_, oldest) = self._held.popitem(last=False)
                size -= oldest.nbytes

    def __len__(self) -> int:
        return len(self._held)
