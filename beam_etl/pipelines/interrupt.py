"""Ctrl-C and SIGTERM: stop at once, and leave no half-made output."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from beam_etl.io import manifest, staging

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def abandoning(output: str, run: str, in_process: bool) -> Iterator[None]:
    """While inside, a signal gives the run up and ends the process with 128 + its number.

    A commit that has begun is finished first, and stays. The process ends without waiting for worker threads: they may
    be in native code for a second, and the in-process runner would finish the stage. A job on a cluster goes on, so
    its files are left alone.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if in_process:
            threading.Thread(target=_give_up, args=(output, run, 128 + number)).start()
            return
        _say(
            f"interrupted; the job goes on on the cluster and may still publish to {output}: cancel it there"
        )
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


def _give_up(output: str, run: str, code: int) -> None:
    """In a thread of its own: the interrupted one may be at the commit, which this waits for."""
    with staging.turn(run):
        published = manifest.is_published(output, run)
        if published:
            _say(f"interrupted after {output} was published; it stays")
        else:
            _say(f"interrupted; removing what was written to {output} so far")
        staging.abandon(output, run, published)
        os._exit(code)


def _say(text: str) -> None:
    print(f"\n{text}", file=sys.stderr, flush=True)
