"""Ctrl-C and SIGTERM: stop at once, and leave no half-made output."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from beam_etl.io import commit, manifest, publishing, staging
from beam_etl.pipelines.pane_progress import published_lines

SIGNALS = (signal.SIGINT, signal.SIGTERM)

LEFT_BEHIND_SECONDS = 1
"""Workers of a job that a cluster has ended may write for a moment longer."""


class Interrupted(BaseException):
    """A signal came while a cluster runs the job."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number
        """The exit code that tells of it."""


class Signals:
    """What came while a job runs."""

    def __init__(self) -> None:
        self._number: int | None = None

    def came(self, number: int) -> None:
        """Remembers it: raised in a finaliser, say of gRPC's, Interrupted would be lost."""
        self._number = number
        raise Interrupted(number)

    def end(self) -> None:
        """From here on a signal ends this process at once: what is left to do is told and cleaned up."""
        if threading.current_thread() is threading.main_thread():
            for each in SIGNALS:
                signal.signal(each, _leave)

    def check(self) -> None:
        """Raises Interrupted if one came."""
        if self._number is not None:
            raise Interrupted(self._number)


@contextmanager
def abandoning(folders: Sequence[str], run: str, in_process: bool) -> Iterator[Signals]:
    """While inside, a signal ends the run.

    In process: the run is given up and the process ends with 128 + the signal's number, without waiting for worker
    threads: they may be in native code for a second, and the in-process runner would finish the stage. A commit that
    has begun is finished first, and stays.

    On a cluster: Interrupted is raised, once. A second signal ends this process at once, whatever the job does.
    """
    signals = Signals()

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if in_process:
            threading.Thread(target=_stop, args=(folders, run, 128 + number)).start()
            return
        signals.end()
        signals.came(number)

    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    previous = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def give_up(folders: Sequence[str], run: str, in_process: bool, for_good: bool = False) -> list[str]:
    """Removes what a run left that it didn't publish; the datasets that it did.

    Args:
      folders: the datasets.
      run: whose remains.
      in_process: nobody but this process can have written.
      for_good: its engine may start the run yet.
    """
    seconds, published = 0 if in_process else LEFT_BEHIND_SECONDS, []
    for folder in folders:
        try:
            if commit.give_up(folder, run, seconds, for_good):
                published.append(folder)
        except (OSError, manifest.DatasetError) as error:
            say(f"what the run {run} wrote to {folder} couldn't be removed: {error}")
    return published


def _stop(folders: Sequence[str], run: str, code: int) -> None:
    """In a thread of its own: the interrupted one may be at the commit, which this waits for."""
    with staging.turn(run):
        tell_and_give_up(folders, run, in_process=True)
        os._exit(code)


def tell_and_give_up(folders: Sequence[str], run: str, in_process: bool, for_good: bool = False) -> None:
    """Says which datasets of an interrupted run stay, and removes what was written to the others."""
    for folder in folders:
        head = manifest.latest(folder)
        if head is not None and run in head.streams:
            say("\n".join(["stopped", *published_lines(folder, run)]))
        elif publishing.is_published(folder, run):
            say(f"interrupted after {folder} was published; it stays")
        else:
            say(f"interrupted; removing what was written to {folder} so far")
    give_up(folders, run, in_process, for_good)


def say(text: str) -> None:
    """A line on stderr, below a progress display."""
    print(f"\n{text}", file=sys.stderr, flush=True)


def _leave(number: int, frame: FrameType | None) -> None:
    del frame
    say("interrupted while cleaning up: something may be left")
    os._exit(128 + number)
