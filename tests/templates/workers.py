"""Workers of the image: what the service starts containers for, here as processes that have the image's tree only."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping

from apache_beam.metrics.metric import MetricResults
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2, endpoints_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers

from tests.templates.image import Image

Pipeline = beam_runner_api_pb2.Pipeline


def container(image: Image, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process in a container: what the image sets, and what the test gives it.

    Kernels that this machine has compiled are taken from its cache, by the digest of their sources.
    """
    kept = os.environ.get("BEAM_ETL_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "beam_etl"
    )
    return {**image.environment, "BEAM_ETL_CACHE_DIR": kept, **environment}


@contextlib.contextmanager
def pool(image: Image, environment: Mapping[str, str]) -> Iterator[str]:
    """A process of the image that starts workers; its address."""
    started = subprocess.Popen(
        [str(image.python), "-m", "beam_etl.engines.pool"],
        cwd=image.root,
        env=container(image, environment),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        said = started.stdout.readline()
        assert said.startswith("pool on "), "the pool ended: its standard error says why"
        yield said.split()[-1]
    finally:
        started.terminate()
        started.wait(30)
        assert started.stdout is not None
        started.stdout.close()


def on_pool(pipeline: Pipeline, address: str) -> Pipeline:
    """The same pipeline, its workers to be asked for there."""
    payload = beam_runner_api_pb2.ExternalPayload(endpoint=endpoints_pb2.ApiServiceDescriptor(url=address))
    return _elsewhere(pipeline, common_urns.environments.EXTERNAL.urn, payload.SerializeToString())


def by_harness(pipeline: Pipeline, image: Image, environment: Mapping[str, str]) -> Pipeline:
    """The same pipeline, its workers started as Beam's boot starts them: `python -m ...sdk_worker_main`."""
    told = [
        "WORKER_ID",
        "CONTROL_API_SERVICE_DESCRIPTOR",
        "LOGGING_API_SERVICE_DESCRIPTOR",
        "PIPELINE_OPTIONS",
    ]
    words = [f"{name}='{value}'" for name, value in container(image, environment).items()]
    words += [f'{name}="${name}"' for name in told]
    command = f"cd {image.root} && exec env -i {' '.join(words)} python -m apache_beam.runners.worker.sdk_worker_main"
    return _elsewhere(pipeline, python_urns.SUBPROCESS_SDK, command.encode())


def _elsewhere(pipeline: Pipeline, urn: str, payload: bytes) -> Pipeline:
    moved = Pipeline.FromString(pipeline.SerializeToString())
    for environment in moved.components.environments.values():
        environment.urn, environment.payload = urn, payload
    return moved


def execute(pipeline: Pipeline) -> MetricResults:
    """Runs a batch pipeline to its end."""
    result = FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([]))
    result.wait_until_finish()
    return result.metrics()


@contextlib.contextmanager
def reached_by_loopback() -> Iterator[None]:
    """Workers reach the runner by the address of this machine only, whatever its name resolves to."""
    handler = worker_handlers.ExternalWorkerHandler
    before = handler.host_from_worker
    handler.host_from_worker = lambda self: "127.0.0.1"
    try:
        yield
    finally:
        handler.host_from_worker = before
