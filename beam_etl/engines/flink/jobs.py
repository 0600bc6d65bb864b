"""Jobs on a Flink cluster: found by name, waited for, cancelled, and shown to a person."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from beam_etl.engines.flink.cluster import COMMAND
from beam_etl.engines.flink.rest import (
    TERMINAL,
    FlinkError,
    FlinkRest,
    JobLine,
    JobStatus,
    UnknownJobError,
    UnreachableError,
)
from beam_etl.engines.flink.savepoints import (
    is_at_end,
    savepoint_folder,
    stop,
    take_savepoint,
    tell_drained,
    tell_to_end,
)

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

SAVEPOINT_SECONDS = 600
"""For a savepoint of much state on a slow store."""

LOG_SECONDS = 5
"""Between two lines of progress where nobody watches a terminal."""

_ENDING_SECONDS = 60
"""From a savepoint to the end of its job."""

_UNPUBLISHED = "unpublished"
"""The counter of datasets that a job decided not to publish."""

_TAKEN_UP_SECONDS = 10
"""A job manager that comes back says that it isn't ready until it has taken up its jobs. This is for slow ones."""
_DETAILS_SECONDS = 5
"""What Flink tells of stages is up to 3 s old."""


def wait(
    rest: FlinkRest,
    job_id: str,
    seen: Callable[[JobStatus], None],
    lost_seconds: float = 300,
    poll_seconds: float = 0.5,
    deadline: float | None = None,
) -> JobStatus:
    """Waits until a job has ended; what Flink says of it then.

    Args:
      rest: of its cluster.
      job_id: Flink's.
      seen: told what Flink says, at every look.
      lost_seconds: for so long at a stretch the job manager may not answer: under high availability it comes back.
      poll_seconds: between two looks.
      deadline: in terms of `time.monotonic`: then a job that hasn't ended is returned as it is.

    Raises:
      UnreachableError: nobody answers any more. The job may go on.
      UnknownJobError: the job manager came back without the job.
    """
    patience, ended = _Patience(lost_seconds), None
    while True:
        late = deadline is not None and time.monotonic() > deadline
        try:
            status = rest.job(job_id)
        except (UnreachableError, UnknownJobError) as error:
            if late or not patience.bears(error):
                raise
        else:
            patience.rest()
            seen(status)
            if status.state in TERMINAL:
                ended = ended or time.monotonic()
                late = late or _settled(status) or time.monotonic() - ended > _DETAILS_SECONDS
            if late:
                return status
        time.sleep(poll_seconds)


class _Patience:
    """How long a job manager may not answer, or not know a job."""

    def __init__(self, lost_seconds: float) -> None:
        self._limits = {UnreachableError: lost_seconds, UnknownJobError: _TAKEN_UP_SECONDS}
        self.rest()

    def rest(self) -> None:
        """All is well again."""
        self._kind: type[FlinkError] | None = None
        self._since = 0.0

    def bears(self, error: UnreachableError | UnknownJobError) -> bool:
        """Whether this may go on."""
        if self._kind is not type(error):
            self._kind, self._since = type(error), time.monotonic()
        return time.monotonic() - self._since <= self._limits[type(error)]


def cancel(rest: FlinkRest, job_id: str, seconds: float = 60) -> str:
    """Cancels a job and waits until it has ended, at most so long; its state then.

    Raises:
      FlinkError: Flink doesn't answer, or doesn't know the job.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            rest.cancel(job_id)
            break
        except UnreachableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    return wait(rest, job_id, lambda status: None, poll_seconds=0.1, deadline=deadline).state


def progress_text(status: JobStatus) -> str:
    """What a job does now, in a line: `stages 12 of 38, running: Read documents`."""
    finished = sum(stage.state == "FINISHED" for stage in status.stages)
    text = f"stages {finished} of {len(status.stages)}"
    again = f"; started again {_times(status.restarts)}" if status.restarts else ""
    if status.state in ("INITIALIZING", "CREATED") or not status.stages:
        return "starting"
    if status.state != "RUNNING":
        doing = {"RESTARTING": "starting again after a failure"}.get(status.state, status.state.lower())
        return f"{text}, {doing}{again}"
    running = next((stage.name for stage in status.stages if stage.state == "RUNNING"), None)
    if running:
        return f"{text}, running: {running}{again}"
    waiting = any(stage.state == "SCHEDULED" for stage in status.stages)
    return f"{text}, {'waiting for free slots' if waiting else 'deploying'}{again}"


def describe_jobs(rest: FlinkRest) -> str:
    """A table of the jobs that the cluster remembers, the newest last, with the progress of those that run."""
    rows = [("job", "state", "started", "took", "")]
    for job in rest.jobs():
        started = datetime.fromtimestamp(job.start_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        doing = "" if job.state in TERMINAL else progress_text(rest.job(job.id))
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


def cancel_by_name(rest: FlinkRest, name: str) -> int:
    """Cancels a job and waits until it has ended.

    Args:
      rest: of its cluster.
      name: as in `attach`.

    Returns:
      An exit code: 0 cancelled, 1 it had ended already, or didn't end or answer, 2 no such job or several.
    """
    return _of_one(rest, name, _cancel)


def savepoint_by_name(rest: FlinkRest, name: str, target: str | None, ends: bool) -> int:
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
        path = (stop if ends else take_savepoint)(rest, job.id, folder, SAVEPOINT_SECONDS)
        if ends:
            wait(rest, job.id, lambda status: None, poll_seconds=0.1)
        sys.stdout.write(f"{path}\n")
        _say(f"{job.name}: {'stopped' if ends else 'goes on'}")
        return DONE

    return _of_one(rest, name, act)


def drain_by_name(rest: FlinkRest, name: str) -> int:
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
        state = end_when_drained(rest, job.id)
        drained = state in ("FINISHED", "CANCELED")
        _say(f"{job.name}: {'drained' if drained else state.lower()}")
        return DONE if drained else FAILED

    return _of_one(rest, name, act)


def end_when_drained(rest: FlinkRest, job_id: str, poll_seconds: float = 1) -> str:
    """Waits until nothing more comes of a stream, and ends it; its state then. It may be that somebody else ends it.

    A savepoint is there when all bundles have ended: what they publish is published then, and the job can be cancelled.
    A mark tells of it: `savepoints.DRAINED`. (Flink's own way to stop it fails behind the end of time.)

    Raises:
      FlinkError: Flink doesn't answer, or the job can't be ended.
    """
    while (state := rest.job(job_id).state) not in TERMINAL:
        if is_at_end(rest, job_id):
            try:
                take_savepoint(rest, job_id, savepoint_folder(rest, job_id), SAVEPOINT_SECONDS)
            except FlinkError:
                limit = time.monotonic() + _ENDING_SECONDS
                state = wait(rest, job_id, lambda status: None, poll_seconds=0.1, deadline=limit).state
                if state not in TERMINAL:
                    raise
                return state
            with suppress(
                FlinkError
            ):  # without the mark, the launcher takes it for cancelled, and keeps everything
                tell_drained(rest, job_id)
            if (state := cancel(rest, job_id)) not in TERMINAL:
                raise FlinkError(f"the job was told to end, and is {state.lower()} still")
            return state
        time.sleep(poll_seconds)
    return state


def _attach(rest: FlinkRest, job: JobLine) -> int:
    line = _Line()
    try:
        status = wait(rest, job.id, lambda status: line.show(f"{job.name}: {progress_text(status)}"))
    except KeyboardInterrupt:
        line.end()
        here = f"{job.name} --flink_master={rest.address}"
        _say(
            f"{job.name} goes on. `{COMMAND} attach {here}` waits for it again, `{COMMAND} cancel {here}` ends it."
        )
        return INTERRUPTED
    finally:
        line.end()
    again = f", started again {_times(status.restarts)}" if status.restarts else ""
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
    state = job.state if ended_before else cancel(rest, job.id)
    if state == "CANCELED" and not ended_before:
        _say(f"{job.name}: cancelled")
        return DONE
    _say(f"{job.name}: {'had ended' if state in TERMINAL else 'has not ended yet'}, {state.lower()}")
    return FAILED


def _of_one(rest: FlinkRest, name: str, act: Callable[[FlinkRest, JobLine], int]) -> int:
    try:
        jobs = rest.jobs()
        running = [job for job in jobs if job.state not in TERMINAL]
        found = [job for job in jobs if job.name == name][-1:]
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


def _settled(status: JobStatus) -> bool:
    """Whether what is told of the stages is as new as the state."""
    return all(stage.state in TERMINAL for stage in status.stages)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


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
