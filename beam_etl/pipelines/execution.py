"""Running a pipeline that was built: what a person sees meanwhile, and what becomes of a run that doesn't end well."""

import sys
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult, PipelineState

from beam_etl.engines.flink.rest import FlinkError
from beam_etl.engines.flink.runner import FlinkResult, JobFailedError
from beam_etl.pipelines.interrupt import Interrupted, abandoning, give_up, say, tell_and_give_up
from beam_etl.pipelines.watch import watching

FAILED = 1


@dataclass(frozen=True)
class Execution:
    """One run of a job."""

    job: str
    folders: Sequence[str]
    """The datasets that it publishes."""
    run: str
    in_process: bool
    progress: AbstractContextManager[None]
    """Shows what the job does in this process."""

    def __call__(self, pipeline: beam.Pipeline) -> PipelineResult | int:
        """The result of a run that ended; the exit code of one that failed or was interrupted, which is told."""
        result = None
        with abandoning(self.folders, self.run, self.in_process):
            try:
                with self.progress:
                    result = pipeline.run()
                    with watching(result, self.folders, self.run):
                        state = result.wait_until_finish()
                if state == PipelineState.CANCELLED:
                    return self._failed(JobFailedError("somebody cancelled the job on its engine"))
                return result
            except Interrupted as interrupted:
                return self._interrupted(result, interrupted.code)
            except FlinkError as error:
                return self._lost(error)
            except Exception as error:  # noqa: BLE001 - whatever an engine raises
                return self._failed(error)

    def _interrupted(self, result: PipelineResult | None, code: int) -> int:
        if result is not None and not isinstance(result, FlinkResult):  # nobody to ask
            where = " and ".join(self.folders)
            say(f"interrupted; the job goes on, and may still publish to {where}: cancel it on its engine")
            return code
        try:
            if result is not None:
                say("interrupted; cancelling the job on Flink")
                result.cancel()
        except FlinkError as error:
            self._lost(error)
            return code
        tell_and_give_up(self.folders, self.run, self.in_process)
        return code

    def _lost(self, error: FlinkError) -> int:
        name = f"{self.job}-{self.run}"
        print(
            f"\n{self.job}: {error}\nThe job may go on, and publish. `python -m beam_etl.engines.flink attach {name}` "
            f"waits for it, `... cancel {name}` ends it.",
            file=sys.stderr,
        )
        return FAILED

    def _failed(self, error: Exception) -> int:
        published = give_up(self.folders, self.run, self.in_process)
        if not isinstance(error, JobFailedError):  # whose message has the worker's own traceback
            traceback.print_exception(error)
        what = f"published: {', '.join(published)}" if published else "nothing was published"
        print(f"\n{self.job} failed, {what}: {error}", file=sys.stderr)
        return FAILED
