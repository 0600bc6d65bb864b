"""Beam in tests: the runner is named, and counters are read in one place."""

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

from beam_etl.engines.in_process import FnApiRunner


def run(*flags: str) -> beam.Pipeline:
    """A pipeline on the in-process batch runner."""
    return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(list(flags)))


def counters(pipeline: beam.Pipeline, step: str) -> dict[str, int]:
    """Runs the pipeline; our counters summed over all steps below `step`."""
    result = pipeline.run()
    result.wait_until_finish()
    found: dict[str, int] = {}
    for counter in result.metrics().query(MetricsFilter().with_namespace("beam_etl"))["counters"]:
        if counter.key.step.startswith(step):
            found[counter.key.metric.name] = found.get(counter.key.metric.name, 0) + counter.committed
    return found
