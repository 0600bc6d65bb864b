"""Jobs on Google's Dataflow: what their options need, waiting for them, and what to say of one that goes on there."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apache_beam.metrics.metric import MetricResults, MetricsFilter
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.runner import PipelineState

IMAGE = "--sdk_container_image"

ALWAYS = ("--no_save_main_session", "--experiments=disable_logging_submission_environment")
"""Nothing of this process travels: neither its main module, of which no worker needs anything, nor the list of what is
installed here, with paths of this machine. The image is the same on both sides."""

_NOT_IN_NAMES = re.compile(r"[^-a-z0-9]+")


class RefusedError(ValueError):
    """Options with which a job can't be submitted, or fails there. The message says what to add."""


class LostError(RuntimeError):
    """The service isn't reached any more, or doesn't take the credentials. The job may go on."""


class FailedError(RuntimeError):
    """The job failed there. The message is the last error that the service tells."""


def fill(arguments: Sequence[str], job: str) -> list[str]:
    """The flags, and what a job on Dataflow needs besides.

    Args:
      arguments: flags for Beam.
      job: the name of the run. Without it Beam would name the job by this machine's user.

    Raises:
      RefusedError: project, region, a place to stage files, or the workers' image is missing, all that are together; or
        a job is to be updated, and isn't named.
    """
    options = PipelineOptions(list(arguments))
    cloud = options.view_as(GoogleCloudOptions)
    region = cloud.region or _usual_region()
    missing = [
        *([] if cloud.project else ["--project=PROJECT"]),
        *([] if region else ["--region=REGION"]),
        *([] if _staging(cloud) else ["--temp_location=gs://BUCKET/FOLDER"]),
        *([] if _has_code(options) else [f"{IMAGE}=IMAGE, one that has beam_etl"]),
    ]
    if missing:
        raise RefusedError(f"it needs {', '.join(missing)} (docs/dataflow.md)")
    if cloud.update and not cloud.job_name:
        raise RefusedError("--update takes the place of a job that runs: name it with --job_name=NAME")
    temp = cloud.temp_location or cloud.staging_location
    return [
        *arguments,
        f"--region={region}",
        f"--temp_location={temp}",
        *([] if cloud.job_name else [f"--job_name={_NOT_IN_NAMES.sub('-', job.lower())}"]),
        *(
            flag
            for flag in ALWAYS
            if not (options.view_as(SetupOptions).save_main_session and "main" in flag)
        ),
    ]


def _usual_region() -> str | None:
    """Of this machine's environment or its gcloud, as Beam looks for it."""
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

    region: str | None = DataflowRunner().get_default_gcp_region()
    return region


def _staging(cloud: GoogleCloudOptions) -> bool:
    places = (cloud.temp_location, cloud.staging_location)
    return any(place and place.startswith("gs://") for place in places)


def _has_code(options: PipelineOptions) -> bool:
    """Whether workers get beam_etl: with their image, or installed when they start."""
    workers, setup = options.view_as(WorkerOptions), options.view_as(SetupOptions)
    return bool(workers.sdk_container_image or setup.setup_file or setup.extra_packages)


class _NoMetrics(MetricResults):
    def query(self, filter: MetricsFilter | None = None) -> dict[str, list[Any]]:
        return {"counters": [], "distributions": [], "gauges": [], "string_sets": []}


def _keep_metrics(result: Any) -> None:
    """Asks for the metrics of a job that has ended; Beam keeps them. A job is done without them as well."""
    try:
        result.metrics().query()
    except Exception as error:  # noqa: BLE001 - whatever the service answers
        sys.stderr.write(f"no counters: {type(error).__name__}: {error}\n")
        result.metric_results = _NoMetrics()


@dataclass(frozen=True)
class Service:
    """Where a job was submitted to."""

    project: str
    region: str
    streaming: bool
    name: str
    """Of the job."""
    template: str | None
    """The file that takes the job in place of the service."""

    @classmethod
    def of(cls, options: PipelineOptions) -> "Service":
        """From the options of a pipeline."""
        cloud, streaming = options.view_as(GoogleCloudOptions), options.view_as(StandardOptions).streaming
        return cls(cloud.project, cloud.region, bool(streaming), cloud.job_name, cloud.template_location)

    def wait(self, result: Any) -> str:
        """Waits until a job has ended; Beam's name of the state that it is in then.

        Raises:
          FailedError: it failed.
          LostError: the service can't be asked.
        """
        from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException

        try:
            state = str(result.wait_until_finish())
        except DataflowRuntimeException as error:  # of any end but DONE
            state = str(result.state)
            if state == PipelineState.FAILED:
                raise FailedError(str(error)) from None
        except Exception as error:
            raise LostError(f"{type(error).__name__}: {error}") from error
        _keep_metrics(result)
        return state

    @staticmethod
    def hide_paths() -> None:
        """From here on, functions that travel don't tell where this machine keeps their files."""
        from apache_beam.internal import cloudpickle_pickler
        from apache_beam.internal.cloudpickle.cloudpickle import get_relative_path

        cloudpickle_pickler.DEFAULT_CONFIG.filepath_interceptor = get_relative_path

    def may_have_it(self) -> str:
        """What to say where nobody knows whether the service took the job: how to look, and to end it."""
        where = f"--project={self.project} --region={self.region}"
        return (
            "interrupted while the job was submitted: the service may have it, and run it.\n"
            f"to see whether it runs: gcloud dataflow jobs list --filter=name={self.name} --status=active {where}\n"
            f"to cancel it: gcloud dataflow jobs cancel ID {where}"
        )

    def goes_on(self, result: Any) -> str:
        """What to say of a job that is left to the service: where it is seen, and how it is ended."""
        job = result.job_id()
        ways = ["cancel", *(["drain"] if self.streaming else [])]
        page = f"https://console.cloud.google.com/dataflow/jobs/{self.region}/{job}?project={self.project}"
        lines = [
            f"the job goes on on Dataflow: {page}",
            *(
                f"to {way} it: gcloud dataflow jobs {way} {job} --project={self.project} --region={self.region}"
                for way in ways
            ),
        ]
        return "\n".join(lines)
