"""What launching has in common for jobs that end and for streams."""

import datetime
import sys
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import FlinkRunnerOptions, GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineResult

from beam_etl import __version__
from beam_etl.engines.dataflow import Service
from beam_etl.engines.flink.rest import FlinkError
from beam_etl.engines.method_arguments import look_up_once
from beam_etl.io.stores import is_local
from beam_etl.observe.skew import ShuffleSkew
from beam_etl.pipelines import flags
from beam_etl.pipelines.config import RunConfig
from beam_etl.pipelines.runners import DATAFLOW, IN_PROCESS, make_runner, runner_name
from beam_etl.pipelines.shuffle_skews import shuffle_skews
from beam_etl.transforms import metrics


def make_pipeline(runner: str, options: PipelineOptions, planned: bool = False) -> beam.Pipeline:
    """An empty pipeline.

    Args:
      runner: as the user gave it.
      options: Beam's.
      planned: it won't be run, so its engine's own flags may be missing.

    Raises:
      UsageError: the engine doesn't take its flags.
    """
    look_up_once()
    try:
        return beam.Pipeline(runner=make_runner(IN_PROCESS if planned else runner), options=options)
    except ValueError as error:  # an engine's own flags are missing or wrong
        raise flags.UsageError(f"--runner={runner}: {error}") from error


def service_of(runner: str, options: PipelineOptions) -> Service | None:
    """Where a job on Dataflow is submitted to; None for other engines."""
    return Service.of(options) if runner_name(runner) == DATAFLOW else None


def refuse_files_of_this_machine(runner: str, paths: Iterable[str]) -> None:
    """Raises where workers can't reach what a job reads or writes.

    Args:
      runner: as the user gave it.
      paths: of files and folders.

    Raises:
      UsageError: a local path, and the job runs on Dataflow.
    """
    local = next(filter(is_local, paths), None) if runner_name(runner) == DATAFLOW else None
    if local is not None:
        raise flags.UsageError(
            f"{local}: workers of Dataflow hold no files of this machine. Use what begins with gs:// "
            f"(docs/dataflow.md)"
        )


def tell_of_files_in_images(runner: str, flag: str, path: str | None) -> None:
    """Says of a file that the launcher and workers read that Dataflow's have none but those of their image.

    Args:
      runner: as the user gave it.
      flag: that names the file.
      path: of the file; None where there is none.
    """
    if path is not None and runner_name(runner) == DATAFLOW and is_local(path):
        print(
            f"--{flag}={path}: workers of Dataflow read it, too. It must be in their image, at this path, or begin "
            f"with gs://",
            file=sys.stderr,
        )


def on_cluster(options: PipelineOptions) -> str:
    """What `attach` takes: the job's name on its cluster, and where that is."""
    name = options.view_as(GoogleCloudOptions).job_name
    return f"{name} --flink_master={options.view_as(FlinkRunnerOptions).flink_master}"


def counted_totals(result: PipelineResult) -> tuple[dict[str, int], list[ShuffleSkew]]:
    """The totals of our counters, and the skew of each shuffle."""
    try:
        found = result.metrics()
    except FlinkError as error:  # lost since the job has ended
        print(f"no counters: {error}", file=sys.stderr)
        return {}, []
    return metrics.totals(found), shuffle_skews(found)


def about(job: str, config: RunConfig, source: Any) -> dict[str, Any]:
    """What a manifest tells of a job."""
    return {
        "job": job,
        "beam_etl": __version__,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "config": config.to_json(),
        "input": {"files": len(source.files), "bytes": source.input_bytes},
    }
