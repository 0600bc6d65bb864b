"""A process that has loaded a pipeline and forks it for each order, to be killed: `python -m tests.killed_jobs`.

An order is a line of JSON: flags, and where the fork kills itself, or null. Answers are its process id, and when it has
ended its exit code, below 0 for a signal.
"""

import functools
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from beam_etl.pipelines.token_count import run


def arm(module: str, function: str, text: str, call: int, after: bool) -> None:
    """Has this process die at the n-th call of a function that has such a text among its first arguments."""
    owner: Any = importlib.import_module(module)
    *outer, last = function.split(".")
    for name in outer:
        owner = getattr(owner, name)
    called, calls = getattr(owner, last), iter(range(1 << 30))

    @functools.wraps(called)
    def dying(*arguments: Any, **options: Any) -> Any:
        dies = text in " ".join(map(str, arguments[:2])) and next(calls) == call
        if dies and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = called(*arguments, **options)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, last, dying)


def _work(flags: Sequence[str], step: Sequence[Any] | None) -> int:
    silent = os.open(os.devnull, os.O_RDWR)
    for file in (0, 1, 2):
        os.dup2(silent, file)
    if step is not None:
        arm(*step)
    return run(flags)


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    for order in iter(sys.stdin.readline, ""):
        flags, step = json.loads(order)
        process = os.fork()
        if not process:
            os._exit(_work(flags, step))
        _say(process)
        _say(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


if __name__ == "__main__":
    main()
