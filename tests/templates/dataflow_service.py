"""A stand-in for the REST interface of Dataflow, as Beam's runner uses it: jobs are taken, looked at, cancelled.

Paths and messages follow cloud.google.com/dataflow/docs/reference/rest (v1b3). What becomes of a job is the test's
to say: `Service.fate` is called for each one that comes in.
"""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DONE, FAILED, CANCELLED = "JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"
RUNNING, DRAINED, UPDATED = "JOB_STATE_RUNNING", "JOB_STATE_DRAINED", "JOB_STATE_UPDATED"

_PATH = re.compile(
    r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/jobs"
    r"(?:/(?P<id>[^/]+))?(?:/(?P<what>messages|metrics))?"
)


@dataclass
class Submitted:
    """A job as the service knows it."""

    id: str
    project: str
    location: str
    job: dict[str, Any]
    """As it was sent."""
    state: str = RUNNING
    error: str = ""
    """What its messages say, where it has failed."""
    metrics: list[dict[str, Any]] | None = field(default_factory=list)
    """None where nobody may read them."""
    asked: list[str] = field(default_factory=list)
    """The states that were asked for."""

    @property
    def options(self) -> dict[str, Any]:
        """Beam's options, as workers get them."""
        found: dict[str, Any] = self.job["environment"]["sdkPipelineOptions"]["options"]
        return found

    @property
    def pool(self) -> dict[str, Any]:
        """The pool of workers."""
        (found,) = self.job["environment"]["workerPools"]
        return dict(found)

    def told(self) -> dict[str, Any]:
        """What the service answers of it."""
        return {
            "id": self.id,
            "projectId": self.project,
            "location": self.location,
            "name": self.job["name"],
            "type": self.job["type"],
            "clientRequestId": self.job["clientRequestId"],
            "currentState": self.state,
        }


@dataclass
class Service:
    """The jobs that came in."""

    fate: Callable[[Submitted], None] = lambda job: None
    """Runs in a thread of its own, and sets the state in which the job ends."""
    jobs: list[Submitted] = field(default_factory=list)
    url: str = ""
    refused: list[str] = field(default_factory=list)
    """Requests that it doesn't know: none, in a test that passes."""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and body."""
        found = _PATH.fullmatch(path)
        if found is None:
            self.refused.append(f"{method} {path}")
            return 404, {"error": {"code": 404, "message": f"{method} {path} is not known here"}}
        if found["id"] is None:
            return self._all(method, found["project"], found["location"], body)
        job = next((job for job in self.jobs if job.id == found["id"]), None)
        if job is None or (job.project, job.location) != (found["project"], found["location"]):
            return 404, {"error": {"code": 404, "message": f"no job {found['id']}"}}
        if found["what"] == "messages":
            text = {"id": "1", "time": "2026-01-01T00:00:00Z", "messageImportance": "JOB_MESSAGE_ERROR"}
            return 200, {"jobMessages": [{**text, "messageText": job.error}] if job.error else []}
        if found["what"] == "metrics" and job.metrics is None:
            return 403, {"error": {"code": 403, "message": "metrics may not be read"}}
        if found["what"] == "metrics":
            return 200, {"metrics": job.metrics}
        if method == "PUT":
            job.asked.append(body["requestedState"])
            job.state = body["requestedState"]
        return 200, job.told()

    def _all(self, method: str, project: str, location: str, body: Any) -> tuple[int, Any]:
        if method == "GET":
            return 200, {"jobs": [job.told() for job in self.jobs]}
        job = Submitted(f"2026-01-01_00_00_00-{len(self.jobs)}", project, location, body)
        if replaced := body.get("replaceJobId"):
            next(other for other in self.jobs if other.id == replaced).state = UPDATED
        self.jobs.append(job)
        told = job.told()
        threading.Thread(target=self.fate, args=(job,), daemon=True).start()
        return 200, told


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service

    def _handle(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        status, answer = self.service.answer(self.command, self.path.partition("?")[0], body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _handle  # noqa: N815 - names of http.server

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def dataflow() -> Iterator[Service]:
    """The service on a free port of the loopback interface."""
    service = Service()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": service}))
    server.daemon_threads = True
    service.url = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
