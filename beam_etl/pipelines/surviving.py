"""Jobs in process that outlive what ends the process: a process of their own does the work, and another takes over."""

import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from beam_etl.engines.lifeline import end_with
from beam_etl.io import suspects
from beam_etl.pipelines.interrupt import SIGNALS, say

DEADLY = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
"""What ends a process by its own fault."""

MOST_STARTS = 10
"""Of one job: each begins anew."""


def surviving(work: Callable[[], int], name: str) -> int:
    """Does the work in a process of its own, and again where reading has ended that; an exit code, in each of them.

    The next process reads with care what the one that ended was reading (see `suspects`). So this is to be called while
    the process has read nothing yet, and its caller is to end the process with what it returns.

    Args:
      work: of a whole job. What it left when it ended is as after any worker that was started again.
      name: of the job, for what is said.
    """
    # A fork has no other threads; and nothing but Linux ends a process with the one that started it.
    if sys.platform != "linux" or threading.active_count() > 1:
        return work()
    for start in range(1, MOST_STARTS + 1):
        known = suspects.left_behind()
        ended = _apart()
        if ended is None:
            return work()
        if ended >= 0:
            return ended
        number = signal.Signals(-ended)
        new = suspects.left_behind() - known
        if number not in DEADLY or not new or start == MOST_STARTS:
            break
        say(
            f"{name}: the process was ended by {number.name} while it read. The job starts again, and reads the "
            f"{len(new)} parts of files that it was at in processes of their own"
        )
    return _end_by(number)


def _apart() -> int | None:
    """None in a new process that goes on; in this one, how that ended: its exit code, or a signal below 0."""
    sys.stdout.flush()
    sys.stderr.flush()
    own, child, early = os.getpid(), 0, list[int]()

    def pass_on(signal_number: int, frame: FrameType | None) -> None:
        del frame
        if not child:
            early.append(signal_number)
            return
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(child, signal_number)

    gc.freeze()  # else the collector writes to all that both processes share, which copies it
    previous = {number: signal.signal(number, pass_on) for number in SIGNALS}
    child = os.fork()
    try:
        if child:
            for signal_number in early:
                pass_on(signal_number, None)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    end_with(own)
    return None


def _end_by(number: signal.Signals) -> int:
    """Ends this process as the other one was."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it is not the one to look at
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number
