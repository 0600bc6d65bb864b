"""What a task manager tells a new SDK worker: its options, its files; and the way back, to the task manager's log."""

import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from apache_beam.portability.api import (
    beam_artifact_api_pb2,
    beam_artifact_api_pb2_grpc,
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
    endpoints_pb2,
)
from google.protobuf import json_format, text_format

from beam_etl.engines.lifeline import Order

ASK_SECONDS = 30.0

_MAIN_SESSION = "pickled_main_session"
_UNUSED = ("submission_environment_dependencies.txt",)  # which Beam stages with every job, for people to read
_REPORT_SECONDS = 5.0


class StagedError(RuntimeError):
    """A job needs files or packages that a worker can't be given. The message names them."""


def provision_info(order: Order) -> beam_provision_api_pb2.ProvisionInfo:
    """What the task manager knows of a worker that it ordered.

    Raises:
      grpc.RpcError: it doesn't answer within `ASK_SECONDS`.
    """
    with grpc.insecure_channel(order.provision) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        return stub.GetProvisionInfo(request, metadata=_who(order), timeout=ASK_SECONDS).info


def harness_environment(
    order: Order, info: beam_provision_api_pb2.ProvisionInfo, folder: str | None
) -> dict[str, str]:
    """The environment variables that Beam's SDK harness starts from.

    Args:
      order: the worker.
      info: what its task manager knows of it.
      folder: where `staged_files` has put what the job brings, if anything.
    """
    environment = {
        "WORKER_ID": order.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        "LOGGING_API_SERVICE_DESCRIPTOR": _descriptor(info.logging_endpoint.url or order.logging),
        "CONTROL_API_SERVICE_DESCRIPTOR": _descriptor(info.control_endpoint.url or order.control),
    }
    if folder:
        environment["SEMI_PERSISTENT_DIRECTORY"] = folder
    if info.status_endpoint.url:
        environment["STATUS_API_SERVICE_DESCRIPTOR"] = _descriptor(info.status_endpoint.url)
    return environment


@contextmanager
def staged_files(order: Order, info: beam_provision_api_pb2.ProvisionInfo) -> Iterator[str | None]:
    """Gets the files of a job that a worker can use, its pickled main session; their folder, if there are any.

    Raises:
      StagedError: there are others. Workers install nothing: what a job needs is in their environment.
      grpc.RpcError: the task manager doesn't answer.
    """
    staged = {_name(artifact): artifact for artifact in info.dependencies}
    if refused := sorted(staged.keys() - {_MAIN_SESSION, *_UNUSED}):
        raise StagedError(
            f"the job brings files for its workers, {', '.join(refused)}, and workers install nothing. Put them into "
            "the Python environment of the workers, and leave out --requirements_file, --setup_file, --extra_package "
            "and --files_to_stage."
        )
    if _MAIN_SESSION not in staged:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="beam_etl-worker-") as folder:
        session = Path(folder, "staged", _MAIN_SESSION)  # where Beam's harness looks
        session.parent.mkdir()
        with session.open("wb") as file:
            file.writelines(_content(order, info, staged[_MAIN_SESSION]))
        yield folder


def report(order: Order, text: str) -> bool:
    """Writes an error to the log of the task manager; False if that can't be reached any more."""
    entry = beam_fn_api_pb2.LogEntry(
        severity=beam_fn_api_pb2.LogEntry.Severity.ERROR, message=text, log_location=__name__
    )
    entry.timestamp.FromNanoseconds(time.time_ns())
    try:
        address = order.logging or provision_info(order).logging_endpoint.url
        with grpc.insecure_channel(address) as channel:
            stub = beam_fn_api_pb2_grpc.BeamFnLoggingStub(channel)
            entries = iter([beam_fn_api_pb2.LogEntry.List(log_entries=[entry])])
            list(stub.Logging(entries, metadata=_who(order), timeout=_REPORT_SECONDS))
    except grpc.RpcError:
        return False
    return True


def _content(
    order: Order,
    info: beam_provision_api_pb2.ProvisionInfo,
    artifact: beam_runner_api_pb2.ArtifactInformation,
) -> Iterable[bytes]:
    with grpc.insecure_channel(info.artifact_endpoint.url or order.artifacts) as channel:
        stub = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(channel)
        request = beam_artifact_api_pb2.GetArtifactRequest(artifact=artifact)
        for part in stub.GetArtifact(request, metadata=_who(order), timeout=ASK_SECONDS):
            yield part.data


def _name(artifact: beam_runner_api_pb2.ArtifactInformation) -> str:
    """The name under which a file is to be staged; what it is, where it has none (packages by name, say)."""
    if artifact.role_urn == "beam:artifact:role:staging_to:v1":
        payload = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload)
        return payload.staged_name
    return artifact.role_urn or artifact.type_urn


def _descriptor(address: str) -> str:
    return text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=address))


def _who(order: Order) -> tuple[tuple[str, str], ...]:
    return (("worker_id", order.id),)
