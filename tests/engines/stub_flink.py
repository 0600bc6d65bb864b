"""A stand-in for Flink's REST: answers in the shapes that Flink 1.19 gives, scripted by a test."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STACK = (
    "\n\tat org.apache.flink.runtime.rest.handler.AbstractHandler.respondAsLeader(AbstractHandler.java:196)"
)


def vertex(name: str, status: str = "FINISHED", start: int = 1000, end: int = 2000) -> dict[str, Any]:
    """A stage in the answer for a job; its id is its name."""
    return {
        "id": name,
        "name": name,
        "maxParallelism": 2,
        "parallelism": 2,
        "status": status,
        "start-time": start,
        "end-time": end,
        "duration": 1000,
        "tasks": {},
        "metrics": {},
    }


def task(attempt: int) -> dict[str, Any]:
    """A task in the answer for a stage."""
    return {"subtask": 0, "status": "FINISHED", "attempt": attempt, "host": "localhost", "duration": 1000}


def failure(stacktrace: str) -> dict[str, Any]:
    """One entry of a job's history of failures."""
    return {"exceptionName": "java.lang.Exception", "stacktrace": stacktrace, "timestamp": 1}


class StubFlink:
    """Serves on a free port of the loopback address; `stop` and `start` are a job manager that is lost and comes back.

    `states` of a job are given one after another, the last of them for ever; `on_status` is called at each.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.lines: list[dict[str, Any]] = []
        self.states: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.sent: list[Any] = []
        """Bodies of requests."""
        self.status_code = 200
        self.on_status: Callable[[], None] = lambda: None
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"stub": self})
        self._server = _Server(("127.0.0.1", self._port), handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def add_job(
        self,
        job_id: str,
        name: str,
        *states: str,
        start: int = 1_700_000_000_000,
        vertices: tuple[dict[str, Any], ...] = (),
        restarting: int = 0,
    ) -> dict[str, Any]:
        """Adds a job; the answer for it, to be changed."""
        line = {"jid": job_id, "name": name, "state": states[-1], "start-time": start, "duration": 1500}
        self.lines.append({**line, "state": states[0]})
        self.states[job_id] = list(states)
        self.answers[f"/jobs/{job_id}"] = details = {
            **line,
            "timestamps": {"RUNNING": start + 10, "RESTARTING": restarting},
            "vertices": list(vertices),
        }
        self.answers[f"/jobs/{job_id}/accumulators"] = {"user-task-accumulators": []}
        return details

    def forget(self) -> None:
        """Knows no job any more."""
        self.lines.clear()
        self.states.clear()
        self.answers.clear()

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        if self.status_code != 200:
            return self.status_code, {"errors": ["Service temporarily unavailable due to an election."]}
        route = path.partition("?")[0]
        job_id = route.split("/")[2] if route.startswith("/jobs/") else ""
        if route == "/jobs/overview":
            return 200, {"jobs": self.lines}
        if method == "PATCH" and job_id in self.states:
            return self._cancel(job_id)
        if route.endswith("/status") and job_id in self.states:
            states = self.states[job_id]
            self.on_status()
            return 200, {"status": states.pop(0) if len(states) > 1 else states[0]}
        if route in self.answers:
            return 200, self.answers[route]
        return 404, {"errors": [f"org.apache.flink.runtime.rest.NotFoundException: Job not found{STACK}"]}

    def _cancel(self, job_id: str) -> tuple[int, Any]:
        if self.states[job_id][0] in ("FINISHED", "FAILED"):
            return 409, {
                "errors": [f"RestHandlerException: Job cancellation failed because it ended.{STACK}"]
            }
        self.states[job_id] = ["CANCELLING", "CANCELED"]
        return 202, {}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may leave before they are answered."""


class _Handler(BaseHTTPRequestHandler):
    stub: StubFlink

    def do_GET(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if sent:
            self.stub.sent.append(json.loads(sent))
        code, answer = self.stub.answer(self.command, self.path)
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PATCH = do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        pass
