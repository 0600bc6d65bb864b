"""What a thread spends its time on. Each moment is counted once: by the innermost of those who measure it."""

import threading
import time


class _Thread(threading.local):
    """Nanoseconds of this thread, since it began."""

    counted = 0
    """That somebody has counted."""
    encoded = 0
    """Of those, that encoding batches took."""


_thread = _Thread()


class Stopwatch:
    """Runs from when it is made, and leaves out what other stopwatches measure meanwhile on this thread."""

    __slots__ = ("_before", "_start")

    def __init__(self) -> None:
        self._before = _thread.counted
        self._start = time.perf_counter_ns()

    def stop(self) -> int:
        """Its nanoseconds, which are counted now."""
        spent = time.perf_counter_ns() - self._start
        own = spent - (_thread.counted - self._before)
        _thread.counted = self._before + spent
        return own


def add_encoded(nanoseconds: int) -> None:
    """Tells that encoding took so long, which a stopwatch has measured."""
    _thread.encoded += nanoseconds


def encoded() -> int:
    """Nanoseconds that encoding batches has taken on this thread so far."""
    return _thread.encoded
