"""Runs inside SDK workers of tests: counts what each step processes, and waits where a test wants to meet it.

All that a worker tells lies in $BEAM_ETL_FAULTS/JOB, JOB the name of the Flink job:

- `trace-PID`: a line `step<TAB>in|out<TAB>rows` for every batch that a step took in or gave out, and a line
  `point<TAB>at<TAB>1` for every time that it came to a point;
- `armed-POINT-N`: made by the test. The N-th process that comes to the point renames it to `reached-POINT-N-PID`, and
  goes on when there is a file `go-POINT-N`.
"""

import contextlib
import functools
import json
import os
import re
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

FOLDER = "BEAM_ETL_FAULTS"

POISON = "no kernel takes this"
"""In a text: counting its tokens fails."""

_at_a_point = threading.RLock()

STEPS = {
    "reading": re.compile(r"Read documents.*/Read\b"),
    "writing": re.compile(r"Write dataset/Write (counts|removals)"),
}
"""Points that a step comes to when it counts a batch."""


@functools.cache
def _folder(process: int) -> str | None:
    """Where this process tells what it does; None where nobody asked."""
    del process  # a forked worker has a job of its own
    name = json.loads(os.environ.get("PIPELINE_OPTIONS") or "{}").get("beam:option:job_name:v1")
    folder = os.path.join(os.environ.get(FOLDER, ""), name or "")
    return folder if FOLDER in os.environ and name and os.path.isdir(folder) else None


def reach(point: str) -> None:
    """Waits here, once for every time that a test armed the point."""
    folder, process = _folder(os.getpid()), os.getpid()
    if folder is None:
        return
    _write(folder, point, "at", 1)
    for armed in sorted(name for name in os.listdir(folder) if name.startswith(f"armed-{point}-")):
        number = armed.rpartition("-")[2]
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.rename(
                os.path.join(folder, armed), os.path.join(folder, f"reached-{point}-{number}-{process}")
            )
            while not os.path.exists(os.path.join(folder, f"go-{point}-{number}")):
                time.sleep(0.02)
            return


def _tell(direction: str, rows: int) -> None:
    folder, step = _folder(os.getpid()), _step()
    if folder is None:
        return
    _write(folder, step, direction, rows)
    for point, pattern in STEPS.items():
        if pattern.search(step):
            reach(point)


def _write(folder: str, step: str, direction: str, rows: int) -> None:
    with open(os.path.join(folder, f"trace-{os.getpid()}"), "a", encoding="utf-8") as file:
        file.write(f"{step}\t{direction}\t{rows}\n")


def _step() -> str:
    from apache_beam.runners.worker import statesampler

    tracker = statesampler.get_current_tracker()
    return str(tracker.current_state().name_context.metrics_name()) if tracker else ""


def _change_metrics(module: ModuleType) -> None:
    kind = module.StepMetrics
    took_in, gave_out = kind.took_in, kind.gave_out

    def told_in(self: Any, batch: Any) -> None:
        took_in(self, batch)
        _tell("in", batch.num_rows)

    def told_out(self: Any, batch: Any) -> None:
        gave_out(self, batch)
        _tell("out", batch.num_rows)

    kind.took_in, kind.gave_out = told_in, told_out


def _around(owner: Any, name: str, before: str, after: str = "") -> None:
    """A function of a module or class, with a point before it and one behind it."""
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def with_points(*args: Any, **kwargs: Any) -> Any:
        with _at_a_point:
            reach(before)
            result = function(*args, **kwargs)
            if after:
                reach(after)
            return result

    setattr(owner, name, with_points)


def _change_commit(module: ModuleType) -> None:
    _around(module, "settle", "settling", "settled")
    _around(module, "place", "moving")


def _change_harness(module: ModuleType) -> None:
    """A worker ends what it is at, also when its task manager is gone: it does that beside the next attempt."""
    harness = module.SdkHarness
    run = harness.run

    def run_to_the_end(self: Any) -> None:
        try:
            run(self)
        finally:
            with _at_a_point:
                pass

    harness.run = run_to_the_end
    # By this the project's worker finds out that it has to leave within seconds.
    harness._alive = property(lambda self: True, lambda self, value: None)


def _change_counter(module: ModuleType) -> None:
    kind = module.DocumentCounter
    count = kind.__call__

    def refusing(self: Any, batch: Any) -> Any:
        if any(POISON in (text or "") for text in batch.column("text").to_pylist()):
            raise ValueError(f"a text with {POISON!r}")
        return count(self, batch)

    kind.__call__ = refusing


CHANGES: dict[str, Callable[[ModuleType], None]] = {
    "apache_beam.runners.worker.sdk_worker": _change_harness,
    "beam_etl.transforms.metrics": _change_metrics,
    "beam_etl.kernels.token_counts": _change_counter,
    "beam_etl.io.rewrite": lambda module: _around(module, "copy_split", "copying"),
    "beam_etl.io.commit": _change_commit,
    "beam_etl.io.publishing": lambda module: _around(module, "publish", "committing", "committed"),
    "beam_etl.io.spill_files": lambda module: _around(module.SpillFile, "close_split", "spilling", "spilled"),
    "beam_etl.io.spill": lambda module: _around(module, "_record", "recording", "recorded"),
    "beam_etl.io.apply_decisions": lambda module: _around(module._Apply, "_applied", "applying"),
}
"""Modules, and what is done to them once they are imported."""
