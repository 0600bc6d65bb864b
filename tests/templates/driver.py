"""Runs jobs one after another in this process, as their launcher would: one import of Beam's clients for all of them.

Run as a script, by the Python of an image. Standard input: a JSON list of `{"name", "module", "argv"}`. Standard
output: for each a line of JSON, `{"name", "code", "out", "err", "seconds"}`.
"""

import contextlib
import importlib
import io
import json
import sys
import time
import traceback
from typing import Any

PACE = 0.005
"""Seconds for one that Beam sleeps between two looks at a job."""


class _Quick:
    """In place of the module `time`, for what polls the service."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(seconds * PACE)


def _run(job: dict[str, Any]) -> dict[str, Any]:
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

    dataflow_runner.time = _Quick()
    for job in json.load(sys.stdin):
        sys.stdout.write(json.dumps(_run(job)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
