"""A stream while it runs, and what becomes of it: what is published stays, and what it can go on from as well."""

import glob
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from threading import Event, Thread

from apache_beam.runners.runner import PipelineResult, PipelineState

from beam_etl.engines.flink.jobs import end_when_drained
from beam_etl.engines.flink.rest import FlinkError
from beam_etl.engines.flink.runner import FlinkResult
from beam_etl.engines.flink.savepoints import DRAINED, SAVEPOINTS, latest_savepoint, savepoint_folder, stop
from beam_etl.io import panes, staging
from beam_etl.io.stores.urls import mask
from beam_etl.pipelines.execution import FAILED, Execution
from beam_etl.pipelines.interrupt import say
from beam_etl.pipelines.pane_progress import PaneProgress, published_lines

STOP_SECONDS = 8
"""For a savepoint when the launcher is told to stop; a job that takes longer is cancelled."""

CHECKPOINTS = "checkpoints"
"""Below the stream's staging folder."""

SAVEPOINT = "--savepoint_path"
"""Beam's flag for a job on Flink that goes on from a savepoint."""

RETRY_SECONDS = 5
"""From a question that Flink doesn't answer to the next."""

_LEFT_TO_JOB = "the job that ran goes on with the stream, unless this one took its place: nothing is removed"

_OF_JOB = 6
"""Letters of a job's id in the names of its savepoints."""


@dataclass(frozen=True)
class StreamExecution(Execution):
    """A stream that runs. Its staging folder goes only where nothing can go on from it."""

    savepoint: str | None = None
    """What it goes on from itself."""
    updates: bool = False
    """Whether it is to take the place of a job that runs: until it has, the stream is that one's."""

    def keep_or_clean(self, result: PipelineResult) -> str | None:
        """When the job has ended well: what to tell of how to go on, unless the stream has come to its end."""
        dataset = self.folders[0]
        if self.service and result.state == PipelineState.UPDATED:
            return "another job has taken its place, and goes on with the stream"
        if self.in_process or self.service or self._is_drained():
            staging.remove_staging(dataset, self.run)
            return None
        point = latest_savepoint(result.rest, result.job_id) if isinstance(result, FlinkResult) else None
        if point := point or self._resume_point(result):
            return going_on(point)
        folder = staging.staging_folder(dataset, self.run)
        return f"nothing tells whether the stream has come to its end: {folder} is kept"

    @contextmanager
    def _watching(self, result: PipelineResult) -> Iterator[None]:
        """Nothing but panes is shown. A stream that fails with one is cancelled; one that has drained ends."""
        ended = Event()
        if isinstance(self.progress, PaneProgress) and not self.in_process:
            self.progress.cancel = partial(_persist, result.cancel, ended)
        if isinstance(result, FlinkResult):
            end = partial(end_when_drained, result.rest, result.job_id)
            Thread(target=_persist, args=(end, ended), daemon=True, name="drained").start()
        try:
            yield
        finally:
            ended.set()

    def _is_drained(self) -> bool:
        return os.path.exists(os.path.join(staging.staging_folder(self.folders[0], self.run), DRAINED))

    def _interrupted(self, result: PipelineResult | None, code: int) -> int:
        if isinstance(result, FlinkResult):
            say(f"interrupted; stopping the job on Flink with a savepoint, for {STOP_SECONDS} s at most")
            try:
                target = savepoint_folder(result.rest, result.job_id)
                savepoint = stop(result.rest, result.job_id, target, STOP_SECONDS)
            except FlinkError as error:
                say(f"no savepoint: {error}")
            else:
                say("\n".join(["stopped", *self._published(), going_on(savepoint)]))
                return code
        return super()._interrupted(result, code)

    def _after_interrupt(self, result: PipelineResult | None) -> None:
        if self.updates:
            say(f"interrupted; {_LEFT_TO_JOB}")
            return
        point = self._resume_point(result)
        if point is None:
            super()._after_interrupt(result)
        else:
            say("\n".join(["stopped", *self._published(), going_on(point)]))

    def _after_failure(self, result: PipelineResult | None, error: Exception) -> int:
        if reasons := panes.failures_of(self.folders[0], self.run):
            return tell_failures(self.job, reasons)
        if self.updates:
            print(f"\n{self.job} failed: {mask(str(error))}", file=sys.stderr)
            say("\n".join([*self._published(), _LEFT_TO_JOB]))
            return FAILED
        point = self._resume_point(result)
        if point is None:
            return super()._after_failure(result, error)
        print(f"\n{self.job} failed: {mask(str(error))}", file=sys.stderr)
        say("\n".join([*self._published(), going_on(point)]))
        return FAILED

    def _resume_point(self, result: PipelineResult | None) -> str | None:
        """The newest that this job has left, else what it has gone on from itself; None where nothing is left to do."""
        if self.in_process or self._is_drained():
            return None
        if isinstance(result, FlinkResult):
            return last_checkpoint(self.folders[0], self.run, result.job_id) or self.savepoint
        return self.savepoint or last_checkpoint(self.folders[0], self.run)

    def _published(self) -> list[str]:
        return [line for folder in self.folders for line in published_lines(folder, self.run)]


def _persist(act: Callable[[], object], ended: Event) -> None:
    """Does what Flink is asked for, again where it doesn't answer, until the job has ended."""
    while not ended.is_set():
        with suppress(FlinkError):  # which whoever waits for the job meets as well, where it lasts
            act()
            return
        ended.wait(RETRY_SECONDS)


def tell_failures(job: str, reasons: Sequence[str]) -> int:
    """Prints why a stream has ended by itself; the exit code."""
    for reason in reasons:
        print(f"{job}: {reason}", file=sys.stderr)
    return FAILED


def going_on(savepoint: str) -> str:
    """How to start the stream again."""
    return f"to go on from there: the same command with {SAVEPOINT}={savepoint}"


def last_checkpoint(output: str, stream: str, job: str = "*") -> str | None:
    """The newest checkpoint or savepoint that a job left in its stream's staging folder; None where there is none.

    Args:
      output: the dataset.
      stream: its name.
      job: Flink's id; by default that of any job of the stream.
    """
    folder = glob.escape(staging.staging_folder(output, stream))
    kinds = (f"{CHECKPOINTS}/{job}/chk-*", f"{SAVEPOINTS}/savepoint-{job[:_OF_JOB]}-*")
    found = [
        (os.stat(path).st_mtime, path) for kind in kinds for path in glob.glob(f"{folder}/{kind}/_metadata")
    ]
    return f"file://{os.path.dirname(max(found)[1])}" if found else None
