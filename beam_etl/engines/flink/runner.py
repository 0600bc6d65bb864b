"""Beam's Flink runner, with a result that is the Flink job itself: waited for and cancelled by Flink's REST."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from apache_beam.metrics.cells import DistributionData, DistributionResult
from apache_beam.metrics.execution import MetricKey, MetricResult
from apache_beam.metrics.metric import MetricResults, MetricsFilter
from apache_beam.metrics.metricbase import MetricName
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.portability import flink_runner
from apache_beam.runners.runner import PipelineResult, PipelineState

from beam_etl.engines.closing_panes import leave_out_closing_panes
from beam_etl.engines.flink import jobs
from beam_etl.engines.flink.accumulated import Key, UserMetrics
from beam_etl.engines.flink.rest import TERMINAL, FlinkError, FlinkRest, JobStatus
from beam_etl.engines.flink.settings import RESTARTS

EMBEDDED = "[local]"
"""The address of a Flink that runs inside Beam's job server: it has no REST."""

_SUBMITTED_SECONDS = 5
_APPEARING_SECONDS = 300

_log = logging.getLogger(__name__)


class JobFailedError(RuntimeError):
    """Flink gave the job up. The message is the cause."""


class FlinkRunner(flink_runner.FlinkRunner):
    """Runs a pipeline on a Flink cluster whose REST address `--flink_master` names.

    Options: `--job_name`, under which nobody else submits at the same time, and those of Beam's FlinkRunner.
    Against the embedded Flink ("[local]") it is Beam's runner: nothing but the job server knows the job.
    """

    def run_portable_pipeline(self, pipeline: Any, options: PipelineOptions) -> PipelineResult:
        leave_out_closing_panes(pipeline)
        address = options.view_as(FlinkRunnerOptions).flink_master
        name = options.view_as(GoogleCloudOptions).job_name
        labels = {id: step.unique_name for id, step in pipeline.components.transforms.items()}
        if address in flink_runner.MAGIC_HOST_NAMES:
            return EmbeddedResult(super().run_portable_pipeline(pipeline, options), labels)
        if not name:
            raise ValueError("a job on Flink needs --job_name, by which it is found again")
        rest = FlinkRest(address)
        earlier = {job.id for job in rest.jobs()}  # one may have the same name: that of every night
        try:
            submitted = super().run_portable_pipeline(pipeline, options)
            most = None if options.view_as(StandardOptions).streaming else RESTARTS
            return FlinkResult(rest, _appeared(submitted, rest, name, earlier), labels, most)
        except BaseException:
            _cancel_submitted(rest, name, earlier)
            raise


class EmbeddedResult(PipelineResult):
    """A job on the embedded Flink: Beam's result, whose metrics have the labels of steps."""

    def __init__(self, submitted: PipelineResult, labels: Mapping[str, str]) -> None:
        super().__init__(PipelineState.RUNNING)
        self._submitted = submitted
        self._labels = labels

    @property
    def state(self) -> str:
        """Beam's name of the state that the job is in."""
        return str(self._submitted.state)

    def wait_until_finish(self, duration: int | None = None) -> str:
        """Waits until the job ends; its state."""
        return str(self._submitted.wait_until_finish(duration))

    def cancel(self) -> None:
        """Cancels the job."""
        self._submitted.cancel()

    def metrics(self) -> MetricResults:
        """Counters and distributions, of all attempts."""
        return _Labelled(self._submitted.metrics(), self._labels)


class FlinkResult(PipelineResult):
    """A job on a Flink cluster. It goes on whatever becomes of the job server that submitted it.

    Args:
      rest: of the cluster.
      job_id: Flink's.
      labels: of its steps, by the ids that Flink tells metrics by.
      most_restarts: without a stage finished meanwhile; then `wait_until_finish` cancels it. None: Flink decides, which
        forgets restarts in time.
    """

    def __init__(
        self, rest: FlinkRest, job_id: str, labels: Mapping[str, str], most_restarts: int | None = None
    ) -> None:
        super().__init__(PipelineState.RUNNING)
        self.rest = rest
        self.job_id = job_id
        self._labels = labels
        self._most_restarts = most_restarts
        self._finished, self._restarts_before = 0, 0
        self.latest: JobStatus | None = None
        """What Flink last said, while `wait_until_finish` runs."""
        self.at_each_look: Callable[[], None] = lambda: None
        """Called by `wait_until_finish` whenever Flink said something."""

    @property
    def state(self) -> str:
        """Beam's name of the state that the Flink job is in now."""
        return _beam_state(self.rest.job(self.job_id).state)

    def wait_until_finish(self, duration: int | None = None) -> str:
        """Waits until the job ends; its state.

        Args:
          duration: milliseconds to wait at most; None waits as long as it takes.

        Raises:
          JobFailedError: the job failed, or was cancelled because restarts brought it no further.
          FlinkError: Flink doesn't answer any more, or has lost the job. It may still run.
        """
        deadline = None if not duration else time.monotonic() + duration / 1000
        ended = jobs.wait(self.rest, self.job_id, self._saw, deadline=deadline)
        if ended.state == "FAILED":
            raise JobFailedError(self.rest.failure(self.job_id) or "Flink tells no cause")
        return _beam_state(ended.state)

    def cancel(self) -> None:
        """Cancels the Flink job, and returns when it has ended.

        Raises:
          FlinkError: it hasn't after a minute, or Flink doesn't answer.
        """
        state = jobs.cancel(self.rest, self.job_id)
        if state not in TERMINAL:
            raise FlinkError(f"the job was told to end, and is {state.lower()} still")

    def metrics(self) -> MetricResults:
        """Counters and distributions, as Flink keeps them: of each task, what its last attempt counted.

        (The job server's answer is empty for some seconds after the end, and leaves out a step that was fused twice.)
        """
        return _Metrics(self.rest.user_metrics(self.job_id), self._labels)

    def retries(self) -> str | None:
        """What Flink did again, in a line; None where no attempt failed."""
        if self.latest is None or not self.latest.restarts:
            return None
        times = "once" if self.latest.restarts == 1 else f"{self.latest.restarts} times"
        return f"started again {times} after a failure: {self.rest.attempts(self.job_id):,} tasks ran again"

    def _saw(self, status: JobStatus) -> None:
        self.latest = status
        self.at_each_look()
        if self._most_restarts is not None and status.state not in TERMINAL:
            self._end_if_stuck(status, self._most_restarts)

    def _end_if_stuck(self, status: JobStatus, most: int) -> None:
        """Cancels a job of which no more is finished than some restarts ago: it would fail again for ever."""
        finished = sum(stage.state == "FINISHED" for stage in status.stages)
        if finished > self._finished:
            self._finished, self._restarts_before = finished, status.restarts
        restarts = status.restarts - self._restarts_before
        if restarts > most:
            reason = self.rest.failure(self.job_id) or "Flink tells no cause"
            self.cancel()
            raise JobFailedError(
                f"cancelled after {restarts} restarts in which no stage was finished: {reason}"
            )


class _Metrics(MetricResults):
    """Committed ones, and attempted ones the same: what lost attempts had counted is told by nobody.

    (Beam takes a committed 0 for none, and would tell the attempted one.)
    """

    def __init__(self, found: UserMetrics, labels: Mapping[str, str]) -> None:
        self._found: dict[str, dict[Key, Any]] = {
            self.COUNTERS: dict(found.counters),
            self.DISTRIBUTIONS: {
                key: DistributionResult(DistributionData(one.total, one.number, one.smallest, one.largest))
                for key, one in found.distributions.items()
            },
            self.GAUGES: {},
        }
        self._labels = labels

    def query(self, filter: MetricsFilter | None = None) -> dict[str, list[MetricResult]]:
        return {
            kind: [
                MetricResult(key, value, value)
                for key, value in ((self._key(*names), value) for names, value in found.items())
                if self.matches(filter, key)
            ]
            for kind, found in self._found.items()
        }

    def _key(self, step: str, namespace: str, name: str) -> MetricKey:
        return MetricKey(self._labels.get(step, step), MetricName(namespace, name))


class _Labelled(MetricResults):
    """The same, told by labels of steps instead of ids."""

    def __init__(self, found: MetricResults, labels: Mapping[str, str]) -> None:
        self._found = found
        self._labels = labels

    def query(self, filter: MetricsFilter | None = None) -> dict[str, list[MetricResult]]:
        named = {
            kind: [MetricResult(self._key(one.key), one.committed, one.attempted) for one in found]
            for kind, found in self._found.query().items()
        }
        return {
            kind: [one for one in found if self.matches(filter, one.key)] for kind, found in named.items()
        }

    def _key(self, key: MetricKey) -> MetricKey:
        return MetricKey(self._labels.get(key.step, key.step), key.metric, labels=key.labels)


def _beam_state(state: str) -> str:
    ended = {
        "FINISHED": PipelineState.DONE,
        "FAILED": PipelineState.FAILED,
        "CANCELED": PipelineState.CANCELLED,
        "CANCELLING": PipelineState.CANCELLING,
    }
    return ended.get(state, PipelineState.RUNNING)


def _appeared(submitted: PipelineResult, rest: FlinkRest, name: str, earlier: Collection[str]) -> str:
    """The id of a job that was just submitted. What the job server couldn't hand to Flink is its error."""
    deadline = time.monotonic() + _APPEARING_SECONDS
    while True:
        ended = PipelineState.is_terminal(submitted.state)
        if found := rest.find(name, besides=earlier):
            return found.id
        if ended:
            submitted.wait_until_finish()
        if ended or time.monotonic() > deadline:
            raise FlinkError(f"the job {name} was submitted, and {rest.address} knows no such job")
        time.sleep(0.1)


def _cancel_submitted(rest: FlinkRest, name: str, earlier: Collection[str]) -> None:
    """Cancels what an interrupted submission may have left: the job server goes on with what it was given."""
    deadline = time.monotonic() + _SUBMITTED_SECONDS
    while time.monotonic() < deadline:
        try:
            if found := rest.find(name, besides=earlier):
                jobs.cancel(rest, found.id)
                return
        except FlinkError as error:
            _log.warning("a job %s may have been submitted, and can't be cancelled: %s", name, error)
            return
        time.sleep(0.25)
    _log.warning("a job %s may yet appear: `python -m beam_etl.engines.flink cancel %s` ends it", name, name)
