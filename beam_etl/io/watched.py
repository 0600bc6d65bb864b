"""Items made by another thread, so that one that is never done doesn't hold up who waits for it."""

import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

from apache_beam.runners.worker import statesampler

Item = TypeVar("Item")

_TOLD = os.path.exists("/proc/self/schedstat")
"""Whether the system tells the CPU time of a thread."""

_GATHERING_NS = 2_000_000
"""Items made within so long go over together: handing over takes some 50 us, as long as making several rejects."""


class StuckError(Exception):
    """Making one item took more seconds of CPU than it may. The thread that makes it is left to itself."""


def watched(make: Callable[[], Iterator[Item]], seconds: float) -> Iterator[Item]:
    """The items of `make()`, made by a thread that works only while the caller waits for the next one.

    Args:
      make: called by that thread; what it raises is raised here.
      seconds: of CPU, for one item: waiting for a disk, or for a core, is no fault of the content.

    Raises:
      StuckError: an item took longer, up to about twice as long.
    """
    maker = _Maker(make)
    maker.start()
    try:
        while True:
            items, error, more = maker.next(seconds)
            yield from items
            if error is not None:
                raise error
            if not more:
                return
    finally:
        maker.leave()


class _Maker(threading.Thread):
    def __init__(self, make: Callable[[], Iterator[Any]]) -> None:
        super().__init__(name="beam_etl-reading", daemon=True)
        self._make = make
        self._tracker = statesampler.get_current_tracker()
        self._asked = threading.Semaphore(0)
        self._answers: queue.SimpleQueue[tuple[list[Any], BaseException | None, bool]] = queue.SimpleQueue()
        self._left = False

    def run(self) -> None:
        statesampler.set_current_tracker(self._tracker)  # what it counts, it counts for the caller's step
        items = self._items()
        more = True
        while more:
            self._asked.acquire()
            if self._left:
                break
            made, error, start = [], None, time.monotonic_ns()
            try:
                for item in items:
                    made.append(item)
                    if time.monotonic_ns() - start > _GATHERING_NS:
                        break
                else:
                    more = False
            except BaseException as raised:  # noqa: BLE001 - as the caller would have had it
                error, more = raised, False
            self._answers.put((made, error, more))
            del made
        items.close()

    def _items(self) -> Generator[Any, None, None]:
        yield from self._make()

    def next(self, seconds: float) -> tuple[list[Any], BaseException | None, bool]:
        """What the thread makes next, what it failed with after that, and whether there may be more."""
        self._asked.release()
        since = None
        while True:
            try:
                return self._answers.get(timeout=seconds if since is None else seconds / 4)
            except queue.Empty:
                spent = self._spent()
                since = spent if since is None else since
                if spent - since >= seconds:
                    raise StuckError from None

    def leave(self) -> None:
        """Ends the thread once it waits."""
        self._left = True
        self._asked.release()

    def _spent(self) -> float:
        """Seconds of CPU so far; where the system doesn't tell, of any clock."""
        if not _TOLD:
            return time.monotonic()
        try:
            with open(f"/proc/self/task/{self.native_id}/schedstat", encoding="ascii") as told:
                return int(told.read().split()[0]) / 1e9
        except (OSError, ValueError, IndexError):  # it has ended, and its answer is there
            return 0.0
