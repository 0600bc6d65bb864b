"""A small client of Flink's REST: the jobs of a cluster, their stages and counters, and why they failed."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from beam_etl.engines.flink.accumulated import UserMetrics, user_metrics
from beam_etl.engines.flink.causes import cause

TERMINAL = frozenset({"FINISHED", "FAILED", "CANCELED"})
"""States in which a job or a stage stays."""

_NOT_FOUND, _CONFLICT = 404, 409
_SERVER_ERROR = 500
_HERE = {"localhost", "127.0.0.1", "::1"}
_ALL_RESTARTS = 1000

_LABELS = [
    (re.compile(pattern), form)
    for pattern, form in (
        (r"\[\d+\]([^{}]+?)/?\{(.*)\}", "{}: {}"),  # steps that Beam fused
        (r"\[\d+\]\{(.*)\}", "{}"),
        (r"(?<!ExtractOutput)\[\d+\](.*?)\)?$", "{}"),
        (r"^GroupReduce \(GroupReduce at (.*)\)$", "receive {}"),
        (r"GroupCombine at GroupCombine: (.*)\)$", "send {}"),
        (r"ExtractOutput\[(\d+)\]", "output {}"),
        (r"^DataSource \(", "start"),
        (r"^DataSink \(", "end"),
    )
]
"""What operators say of themselves, what tells most first."""


class FlinkError(RuntimeError):
    """Flink can't be asked, or refuses. The message has its address and what to do."""


class UnreachableError(FlinkError):
    """Nothing answers, or it isn't ready to: a job manager that was lost may come back."""


class UnknownJobError(FlinkError):
    """The cluster knows no such job, or no longer."""


@dataclass(frozen=True)
class Overview:
    """A cluster as a whole."""

    task_managers: int
    slots: int
    free_slots: int
    version: str


@dataclass(frozen=True)
class Stage:
    """Tasks of a job that do the same on different parts of the data: a vertex of Flink's graph."""

    name: str
    """See `stage_label`."""
    parallelism: int
    state: str
    start_ms: int | None
    """Since 1970, of the latest attempt; None before it began."""
    end_ms: int | None
    attempts: int | None
    """Of the task that was tried most often, after its first. None while a job runs that was started again."""


@dataclass(frozen=True)
class JobLine:
    """A job in a list."""

    id: str
    name: str
    state: str
    start_ms: int
    """Since 1970."""
    duration_ms: int


@dataclass(frozen=True)
class JobStatus(JobLine):
    """A job with its stages, in an order in which each comes after those it reads from."""

    stages: tuple[Stage, ...]
    restarts: int
    """How often a failure made Flink start tasks again. It remembers 16 of them, and none from before the job manager
    was lost: that counts as one, and with those before it, where the same FlinkRest has seen them."""


class FlinkRest:
    """The REST of one cluster.

    A proxy that the environment names is used, but for loopback addresses; certificates are checked as Python does it.

    Args:
      address: HOST:PORT, or http(s)://HOST:PORT/PREFIX for a cluster behind a gateway.
      timeout_seconds: for each answer.

    Raises:
      FlinkError: that is no address. Every method raises it where Flink doesn't answer as it should, and its
        subclass UnknownJobError for an id that the cluster doesn't know.
    """

    def __init__(self, address: str, timeout_seconds: float = 10) -> None:
        self.address = address.removeprefix("http://").rstrip("/")
        self._url = _url(address)
        self._timeout = timeout_seconds
        self._opener = _opener(self._url)
        self._restarts: dict[str, tuple[int, int]] = {}
        self._managers: dict[str, tuple[int, int]] = {}

    def overview(self) -> Overview:
        """Task managers, slots and version."""
        found = self.ask("/overview")
        return Overview(
            found["taskmanagers"], found["slots-total"], found["slots-available"], found["flink-version"]
        )

    def jobs(self) -> list[JobLine]:
        """The jobs that the cluster remembers, the newest last."""
        lines = [_line(job) for job in self.ask("/jobs/overview")["jobs"]]
        return sorted(lines, key=lambda job: (job.start_ms, job.id))

    def find(self, name: str, besides: Collection[str] = ()) -> JobLine | None:
        """The newest job of this name, of those whose id isn't in `besides`. Flink lets several have the same name."""
        found = (job for job in reversed(self.jobs()) if job.name == name and job.id not in besides)
        return next(found, None)

    def job(self, job_id: str) -> JobStatus:
        """A job now. Its stages may be older by the cluster's `web.refresh-interval`, 3 s unless it is set."""
        found = self.ask(f"/jobs/{job_id}")
        state = self.ask(f"/jobs/{job_id}/status")["status"]
        restarts = self._forgotten_restarts(found) + self._count_restarts(found)
        tried: Mapping[str, list[int]] = {}
        if restarts and state in TERMINAL:
            tried = self._attempts(found)
        stages = (_stage(vertex, restarts, tried.get(vertex["id"])) for vertex in found["vertices"])
        line = _line(found)
        return JobStatus(
            line.id,
            line.name,
            state,
            line.start_ms,
            line.duration_ms,
            stages=tuple(stages),
            restarts=restarts,
        )

    def cancel(self, job_id: str) -> None:
        """Asks Flink to cancel a job; one that has ended stays as it is."""
        self.ask(f"/jobs/{job_id}?mode=cancel", "PATCH", fine=_CONFLICT)

    def settings(self) -> dict[str, str]:
        """The settings that the job manager was started with; none that it leaves at their default."""
        return {setting["key"]: setting["value"] for setting in self.ask("/jobmanager/config")}

    def heap_bytes(self) -> int | None:
        """Heap for tasks of the task manager that has the least, in bytes; None where there is no task manager."""
        found = self.ask("/taskmanagers")["taskmanagers"]
        return min((manager["memoryConfiguration"]["taskHeap"] for manager in found), default=None)

    def failure(self, job_id: str) -> str | None:
        """Why a job failed, in a few lines; None where it didn't. See `causes.cause`."""
        stack = self.ask(f"/jobs/{job_id}/exceptions?maxExceptions=1").get("root-exception")
        return cause(stack) if stack else None

    def attempts(self, job_id: str) -> int:
        """How many runs of tasks came after a first one, over all tasks, since the job manager took the job up."""
        return sum(map(sum, self._attempts(self.ask(f"/jobs/{job_id}")).values()))

    def user_metrics(self, job_id: str) -> UserMetrics:
        """Beam's counters and distributions: of a task only the latest attempt counts.

        They grow while a job runs, a task's when it ends a bundle. They are here without Beam's job server, too.
        """
        return user_metrics(self.ask(f"/jobs/{job_id}/accumulators"))

    def _forgotten_restarts(self, found: Mapping[str, Any]) -> int:
        """A job manager that takes a job over starts it, and its history, anew: only the time of start tells."""
        job_id, start = found["jid"], found["start-time"]
        known, before = self._managers.get(job_id, (start, 0))
        if known != start:
            before += 1 + self._restarts.pop(job_id, (0, 0))[1]
        self._managers[job_id] = start, before
        return before

    def _count_restarts(self, found: Mapping[str, Any]) -> int:
        """Asked anew only when the job was started again since: the answer holds up to 16 stacks.

        The metric numRestarts is behind by up to 10 s and goes with the job; the history is right, and stays.
        """
        job_id, latest = found["jid"], found["timestamps"].get("RESTARTING", 0)
        if not latest:
            return 0
        known = self._restarts.get(job_id)
        if known and known[0] == latest:
            return known[1]
        history = self.ask(f"/jobs/{job_id}/exceptions?maxExceptions={_ALL_RESTARTS}")["exceptionHistory"]
        ended_it = found["state"] in ("FAILED", "FAILING")
        count = len(history["entries"]) - ended_it
        if found["state"] != "RESTARTING":  # in which more tasks may fail
            self._restarts[job_id] = latest, count
        return count

    def _attempts(self, found: Mapping[str, Any]) -> dict[str, list[int]]:
        """By the id of each stage, the number of the latest attempt of each of its tasks, from 0."""
        stages = (vertex["id"] for vertex in found["vertices"])
        return {
            stage: [
                task["attempt"] for task in self.ask(f"/jobs/{found['jid']}/vertices/{stage}")["subtasks"]
            ]
            for stage in stages
        }

    def ask(
        self, path: str, method: str = "GET", fine: int | None = None, body: Mapping[str, Any] | None = None
    ) -> Any:
        """The answer.

        Args:
          path: below the address.
          method: of HTTP.
          fine: a status that is no error, either.
          body: JSON that goes with it.
        """
        try:
            data = None if body is None else json.dumps(body).encode()
            headers = {} if body is None else {"Content-Type": "application/json"}
            request = Request(self._url + path, data=data, headers=headers, method=method)
            with self._opener.open(request, timeout=self._timeout) as answer:
                return json.loads(answer.read() or b"{}")
        except HTTPError as error:
            with error:
                if error.code == fine:
                    return {}
                raise self._refused(error, path) from None
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise UnreachableError(
                f"no Flink answers at {self.address}: {str(reason) or type(reason).__name__}. Start a cluster with "
                f"`python -m beam_etl.engines.flink start`, or name the REST address of yours with --flink_master"
            ) from None
        except ValueError as error:
            raise FlinkError(
                f"what answers at {self.address} isn't Flink's REST ({error}): --flink_master takes the address of "
                f"its web page, often port 8081"
            ) from None

    def _refused(self, error: HTTPError, path: str) -> FlinkError:
        said = _reason(error)
        if error.code == _NOT_FOUND and path.startswith("/jobs/"):
            return UnknownJobError(
                f"Flink at {self.address} knows no job {path.split('/')[2].partition('?')[0]}: it was started again "
                f"without it, or has forgotten a job that ended long ago"
            )
        text = f"Flink at {self.address} answers {path} with {error.code}: {said}"
        return UnreachableError(text) if error.code >= _SERVER_ERROR else FlinkError(text)


def stage_label(name: str) -> str:
    """What a stage does, in the words of the pipeline, from the name that Flink makes of its operators.

    `CHAIN MapPartition (MapPartition at [4]Read documents/{Files, Unpack}) -> ...` is `Read documents: Files, Unpack`.
    """
    parts = name.removeprefix("CHAIN ").split(" -> ")
    for pattern, form in _LABELS:
        for part in parts:
            if found := pattern.search(part):
                return form.format(*found.groups())
    return name


def _url(address: str) -> str:
    try:
        url = urlsplit(address if "://" in address else f"http://{address}")
        valid = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise FlinkError(
            f"{address!r} is no address of Flink's REST: write HOST:PORT or https://HOST:PORT/PREFIX. A Flink inside "
            f"Beam's job server has none"
        )
    return url.geturl().rstrip("/")


def _opener(url: str) -> OpenerDirector:
    """A proxy isn't asked for what is on this machine: it would look on its own."""
    return build_opener(ProxyHandler({})) if urlsplit(url).hostname in _HERE else build_opener()


def _reason(error: HTTPError) -> str:
    """The first line of what Flink says, without the stack and the class."""
    try:
        text = json.loads(error.read())["errors"][-1]
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return str(error.reason)
    return re.sub(r"^[\w.$]+: ", "", str(text).strip().partition("\n")[0])


def _line(job: Mapping[str, Any]) -> JobLine:
    return JobLine(job["jid"], job["name"], job["state"], job["start-time"], job["duration"])


def _stage(vertex: Mapping[str, Any], restarts: int, tried: list[int] | None) -> Stage:
    return Stage(
        name=stage_label(vertex["name"]),
        parallelism=vertex["parallelism"],
        state=vertex["status"],
        start_ms=_moment(vertex["start-time"]),
        end_ms=_moment(vertex["end-time"]),
        attempts=max(tried) if tried else None if restarts else 0,
    )


def _moment(milliseconds: int) -> int | None:
    return milliseconds if milliseconds > 0 else None
