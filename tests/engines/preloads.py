"""What pools of tests load ahead, in place of the whole suite."""

import importlib
import threading
import time
from collections.abc import Iterator

from beam_etl.engines import worker


def nothing() -> Iterator[str]:
    """Workers come from a process that has loaded no more than Beam."""
    yield from ()


def short_elements() -> Iterator[str]:
    """One element may take three seconds."""
    worker.ELEMENT_MINUTES = 3 / 60
    yield "short elements"


def a_thread() -> Iterator[str]:
    """Something that starts a thread when it is loaded."""
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    yield "a thread"


def a_module() -> Iterator[str]:
    """A module of the job's own, which is on the path."""
    importlib.import_module("own_of_job")
    yield "own_of_job"
