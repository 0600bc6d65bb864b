"""Savepoints of streams: taken while a job goes on, or with its end; a job started from one goes on from there."""

import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from beam_etl.engines.flink.causes import cause
from beam_etl.engines.flink.rest import FlinkError, FlinkRest

END = "end"
"""Beside a stream's checkpoints: a file of this name tells its sources to end."""

DRAINED = "drained"
"""Beside it: a file of this name says that all that the stream has read is published."""

SAVEPOINTS = "savepoints"
"""The folder of a stream's savepoints, beside its checkpoints."""

_POLL_SECONDS = 0.2
_END_OF_TIME = 9_223_371_950_454_775
"""The largest time that Beam knows, in milliseconds."""
_STORAGE = "stateBackendStoragePath"
"""Of Beam's options, which Flink tells as configuration of a job."""


def savepoint_folder(rest: FlinkRest, job_id: str) -> str:
    """Where the savepoints of a job go unless told otherwise: beside its checkpoints.

    Raises:
      FlinkError: the job doesn't tell where these are, and the cluster has no state.savepoints.dir.
    """
    told = rest.ask(f"/jobs/{job_id}/config").get("execution-config", {}).get("user-config", {})
    if folder := told.get(_STORAGE):
        return f"{str(folder).rstrip('/').rpartition('/')[0]}/{SAVEPOINTS}"
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


def stop(rest: FlinkRest, job_id: str, target: str, seconds: float) -> str:
    """Ends a job with a savepoint, from which it can go on; its path.

    Args:
      rest, job_id, target, seconds: as of `take_savepoint`.

    Raises:
      FlinkError: as `take_savepoint`. The job goes on then.
    """
    body = {"targetDirectory": target, "drain": False}
    return _wait(rest, job_id, rest.ask(f"/jobs/{job_id}/stop", "POST", body=body), seconds)


def tell_to_end(rest: FlinkRest, job_id: str) -> None:
    """Tells the sources of a stream to end, as if nothing more came: its windows give what they have.

    (Flink's own drain waits for the sources of Beam's streams, which don't hear of it.)

    Raises:
      FlinkError: the stream keeps its state where this machine doesn't see it.
    """
    _mark(rest, job_id, END, "the stream is told to end")


def tell_drained(rest: FlinkRest, job_id: str) -> None:
    """Says of a stream that it was drained to its end, before its job is cancelled.

    Raises:
      FlinkError: as `tell_to_end`.
    """
    _mark(rest, job_id, DRAINED, "that the stream was drained is told")


def _mark(rest: FlinkRest, job_id: str, name: str, what: str) -> None:
    folder = savepoint_folder(rest, job_id).rpartition("/")[0]
    url = urlsplit(folder)
    try:
        if url.scheme != "file":
            raise FileNotFoundError(folder)
        open(os.path.join(url.path, name), "ab").close()
    except OSError:
        raise FlinkError(f"{what} by a file {folder}/{name}: make it where that folder is seen") from None


def is_at_end(rest: FlinkRest, job_id: str) -> bool:
    """Whether nothing more comes of a job: all its stages have seen the end of time."""
    stages = rest.ask(f"/jobs/{job_id}").get("vertices", ())
    marks = [
        mark for stage in stages for mark in rest.ask(f"/jobs/{job_id}/vertices/{stage['id']}/watermarks")
    ]
    return bool(marks) and all(int(float(mark["value"])) >= _END_OF_TIME for mark in marks)


def latest_savepoint(rest: FlinkRest, job_id: str) -> str | None:
    """The path of the last savepoint of a job; None where none was taken, or Flink doesn't tell."""
    try:
        latest = rest.ask(f"/jobs/{job_id}/checkpoints").get("latest") or {}
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
            stack = operation.get("failure-cause", {}).get("stack-trace")
            raise FlinkError(f"the savepoint failed: {cause(stack) if stack else 'Flink tells no cause'}")
        if time.monotonic() > deadline:
            raise FlinkError(f"the savepoint isn't there after {seconds:g} s")
        time.sleep(_POLL_SECONDS)
