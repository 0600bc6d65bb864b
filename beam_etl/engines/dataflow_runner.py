"""Beam's runner for Dataflow, which submits what other engines get."""

from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dataflow import dataflow_runner
from apache_beam.runners.runner import PipelineResult

from beam_etl.engines.closing_panes import leave_out_closing_panes


class DataflowRunner(dataflow_runner.DataflowRunner):
    """Submits a pipeline without panes that bring nothing. It has the name of Beam's, by which Beam knows it."""

    def run_pipeline(
        self, pipeline: beam.Pipeline, options: PipelineOptions, pipeline_proto: Any = None
    ) -> PipelineResult:
        make = pipeline.to_runner_api

        def made(**how: Any) -> Any:
            found = make(**how)
            leave_out_closing_panes(found[0] if how.get("return_context") else found)
            return found

        pipeline.to_runner_api = made  # Beam's runner makes what it submits between two steps of its own
        return super().run_pipeline(pipeline, options, pipeline_proto)
