"""Running a pipeline that was built: what a person sees meanwhile, and what becomes of a run that doesn't end well."""

import sys
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult, PipelineState

from beam_etl.engines import dataflow
from beam_etl.engines.flink.rest import FlinkError
from beam_etl.engines.flink.runner import FlinkResult, JobFailedError
from beam_etl.io.stores.urls import mask
from beam_etl.pipelines.interrupt import Interrupted, abandoning, give_up, say, tell_and_give_up
from beam_etl.pipelines.watch import watching

DONE, FAILED = 0, 1


@dataclass(frozen=True)
class Execution:
    """One run of a job."""

    job: str
    folders: Sequence[str]
    """The datasets that it publishes."""
    run: str
    on_cluster: str
    """What `attach` takes: the job's name there, and where."""
    in_process: bool
    progress: AbstractContextManager[None]
    """Shows what the job does in this process, or has published."""
    service: dataflow.Service | None = None
    """Where it is submitted to, on Dataflow."""

    def __call__(self, pipeline: beam.Pipeline) -> PipelineResult | int:
        """The result of a run that ended; the exit code of one of which there is none here, and why, which is told."""
        result = None
        with abandoning(self.folders, self.run, self.in_process) as signals:
            try:
                with self.progress:
                    if self.service:
                        self.service.hide_paths()
                    result = pipeline.run()
                    if isinstance(result, FlinkResult):
                        result.at_each_look = signals.check
                    if self.service and self.service.template:
                        say(f"the job was written to {self.service.template}; nothing runs yet")
                        return DONE
                    with self._watching(result):
                        state = self.service.wait(result) if self.service else result.wait_until_finish()
                if state == PipelineState.CANCELLED and not self._is_drained():
                    raise JobFailedError("somebody cancelled the job on its engine")
                return result
            except Interrupted as interrupted:
                return self._interrupted(result, interrupted.code)
            except FlinkError as error:
                return self._lost(error)
            except dataflow.LostError as error:
                print(f"\n{self.job}: {error}", file=sys.stderr)
                self._leave(result)
                return FAILED
            except Exception as error:  # noqa: BLE001 - whatever an engine raises
                if not self.in_process:
                    signals.end()
                return self._failed(result, error)

    def _is_drained(self) -> bool:
        """Whether the job was told to end, and was cancelled when it had."""
        return False

    def _watching(self, result: PipelineResult) -> AbstractContextManager[None]:
        """Shows what a cluster does."""
        return watching(result, self.folders, self.run)

    def _interrupted(self, result: PipelineResult | None, code: int) -> int:
        if result is not None and self.service:
            say("interrupted")
            self._leave(result)
            return code
        if result is not None and not isinstance(result, FlinkResult):  # nobody to ask
            with suppress(Exception):
                result.cancel()
            where = " and ".join(self.folders)
            say(
                f"interrupted; its engine was told. If it goes on all the same, it may yet publish to {where}"
            )
            return code
        try:
            if result is not None:
                say("interrupted; cancelling the job on Flink")
                result.cancel()
        except FlinkError as error:
            self._lost(error)
            return code
        if self.service and not self.service.template:
            say(self.service.may_have_it())
        self._after_interrupt(result)
        return code

    def _after_interrupt(self, result: PipelineResult | None) -> None:
        """What is left to do when an interrupted job has ended."""
        tell_and_give_up(self.folders, self.run, self.in_process, for_good=result is None)
        if self.service and not self.service.template:
            say("should the job run, it publishes nothing")

    def _leave(self, result: PipelineResult | None) -> None:
        """Says what becomes of a job that is left to its service."""
        assert self.service is not None
        say(
            f"{self.service.goes_on(result)}\nwhen it ends well, it has published to {' and '.join(self.folders)}"
        )

    def _lost(self, error: FlinkError) -> int:
        print(
            f"\n{self.job}: {error}\nThe job may go on, and publish. `python -m beam_etl.engines.flink attach "
            f"{self.on_cluster}` waits for it, `... cancel {self.on_cluster}` ends it.",
            file=sys.stderr,
        )
        return FAILED

    def _failed(self, result: PipelineResult | None, error: Exception) -> int:
        has_traceback = isinstance(error, JobFailedError | dataflow.FailedError)  # the worker's own
        if not has_traceback:
            traceback.print_exception(error)
            if isinstance(result, FlinkResult):  # the launcher's own failure, while the job runs
                try:
                    result.cancel()
                except FlinkError as lost:
                    return self._lost(lost)
        return self._after_failure(result, error)

    def _after_failure(self, result: PipelineResult | None, error: Exception) -> int:
        """What is left to do when a job that failed has ended; the exit code."""
        started = self.in_process or result is not None
        published = give_up(self.folders, self.run, self.in_process, for_good=not started)
        what = f"published: {', '.join(published)}" if published else "nothing was published"
        print(f"\n{self.job} failed, {what}: {mask(str(error))}", file=sys.stderr)
        return FAILED
