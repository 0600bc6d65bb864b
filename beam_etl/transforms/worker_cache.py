"""What workers keep of a key's state in a form that is faster than reading it: true as long as its version is."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol

CACHE_BYTES = 1 << 30
"""In one process. What doesn't fit is read from the state each time."""

PATIENCE = 1 << 12
"""Values that are turned away before one goes that nobody took meanwhile: its key has most likely moved to another
worker. A turn of the keys of one worker has some hundreds: two or three tables of 64 partitions."""


class Sized(Protocol):
    """What tells its bytes."""

    @property
    def nbytes(self) -> int: ...


class _Entry(NamedTuple):
    version: int
    value: Sized
    size: int
    """Of the value when it was put here."""
    turned_away: int
    """How many others had been by then."""


class WorkerCache:
    """Values by key, each of one version. Whoever takes one owns it until he puts it back: no two have the same.

    Keys come in turn, window after window. If the newest took the place of the oldest, each would be gone just before
    its turn; so those that are here stay.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._held: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._size = 0
        self._turned_away = 0
        self._lock = threading.Lock()

    def take(self, key: Hashable, version: int) -> Any | None:
        """The value, where it is of this version; it is not in the cache any more."""
        with self._lock:
            found = self._pop(key)
        return found.value if found is not None and found.version == version else None

    def put(self, key: Hashable, version: int, value: Sized) -> None:
        """Holds a value, unless all would be more than the limit."""
        size = value.nbytes
        with self._lock:
            self._pop(key)
            while self._size + size > self._limit and self._is_forsaken():
                self._pop(next(iter(self._held)))
            if self._size + size > self._limit:
                self._turned_away += 1
                return
            self._held[key] = _Entry(version, value, size, self._turned_away)
            self._size += size

    def _is_forsaken(self) -> bool:
        """Whether the one that wasn't taken for longest has missed its turn."""
        oldest = next(iter(self._held.values()), None)
        return oldest is not None and self._turned_away - oldest.turned_away >= PATIENCE

    def _pop(self, key: Hashable) -> "_Entry | None":
        found = self._held.pop(key, None)
        self._size -= 0 if found is None else found.size
        return found

    def __len__(self) -> int:
        return len(self._held)
