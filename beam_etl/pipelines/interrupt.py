"""Ctrl-C and SIGTERM: stop at once, and leave no half-made output."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from beam_etl.io import manifest, staging

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def abandoning(folders: Sequence[str], run: str, in_process: bool) -> Iterator[None]:
    """While inside, a signal gives the run up and ends the process with 128 + its number.

    A commit that has begun is finished first, and stays. The process ends without waiting for worker threads: they may
    be in native code for a second, and the in-process runner would finish the stage. A job on a cluster goes on, so
    its files are left alone.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if in_process:
            threading.Thread(target=_stop, args=(folders, run, 128 + number)).start()
            return
        where = " and ".join(folders)
        _say(f"interrupted; the job goes on on the cluster and may still publish to {where}: cancel it there")
        os._exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def give_up(folders: Sequence[str], run: str) -> list[str]:
    """Removes what a run wrote to datasets that it didn't publish; those that it did."""
    published = []
    for folder in folders:
        if manifest.is_published(folder, run):
            published.append(folder)
        else:
            staging.abandon(folder, run, published=False)
    return published


def _stop(folders: Sequence[str], run: str, code: int) -> None:
    """In a thread of its own: the interrupted one may be at the commit, which this waits for."""
    with staging.turn(run):
        for folder in folders:
            if manifest.is_published(folder, run):
                _say(f"interrupted after {folder} was published; it stays")
            else:
                _say(f"interrupted; removing what was written to {folder} so far")
        give_up(folders, run)
        os._exit(code)


def _say(text: str) -> None:
    print(f"\n{text}", file=sys.stderr, flush=True)
