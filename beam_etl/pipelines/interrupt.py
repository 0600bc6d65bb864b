"""Ctrl-C and SIGTERM: stop at once, and leave no half-made output."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from beam_etl.io import manifest

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def abandoning(output: str, run: str) -> Iterator[None]:
    """While inside, a signal removes what the run has written so far and ends the process with 128 + its number.

    The process ends without waiting for worker threads: they may be in native code for a second, and the in-process
    runner would finish the stage first. A run that was published in the meantime stays published.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        print(f"\ninterrupted; removing what was written to {output} so far", file=sys.stderr, flush=True)
        manifest.abandon(output, run)
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
