"""What a person asks of jobs on a Flink cluster: shown, attached to, and ended, by their names."""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from beam_etl.engines.flink import jobs
from beam_etl.engines.flink.cluster import COMMAND
from beam_etl.engines.flink.rest import TERMINAL, FlinkError, FlinkRest, JobLine
from beam_etl.engines.flink.savepoints import savepoint_folder, stop, take_savepoint, tell_to_end

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

LOG_SECONDS = 5
"""Between two lines of progress where nobody watches a terminal."""

_UNPUBLISHED = "unpublished"
"""The counter of datasets that a job decided not to publish."""


def describe_jobs(rest: FlinkRest) -> str:
    """A table of the jobs that the cluster remembers, the newest last, with the progress of those that run."""
    rows = [("job", "state", "started", "took", "")]
    for job in rest.jobs():
        started = datetime.fromtimestamp(job.start_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        doing = "" if job.state in TERMINAL else jobs.progress_text(rest.job(job.id))
        rows.append((job.name, job.state, started, f"{job.duration_ms / 1000:,.1f} s", doing))
    if len(rows) == 1:
        return f"Flink at {rest.address} knows no job"
    return "\n".join(_columns(rows))


def attach(rest: FlinkRest, name: str) -> int:
    """Shows the progress of a job until it ends; Ctrl-C leaves it to itself.

    Args:
      rest: of its cluster.
      name: of the job, the newest of that name; or the beginning of one that runs, if it is the only one.

    Returns:
      An exit code: 0 finished, 1 failed or cancelled (the cause is printed) or out of reach, 2 no such job or several,
      130 interrupted.
    """
    return _of_one(rest, name, _attach)


def cancel(rest: FlinkRest, name: str) -> int:
    """Cancels a job and waits until it has ended.

    Args:
      rest: of its cluster.
      name: as in `attach`.

    Returns:
      An exit code: 0 cancelled, 1 it had ended already, or didn't end or answer, 2 no such job or several.
    """
    return _of_one(rest, name, _cancel)


def savepoint(rest: FlinkRest, name: str, target: str | None, ends: bool) -> int:
    """Takes a savepoint of a stream, and prints its path.

    Args:
      rest: of its cluster.
      name: as in `attach`.
      target: folder of savepoints; None for the one beside the job's checkpoints.
      ends: whether the job ends with it.

    Returns:
      An exit code: 0 taken, 1 it failed, 2 no such job or several.
    """

    def act(rest: FlinkRest, job: JobLine) -> int:
        folder = target or savepoint_folder(rest, job.id)
        path = (stop if ends else take_savepoint)(rest, job.id, folder, jobs.SAVEPOINT_SECONDS)
        if ends:
            jobs.wait(rest, job.id, lambda status: None, poll_seconds=0.1)
        sys.stdout.write(f"{path}\n")
        _say(f"{job.name}: {'stopped' if ends else 'goes on'}")
        return DONE

    return _of_one(rest, name, act)


def drain(rest: FlinkRest, name: str) -> int:
    """Ends a stream for good: windows that are open give what they have.

    Args:
      rest: of its cluster.
      name: as in `attach`.

    Returns:
      An exit code: 0 drained, 1 it failed, 2 no such job or several.
    """

    def act(rest: FlinkRest, job: JobLine) -> int:
        tell_to_end(rest, job.id)
        _say(f"{job.name}: told to end")
        state = jobs.end_when_drained(rest, job.id)
        drained = state in ("FINISHED", "CANCELED")
        _say(f"{job.name}: {'drained' if drained else state.lower()}")
        return DONE if drained else FAILED

    return _of_one(rest, name, act)


def _attach(rest: FlinkRest, job: JobLine) -> int:
    line = _Line()
    try:
        status = jobs.wait(
            rest, job.id, lambda status: line.show(f"{job.name}: {jobs.progress_text(status)}")
        )
    except KeyboardInterrupt:
        line.end()
        here = f"{job.name} --flink_master={rest.address}"
        _say(
            f"{job.name} goes on. `{COMMAND} attach {here}` waits for it again, `{COMMAND} cancel {here}` ends it."
        )
        return INTERRUPTED
    finally:
        line.end()
    again = f", started again {jobs.times(status.restarts)}" if status.restarts else ""
    _say(f"{job.name}: {status.state.lower()} after {status.duration_ms / 1000:,.1f} s{again}")
    if status.state == "FAILED":
        _say(rest.failure(job.id) or "Flink tells no cause")
    if status.state != "FINISHED":
        return FAILED
    if any(
        name == _UNPUBLISHED and count for (_, _, name), count in rest.user_metrics(job.id).counters.items()
    ):
        _say(
            "it published nothing: another writer was faster, or _staging of its output has a verdict against it"
        )
        return FAILED
    return DONE


def _cancel(rest: FlinkRest, job: JobLine) -> int:
    ended_before = job.state in TERMINAL
    state = job.state if ended_before else jobs.cancel(rest, job.id)
    if state == "CANCELED" and not ended_before:
        _say(f"{job.name}: cancelled")
        return DONE
    _say(f"{job.name}: {'had ended' if state in TERMINAL else 'has not ended yet'}, {state.lower()}")
    return FAILED


def _of_one(rest: FlinkRest, name: str, act: Callable[[FlinkRest, JobLine], int]) -> int:
    try:
        known = rest.jobs()
        running = [job for job in known if job.state not in TERMINAL]
        found = [job for job in known if job.name == name][-1:]
        found = found or [job for job in running if job.name.startswith(name)]
        if len(found) == 1:
            return act(rest, found[0])
    except FlinkError as error:
        _say(str(error))
        return FAILED
    what = f"several jobs begin with {name!r}" if found else f"no job {name!r}"
    names = ", ".join(job.name for job in found or running) or "none"
    _say(f"{what} on Flink at {rest.address}. Running: {names}")
    return USAGE


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class _Line:
    """A text that changes: in place on a terminal, else a line when it has changed, and not too often."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = ""
        self._next = 0.0

    def show(self, text: str) -> None:
        """Shows it, unless it is shown already."""
        if text == self._shown or time.monotonic() < self._next:
            return
        self._shown = text
        self._next = 0.0 if self._terminal else time.monotonic() + LOG_SECONDS
        sys.stderr.write(f"\r\x1b[K{text}" if self._terminal else f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Makes room for what is written next."""
        if self._terminal and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        self._shown = ""
