"""Progress while a job runs, in this process or elsewhere."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

REFRESH_SECONDS = 0.2
LOG_SECONDS = 10
"""Between two lines where nobody watches a terminal."""


@contextmanager
def progress(total: int, files: int, done: Callable[[], tuple[int, int, int]]) -> Iterator[None]:
    """Draws bytes and files read, the rate and the time left on stderr, where that is a terminal; else nothing.

    Args:
      total: bytes of all input files.
      files: how many they are.
      done: bytes and files read so far in this process, and bytes of a second read.
    """
    if not sys.stderr.isatty():
        yield
        return
    stop = threading.Event()
    bar = tqdm(total=total, unit="B", unit_scale=True, desc="reading", dynamic_ncols=True, file=sys.stderr)

    def draw() -> None:
        while not stop.wait(REFRESH_SECONDS):
            show()

    def show() -> None:
        read, finished, again = done()
        bar.n = min(read, total)
        behind = f"second read: {again / total:.0%}" if again else "writing"
        bar.set_postfix_str(f"{finished:,} of {files:,} files" if read < total else behind, refresh=True)

    thread = threading.Thread(target=draw, daemon=True, name="progress")
    thread.start()
    try:
        yield
        show()
    finally:
        stop.set()
        thread.join()
        bar.close()


@contextmanager
def status_line(text: Callable[[], str]) -> Iterator[None]:
    """Shows a text that changes on stderr: in place on a terminal, else as a line every LOG_SECONDS, if it changed."""
    stop = threading.Event()
    terminal = sys.stderr.isatty()

    def show() -> None:
        shown = ""
        while not stop.wait(REFRESH_SECONDS if terminal else LOG_SECONDS):
            now = text()
            if now == shown:
                continue
            shown = now
            sys.stderr.write(f"\r\x1b[K{now}" if terminal else f"{now}\n")
            sys.stderr.flush()

    thread = threading.Thread(target=show, daemon=True, name="status line")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        if terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
