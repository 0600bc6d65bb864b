"""Savepoints of streams: taken while a job goes on, or with its end; a job started from one goes on from there."""

import time
from collections.abc import Mapping
from typing import Any

from beam_etl.engines.flink.rest import FlinkError, FlinkRest

_POLL_SECONDS = 0.2
_STORAGE = "stateBackendStoragePath"
"""Of Beam's options, which Flink tells as configuration of a job."""


def savepoint_folder(rest: FlinkRest, job_id: str) -> str:
    """Where the savepoints of a job go unless told otherwise: beside its checkpoints.

    Raises:
      FlinkError: the job doesn't tell where these are, and the cluster has no state.savepoints.dir.
    """
    told = rest.ask(f"/jobs/{job_id}/config").get("execution-config", {}).get("user-config", {})
    if folder := told.get(_STORAGE):
        return f"{str(folder).rstrip('/').rpartition('/')[0]}/savepoints"
    if folder := rest.settings().get("state.savepoints.dir"):
        return folder
    raise FlinkError(
        "the job doesn't tell where it keeps checkpoints: say where the savepoint goes, --target=URL"
    )


def take_savepoint(rest: FlinkRest, job_id: str, target: str, seconds: float) -> str:
    """Takes a savepoint of a job that goes on; its path.

    Args:
      rest: of its cluster.
      job_id: Flink's.
      target: a folder that all task managers see, file:///... or a URL.
      seconds: how long it may take.

    Raises:
      FlinkError: it failed, or took longer.
    """
    body = {"target-directory": target, "cancel-job": False}
    return _wait(rest, job_id, rest.ask(f"/jobs/{job_id}/savepoints", "POST", body=body), seconds)


def stop(rest: FlinkRest, job_id: str, target: str, drain: bool, seconds: float) -> str:
    """Ends a job with a savepoint; its path.

    Args:
      rest, job_id, target, seconds: as of `take_savepoint`.
      drain: windows that are open give what they have, as if no more came: for good. Else they are in the savepoint,
        from which the job goes on.

    Raises:
      FlinkError: as `take_savepoint`. The job goes on then.
    """
    body = {"targetDirectory": target, "drain": drain}
    return _wait(rest, job_id, rest.ask(f"/jobs/{job_id}/stop", "POST", body=body), seconds)


def latest_savepoint(rest: FlinkRest, job_id: str) -> str | None:
    """The path of the last savepoint of a job; None where none was taken, or Flink doesn't tell."""
    try:
        latest = rest.ask(f"/jobs/{job_id}/checkpoints").get("latest", {})
    except FlinkError:
        return None
    path = (latest.get("savepoint") or {}).get("external_path")
    return None if path is None else str(path)


def _wait(rest: FlinkRest, job_id: str, asked: Mapping[str, Any], seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while True:
        found = rest.ask(f"/jobs/{job_id}/savepoints/{asked['request-id']}")
        operation = found.get("operation") or {}
        if found["status"]["id"] == "COMPLETED":
            if "location" in operation:
                return str(operation["location"])
            cause = operation.get("failure-cause", {}).get("class", "Flink tells no cause")
            raise FlinkError(f"the savepoint failed: {cause}")
        if time.monotonic() > deadline:
            raise FlinkError(f"the savepoint isn't there after {seconds:g} s")
        time.sleep(_POLL_SECONDS)
