"""What a worker sees of a task manager: the services of Beam's Fn API, in this process, and no work."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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

PATIENCE = 60.0
"""Seconds after which what is waited for won't come."""


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not after {PATIENCE:g} s: {what}"
        time.sleep(0.02)
    return value


def staged(name: str) -> beam_runner_api_pb2.ArtifactInformation:
    """A file as jobs stage it."""
    return beam_runner_api_pb2.ArtifactInformation(
        type_urn="beam:artifact:type:file:v1",
        role_urn="beam:artifact:role:staging_to:v1",
        role_payload=beam_runner_api_pb2.ArtifactStagingToRolePayload(staged_name=name).SerializeToString(),
    )


class TaskManager(
    beam_fn_api_pb2_grpc.BeamFnControlServicer,
    beam_fn_api_pb2_grpc.BeamFnLoggingServicer,
    beam_provision_api_pb2_grpc.ProvisionServiceServicer,
    beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceServicer,
):
    """Workers connect to it, and hear nothing until it leaves."""

    def __init__(self, files: Sequence[str] = (), options: dict[str, Any] | None = None) -> None:
        self.workers: list[str] = []
        """Ids of the workers that are connected."""
        self.log: list[str] = []
        self.provisions = threading.Event()
        """Whether new workers get an answer."""
        self.provisions.set()
        self._files = files
        self._options = options or {}
        self._left = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(32))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(self, self._server)
        beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(self, self._server)
        beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(self, self._server)
        beam_artifact_api_pb2_grpc.add_ArtifactRetrievalServiceServicer_to_server(self, self._server)
        self._server.start()

    def request(self, worker: str) -> beam_fn_api_pb2.StartWorkerRequest:
        """What it asks a pool."""
        here = endpoints_pb2.ApiServiceDescriptor(url=self.address)
        return beam_fn_api_pb2.StartWorkerRequest(
            worker_id=worker,
            control_endpoint=here,
            logging_endpoint=here,
            provision_endpoint=here,
            artifact_endpoint=here,
        )

    def leave(self, abruptly: bool = False) -> None:
        """Closes its streams in order, or breaks them off."""
        self.provisions.set()
        if not abruptly:
            self._left.set()
        self._server.stop(None if abruptly else 5).wait()
        self._left.set()

    def Control(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802
        worker = _id(context)
        self.workers.append(worker)
        if not context.add_callback(lambda: self.workers.remove(worker)):
            self.workers.remove(worker)  # it has gone already
        self._left.wait()
        yield from ()

    def Logging(self, lists: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802
        for entries in lists:
            self.log += [entry.message for entry in entries.log_entries]
        yield from ()

    def GetProvisionInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.provisions.wait(PATIENCE)
        here = endpoints_pb2.ApiServiceDescriptor(url=self.address)
        info = beam_provision_api_pb2.ProvisionInfo(
            logging_endpoint=here,
            control_endpoint=here,
            artifact_endpoint=here,
            dependencies=[staged(name) for name in self._files],
        )
        info.pipeline_options.update(
            {f"beam:option:{name}:v1": value for name, value in self._options.items()}
        )
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=info)

    def GetArtifact(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        name = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(request.artifact.role_payload)
        for part in (b"content of ", name.staged_name.encode()):
            yield beam_artifact_api_pb2.GetArtifactResponse(data=part)


def _id(context: Any) -> str:
    return dict(context.invocation_metadata())["worker_id"]
