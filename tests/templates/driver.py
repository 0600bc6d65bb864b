"""Runs jobs one after another in this process, as their launcher would: one import of Beam's clients for all of them.

Run as a script, by the Python of an image. Standard input: a JSON list of `{"name", "module", "argv", "interrupted"}`.
Standard output: for each a line of JSON, `{"name", "code", "out", "err", "seconds"}`.
"""

import contextlib
import importlib
import io
import json
import signal
import sys
import threading
import time
import traceback
from typing import Any

PACE = 0.005
"""Seconds for one that Beam sleeps between two looks at a job."""


class _Quick:
    """In place of the module `time`, for what asks the service, and asks again.

    Attributes:
      interrupts: whether Ctrl-C is pressed while the launcher waits next.
    """

    interrupts = False

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds * PACE)
        if self.interrupts and threading.current_thread() is threading.main_thread():
            self.interrupts = False
            signal.raise_signal(signal.SIGINT)


_QUICK = _Quick()


def _run(job: dict[str, Any]) -> dict[str, Any]:
    _QUICK.interrupts = job["interrupted"]
    out, err, start = io.StringIO(), io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = importlib.import_module(job["module"]).run(job["argv"])
        except SystemExit as left:
            code = left.code
        except BaseException:  # noqa: BLE001 - it is told
            code = None
            traceback.print_exc()
    told = {"out": out.getvalue(), "err": err.getvalue(), "seconds": time.monotonic() - start}
    return {"name": job["name"], "code": code, **told}


def main() -> None:
    """See the module."""
    from apache_beam.runners.dataflow import dataflow_runner
    from apache_beam.utils import retry

    dataflow_runner.time = retry.time = _QUICK
    for job in json.load(sys.stdin):
        sys.stdout.write(json.dumps(_run(job)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
