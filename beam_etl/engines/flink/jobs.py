"""Jobs on a Flink cluster: waited for, cancelled, and ended."""

import time
from collections.abc import Callable
from contextlib import suppress

from beam_etl.engines.flink.rest import (
    TERMINAL,
    FlinkError,
    FlinkRest,
    JobStatus,
    UnknownJobError,
    UnreachableError,
)
from beam_etl.engines.flink.savepoints import (
    is_at_end,
    savepoint_folder,
    take_savepoint,
    tell_drained,
)

SAVEPOINT_SECONDS = 600
"""For a savepoint of much state on a slow store."""

_ENDING_SECONDS = 60
"""From a savepoint to the end of its job."""

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
    again = f"; started again {times(status.restarts)}" if status.restarts else ""
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


def _settled(status: JobStatus) -> bool:
    """Whether what is told of the stages is as new as the state."""
    return all(stage.state in TERMINAL for stage in status.stages)


def times(count: int) -> str:
    """How often, in words."""
    return "once" if count == 1 else f"{count} times"
