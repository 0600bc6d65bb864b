"""A file that is read by ranges over a network, and ahead where it is read in order."""

import io
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

WHOLE_BYTES = 1 << 20
"""A file of at most so many is fetched at once: a request takes as long as they do."""

WINDOW_BYTES = 4 << 20
"""Most that is fetched at once beyond what was asked for."""

HELD_BYTES = 48 << 20
"""Of windows of a file that are kept: columns of a row group are read in turns, each in order."""

AHEAD = 8
"""Windows that are fetched ahead at the same time, in a process."""

Fetch = Callable[[int, int], bytes]
"""Bytes from start to stop."""


class _Window(NamedTuple):
    start: int
    stop: int
    content: "Future[bytes]"
    is_ahead: bool


class RangeFile(io.RawIOBase):
    """Reads a file of `size` bytes through `fetch`.

    A read that begins where another one ended is one of a run in order: it fetches twice as much as that one did, up to
    WINDOW_BYTES, and the next window at the same time in the background. A read elsewhere fetches what is asked for.
    """

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._at = 0
        self._windows: OrderedDict[int, _Window] = OrderedDict()
        self._ends: dict[int, int] = {}
        """Where windows that are kept end, and their bytes."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        """Bytes of the file."""
        return self._size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        stop = self._size if size is None or size < 0 else min(self._at + size, self._size)
        pieces = []
        while self._at < stop:
            window = self._window(self._at, stop)
            content = window.content.result()
            end = min(stop, window.start + len(content))
            if end <= self._at:
                raise EOFError(f"the file ends at {self._at}, it had {self._size} bytes")
            pieces.append(content[self._at - window.start : end - window.start])
            self._at = end
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readall(self) -> bytes:
        return self.read()

    def close(self) -> None:
        for window in self._windows.values():
            window.content.cancel()
        self._windows.clear()
        super().close()

    def _window(self, start: int, stop: int) -> _Window:
        """The window that has the byte at `start`, fetched where there is none."""
        for window in self._windows.values():
            if window.start <= start < window.stop:
                self._windows.move_to_end(window.start)
                if window.is_ahead:
                    self._windows[window.start] = window._replace(is_ahead=False)
                    self._fetch_ahead(window.stop, 2 * (window.stop - window.start))
                return window
        if self._size <= WHOLE_BYTES:
            return self._fetched(0, self._size)
        before = self._ends.pop(start, 0)
        wanted = max(stop - start, min(2 * before, WINDOW_BYTES))
        window = self._fetched(start, min(start + wanted, self._size))
        if before:
            self._fetch_ahead(window.stop, 2 * wanted)
        return window

    def _fetched(self, start: int, stop: int) -> _Window:
        content: Future[bytes] = Future()
        content.set_result(self._fetch(start, stop))
        return self._keep(_Window(start, stop, content, is_ahead=False))

    def _fetch_ahead(self, start: int, size: int) -> None:
        stop = min(start + min(size, WINDOW_BYTES), self._size)
        if start < stop and start not in self._windows:
            self._keep(_Window(start, stop, _ahead().submit(self._fetch, start, stop), is_ahead=True))

    def _keep(self, window: _Window) -> _Window:
        self._windows[window.start] = window
        self._ends[window.stop] = window.stop - window.start
        held = sum(each.stop - each.start for each in self._windows.values())
        while held > HELD_BYTES and len(self._windows) > 2:
            _, oldest = self._windows.popitem(last=False)
            self._ends.pop(oldest.stop, None)
            held -= oldest.stop - oldest.start
        return window


@cache
def _ahead() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AHEAD, thread_name_prefix="fetch_ahead")
