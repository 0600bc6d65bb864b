"""A Flink cluster on this machine: started, described, repaired and stopped."""

import http.client
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beam_etl.engines.flink import jars, processes, record, settings
from beam_etl.engines.flink.jars import Jars, Say
from beam_etl.engines.flink.processes import Process
from beam_etl.engines.flink.record import ClusterError, Record
from beam_etl.engines.flink.settings import Memory, Plan

COMMAND = "python -m beam_etl.engines.flink"

_START_SECONDS = 90
_POLL_SECONDS = 0.1
_ASK_SECONDS = 5
_ATTEMPTS = 3
_TAIL_LINES = 12
_TAKEN = re.compile(r"BindException|Address already in use|Failed to bind")
_TROUBLE = re.compile(r"ERROR|Exception|Error:|Caused by|Traceback|error:")

_READY_PORTS = {"zookeeper": "zookeeper", "jobmanager": "rest", "jobserver": "job", "pool": "pool"}


class _PortTakenError(ClusterError):
    """Somebody took a port between its choice and its use."""


@dataclass(frozen=True)
class Running:
    """A cluster that runs, and where."""

    folder: str
    rest: str
    """Flink's REST, HOST:PORT; empty for the embedded one."""
    job_endpoint: str
    """Beam's job server, HOST:PORT."""
    pool: str
    """The pool of SDK workers, HOST:PORT."""
    processes: tuple[Process, ...]

    def flags(self) -> list[str]:
        """Beam's options for a job on this cluster."""
        return [
            f"--job_endpoint={self.job_endpoint}",
            f"--flink_master={self.rest or '[local]'}",
            "--environment_type=EXTERNAL",
            f"--environment_config={self.pool}",
        ]

    def process(self, name: str) -> Process:
        """The process of this name, such as taskmanager-1."""
        return next(process for process in self.processes if process.name == name)


def _silent(_: str) -> None:
    pass


def running(folder: str | None = None) -> Running | None:
    """The cluster of a folder; None when none was started there, or nothing of it is left."""
    found = record.read(record.place(folder))
    if found is None or not found.ready or len(found.dead()) == len(found.processes):
        return None
    return _running(found)


def start(
    folder: str | None = None,
    task_managers: int = 2,
    slots: int = 2,
    memory_bytes: int | None = None,
    high_availability: bool = False,
    say: Say = _silent,
) -> Running:
    """Starts a cluster, and returns when it takes jobs. One that runs already, with these settings, is returned.

    Args:
      folder: of its settings, logs and temporary files; None for the one in the user's cache.
      task_managers: how many; 0 for a Flink inside the job server, which knows no REST and keeps nothing.
      slots: tasks at a time of each task manager.
      memory_bytes: of each task manager's JVM, see `settings.Memory`; by default half a GiB a slot, at least one.
      high_availability: whether jobs survive the job manager. Adds a ZooKeeper.
      say: told of progress.

    Raises:
      SetupError: Java or Maven is missing, or a download failed.
      ClusterError: it didn't start, or the folder has another cluster or what is left of one.
      ValueError: too little memory, or high availability of the embedded one.
    """
    if high_availability and not task_managers:
        raise ValueError(
            "high availability is for job managers, and the embedded Flink has none: use --task_managers"
        )
    memory = memory_bytes or settings.default_memory(slots)
    Memory.of(memory, slots)
    where = record.place(folder)
    with record.locked(where, say):
        asked = Plan(where, task_managers, slots, memory, high_availability, settings.choose_ports())
        if there := _already(where, asked, say):
            return there
        installed = jars.install(say)
        for _ in range(_ATTEMPTS - 1):
            try:
                return _start(asked, installed, say)
            except _PortTakenError:
                say("a port was taken meanwhile: trying others")
                asked = replace(asked, ports=settings.choose_ports())
        return _start(asked, installed, say)


def stop(folder: str | None = None, say: Say = _silent) -> bool:
    """Ends all processes of a cluster, also of one that crashed, and removes its folder; whether there was one."""
    where = record.place(folder)
    if not Path(where).exists() and not processes.marked(where):
        return False
    with record.locked(where, say):
        left = processes.marked(where)
        try:
            found = record.read(where)
        except ClusterError:
            if not left:  # whether anything runs, and what, isn't known
                raise
            found = None
        _end(where, found.processes if found else ())
    return bool(found or left)


def restart(folder: str | None, name: str, say: Say = _silent) -> Running:
    """Starts one process of a cluster again, ending it first if it runs: `jobmanager`, `taskmanager-1`, ...

    Raises:
      ClusterError: no such process, or it doesn't start.
    """
    where = record.place(folder)
    with record.locked(where, say):
        found = record.read(where)
        names = [process.name for process in found.processes] if found else []
        if found is None or name not in names:
            raise ClusterError(f"no {name} in {where}; there is: {', '.join(names) or 'no cluster'}")
        if not found.ready:
            raise ClusterError(
                f"{where} holds what is left of a start that was broken off: `{COMMAND} stop{folder_flag(where)}` "
                f"cleans up, then start it"
            )
        processes.end([process for process in found.processes if process.name == name])
        again = _spawn(found.plan, name, jars.install(say))
        replaced = tuple(again if process.name == name else process for process in found.processes)
        record.write(Record(found.plan, replaced, ready=True))
        try:
            _wait(found.plan, [again], [again], say)
        except ClusterError as error:
            processes.end([again])
            raise ClusterError(f"{name} didn't start: {error}") from error
        return _running(Record(found.plan, replaced, ready=True))


def _running(found: Record) -> Running:
    plan = found.plan
    rest = "" if plan.embedded else plan.address("rest")
    return Running(plan.folder, rest, plan.address("job"), plan.address("pool"), found.processes)


def _already(where: str, asked: Plan, say: Say) -> Running | None:
    """The cluster that is there already; what nothing is left of is removed."""
    found = record.read(where)
    alive = len(found.processes) - len(found.dead()) if found else len(processes.marked(where))
    if not alive:
        _end(where, ())
        return None
    if found is None or not found.ready or found.dead():
        flag = folder_flag(where)
        what = "of a start that was broken off"
        hint = ""
        if found and found.ready:
            what = f"of a cluster whose {' and '.join(found.dead())} ended"
            hint = f", `{COMMAND} restart{flag} NAME` starts one process again"
        raise ClusterError(
            f"{where} holds what is left {what}: {alive} processes. `{COMMAND} stop{flag}` cleans up{hint}."
        )
    if _settings_of(found.plan) != _settings_of(asked):
        raise ClusterError(
            f"a cluster with other settings runs in {where}: {_describe(found.plan)}. "
            f"`{COMMAND} stop{folder_flag(where)}` ends it."
        )
    say(f"runs already: {_describe(found.plan)}")
    return _running(found)


def _settings_of(plan: Plan) -> tuple[int, int, int, bool]:
    return plan.task_managers, plan.slots, plan.memory_bytes, plan.high_availability


def _describe(plan: Plan) -> str:
    kind = "embedded" if plan.embedded else f"{plan.task_managers} task managers of {plan.slots} slots"
    return f"{kind}, {plan.memory_bytes // settings.MIB} MiB{', high availability' if plan.high_availability else ''}"


def folder_flag(where: str) -> str:
    """The flag that names this folder to a command; nothing for the usual one."""
    return "" if where == record.place(None) else f" --folder={where}"


def _start(plan: Plan, installed: Jars, say: Say) -> Running:
    started: list[Process] = []
    try:
        record.write(Record(plan, ()))
        settings.write_files(plan)
        for name in plan.names:
            started.append(_spawn(plan, name, installed))
            record.write(Record(plan, tuple(started)))
        _wait(plan, started, started, say)
        whole = Record(plan, tuple(started), ready=True)
        record.write(whole)
    except BaseException:
        _end(plan.folder, started)
        raise
    return _running(whole)


def _end(where: str, started: Sequence[Process]) -> None:
    """Ends what was started in a folder, and empties it."""
    processes.end(started)
    processes.end_marked(where)
    record.remove(where)


def _spawn(plan: Plan, name: str, installed: Jars) -> Process:
    line = settings.command(plan, name, installed)
    return processes.spawn(name, line, plan.path("log", f"{name}.log"), settings.environment(plan))


def _wait(plan: Plan, awaited: Sequence[Process], alive: Sequence[Process], say: Say) -> None:
    """Until processes are ready, those that must stay alive meanwhile.

    Raises:
      ClusterError: one ended, didn't get ready in time, or listens where others can reach it.
    """
    limit = time.monotonic() + _START_SECONDS
    waiting = list(awaited)
    while waiting:
        for process in [process for process in waiting if _is_ready(plan, process)]:
            _check_loopback(process)
            say(f"{process.name} is up")
            waiting.remove(process)
        for process in alive:
            if not process.alive():
                raise _ended(plan, process)
        if waiting and time.monotonic() > limit:
            raise ClusterError(
                f"{waiting[0].name} isn't up after {_START_SECONDS} s\n{_trouble(plan, waiting[0])}"
            )
        time.sleep(_POLL_SECONDS if waiting else 0)


def _is_ready(plan: Plan, process: Process) -> bool:
    if process.name.startswith("taskmanager"):
        listed = _get_json(plan.address("rest"), "/taskmanagers") or {}
        return any(
            f":{port}-" in f":{manager['dataPort']}-"
            for manager in listed.get("taskmanagers", ())
            for _, port in processes.listening(process.pid)
        )
    listens = plan.ports[_READY_PORTS[process.name]] in [port for _, port in processes.listening(process.pid)]
    # A job manager answers when it leads, which under high availability may be seconds later.
    return listens and (process.name != "jobmanager" or bool(_get_json(plan.address("rest"), "/overview")))


def _check_loopback(process: Process) -> None:
    for address, port in processes.listening(process.pid):
        if not processes.is_loopback(address):
            raise ClusterError(
                f"{process.name} listens on {address}:{port}, which other machines can reach; it was ended"
            )


def _ended(plan: Plan, process: Process) -> ClusterError:
    trouble = _trouble(plan, process)
    kind = _PortTakenError if _TAKEN.search(trouble) else ClusterError
    return kind(f"{process.name} ended while it started\n{trouble}")


def _trouble(plan: Plan, process: Process) -> str:
    """The last lines of a log that tell of an error; the last lines when none does."""
    lines = plan.path("log", f"{process.name}.log").read_text(errors="replace").splitlines()
    near = [line for before, line in zip(["", *lines], lines, strict=False) if _TROUBLE.search(before + line)]
    telling = near or lines
    return "\n".join(f"  {line[:300]}" for line in telling[-_TAIL_LINES:])


def _get_json(address: str, path: str) -> Any:
    """What Flink's REST answers; None when it doesn't, or not yet."""
    connection = http.client.HTTPConnection(address, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return json.load(answer) if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
