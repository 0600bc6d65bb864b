"""Jobs in process that outlive what ends the process: a process of their own does the work, and another takes over."""

import atexit
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from beam_etl.engines.lifeline import end_with
from beam_etl.io import suspects
from beam_etl.pipelines.interrupt import SIGNALS, say

DEADLY = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
"""What ends a process by its own fault."""

LOOK_SECONDS = 1.0
"""After which a signal is passed on that a library's thread took."""

_SI_KERNEL = 0x80
"""As Linux has it: the sender of a signal is the kernel."""

MOST_STARTS = 10
"""Of one job: each begins anew."""


def surviving(work: Callable[[], int], name: str) -> int:
    """Does the work in a process of its own, and again where reading has ended that. Ends each of them with its code.

    The next process reads with care what the one that ended was reading (see `suspects`). So this is to be called while
    the process has read nothing yet. It returns where there is one process only, a profiler is on, or nobody reads what
    is printed: its caller is to end that process with what it returns, an exit code.

    Args:
      work: of a whole job. What it left when it ended is as after any worker that was started again.
      name: of the job, for what is said.
    """
    # A fork has no other threads; and nothing but Linux ends a process with the one that started it.
    if sys.platform != "linux" or threading.active_count() > 1:
        return work()
    for start in range(1, MOST_STARTS + 1):
        known = suspects.left_behind()
        apart = _apart()
        if apart is None:
            return _end_with(work())
        if apart.code >= 0:
            return _end_with(apart.code)
        number = signal.Signals(-apart.code)
        new = suspects.left_behind(apart.process) - known
        if number not in DEADLY or not new or start == MOST_STARTS:
            break
        say(
            f"{name}: the process was ended by {number.name} while it read. The job starts again, and reads the "
            f"{len(new)} parts of files that it was at in processes of their own"
        )
    return _end_by(number)


class _Ended(NamedTuple):
    """A process that has ended."""

    process: int
    code: int
    """Its exit code, or a signal below 0."""


def _apart() -> _Ended | None:
    """None in a new process that goes on; in this one, how that ended."""
    sys.stdout.flush()
    sys.stderr.flush()
    own, missed = os.getpid(), list[int]()
    gc.freeze()  # else the collector writes to all that both processes share, which copies it
    # Blocked signals wait for `_passing_on`; a thread of a library may take one all the same.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*SIGNALS, signal.SIGCHLD})
    previous = {number: signal.signal(number, lambda number, _: missed.append(number)) for number in SIGNALS}
    child = os.fork()
    try:
        if child:
            return _Ended(child, _passing_on(child, missed))
        end_with(own)
        return None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _passing_on(child: int, missed: list[int]) -> int:
    """Waits for a process, and tells it of signals; how it ended.

    Args:
      missed: signals that were handled instead of waiting.
    """

    def tell(number: int) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(child, number)

    while (
        came := signal.sigtimedwait(SIGNALS, 0)
    ) is not None:  # before there was a child, if from the terminal
        tell(came.si_signo)
    while True:
        came = signal.sigtimedwait([*SIGNALS, signal.SIGCHLD], LOOK_SECONDS)
        # Ctrl-C comes from the kernel, to all processes at the terminal.
        if came is not None and came.si_signo in SIGNALS and came.si_code != _SI_KERNEL:
            tell(came.si_signo)
        while missed:
            tell(missed.pop())
        process, status = os.waitpid(child, os.WNOHANG)
        if process:
            return os.waitstatus_to_exitcode(status)


def _end_with(code: int) -> int:
    """Ends this process as Python does, but for freeing all that it holds, which would take as long as a small job.

    The work is done: Ctrl-C ends no more than what is waited for.
    """
    if sys.getprofile() is not None:  # who asked for a profile wants to have it
        return code
    try:
        # what was begun; what was registered; what was printed
        for end in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined]
            with suppress(KeyboardInterrupt):
                end()
    except OSError:  # nobody reads: Python tells of it at its own end
        return code
    os._exit(code)


def _end_by(number: signal.Signals) -> int:
    """Ends this process as the other one was."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it is not the one to look at
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number
