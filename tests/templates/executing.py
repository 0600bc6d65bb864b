"""What the service does with a job: reads the pipeline that was staged, and runs it; here in this process."""

from typing import Any

from apache_beam.metrics.metric import MetricResults
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from beam_etl.io.stores import store_of
from tests.templates.dataflow_service import DONE, FAILED, Submitted

Pipeline = beam_runner_api_pb2.Pipeline


def staged_pipeline(job: Submitted) -> Pipeline:
    """The pipeline as the job names it, whose digest is that of the job."""
    return Pipeline.FromString(store_of(job.options["pipelineUrl"]).read(job.options["pipelineUrl"]))


def execute(job: Submitted) -> None:
    """Runs a batch job, and tells its state and its counters as the service does."""
    try:
        pipeline = staged_pipeline(job)
        for environment in pipeline.components.environments.values():
            environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
            del environment.dependencies[:]
        result = FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([]))
        result.wait_until_finish()
    except Exception as error:  # noqa: BLE001 - the service tells it
        job.error, job.state = f"Traceback: {error}", FAILED
        return
    job.metrics = _updates(pipeline, result.metrics())
    job.state = DONE


def _updates(pipeline: Pipeline, metrics: MetricResults) -> list[dict[str, Any]]:
    """Metrics as MetricUpdates: of each a tentative value as well, and steps by their names in the pipeline."""
    ids = {step.unique_name: id for id, step in pipeline.components.transforms.items()}
    found = metrics.query()
    values = [
        *((metric.key, {"scalar": metric.committed}) for metric in found["counters"]),
        *(
            (
                metric.key,
                {"distribution": {n: getattr(metric.committed, n) for n in ("count", "sum", "min", "max")}},
            )
            for metric in found["distributions"]
        ),
    ]
    return [
        {
            "name": {
                "origin": "user",
                "name": key.metric.name,
                "context": {
                    "namespace": key.metric.namespace,
                    "step": ids.get(key.step, key.step),
                    **({"tentative": "true"} if tentative else {}),
                },
            },
            **value,
        }
        for key, value in values
        for tentative in (False, True)
    ]
