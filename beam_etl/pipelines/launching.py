"""What launching has in common for jobs that end and for streams."""

import datetime
import sys
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import FlinkRunnerOptions, GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineResult

from beam_etl import __version__
from beam_etl.engines.flink.rest import FlinkError
from beam_etl.observe.skew import ShuffleSkew
from beam_etl.pipelines import flags
from beam_etl.pipelines.config import RunConfig
from beam_etl.pipelines.runners import make_runner
from beam_etl.pipelines.shuffle_skews import shuffle_skews
from beam_etl.transforms import metrics


def make_pipeline(runner: str, options: PipelineOptions) -> beam.Pipeline:
    """An empty pipeline.

    Raises:
      UsageError: the engine doesn't take its flags.
    """
    try:
        return beam.Pipeline(runner=make_runner(runner), options=options)
    except ValueError as error:  # an engine's own flags are missing or wrong
        raise flags.UsageError(f"--runner={runner}: {error}") from error


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
