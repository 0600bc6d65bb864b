"""Processes that outlive the command that started them: told apart from others that get their number, and ended."""

import contextlib
import ipaddress
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARK = "BEAM_ETL_FLINK_CLUSTER"
"""In the environment of every process of a cluster and so of their children: the cluster's folder."""

_PROC = Path("/proc")
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LISTENING = "0A"
_TERMINATE_SECONDS = 8
_KILL_SECONDS = 10
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Process:
    """A process by its number and the moment it was started, as the system tells it: numbers come back."""

    name: str
    pid: int
    birth: str
    since: float
    """Seconds since the epoch."""

    def alive(self) -> bool:
        """Whether it runs still. One that ended and was not yet waited for doesn't."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return birth(self.pid) == self.birth


def spawn(name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
    """Starts a process in a session of its own, with no terminal; what it prints is appended to `log`."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    with _signals_wait():
        pid = os.posix_spawn(command[0], list(command), environment, file_actions=actions, setsid=True)
        process = Process(name, pid, birth(pid), time.time())
        _wait_for_environment(process)
    return process


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """While inside, whoever interrupts waits: a process without its mark would not be found, and stay.

    Handlers note what comes: blocked signals go to another thread, and Python handles them in the main one.
    """
    came = list[int]()
    handlers = dict[signal.Signals, Any]()
    try:
        if threading.current_thread() is threading.main_thread():
            for number in _INTERRUPTS:
                handler = signal.getsignal(number)
                if handler not in (signal.SIG_IGN, None):  # the new process ignores what this one does
                    handlers[number] = handler
                    signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for one in came:
            signal.raise_signal(one)


def birth(pid: int) -> str:
    """When the process of this number was started, in the system's own words; empty when there is none."""
    if _PROC.is_dir():
        state, *fields = _stat(pid) or ["Z"]
        return "" if state in "ZX" else fields[18]
    found = _output("ps", "-o", "state=,lstart=", "-p", str(pid)).split(maxsplit=1)
    return found[1].strip() if len(found) == 2 and not found[0].startswith("Z") else ""


def resident_bytes(pid: int) -> int:
    """Bytes of memory that a process occupies; 0 when there is none."""
    if _PROC.is_dir():
        fields = _stat(pid)
        return int(fields[21]) * os.sysconf("SC_PAGE_SIZE") if fields else 0
    return int(_output("ps", "-o", "rss=", "-p", str(pid)).strip() or 0) * 1024


def marked(mark: str) -> list[int]:
    """Numbers of the processes of this user whose environment has `mark` as MARK. None where there is no /proc."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


def end(processes: Iterable[Process]) -> None:
    """Ends processes with their groups: asks them first, and kills what is left after some seconds."""
    alive = [process for process in processes if process.alive()]
    for process in alive:
        _signal_group(process, signal.SIGTERM)
    _wait_for_end(alive, _TERMINATE_SECONDS)
    for process in alive:
        if process.alive():
            _signal_group(process, signal.SIGKILL)
    _wait_for_end(alive, _KILL_SECONDS)


def end_marked(mark: str) -> None:
    """Kills what is left with this mark: children that left their parent's group, or outlived it."""
    limit = time.monotonic() + _KILL_SECONDS
    while (left := marked(mark)) and time.monotonic() < limit:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def listening(pid: int) -> list[tuple[str, int]]:
    """Addresses and ports that a process listens on, sorted by port."""
    if not _PROC.is_dir():
        return sorted(_listening_by_lsof(pid), key=lambda found: found[1])
    sockets = set()
    with contextlib.suppress(OSError):
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(descriptor))
    found = []
    for table in ("tcp", "tcp6"):
        for line in _lines(_PROC / str(pid) / "net" / table)[1:]:
            _, local, _, state, *rest = line.split()
            if state == _LISTENING and f"socket:[{rest[5]}]" in sockets:
                found.append(_address(local))
    return sorted(found, key=lambda one: one[1])


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach what listens on an address."""
    return ipaddress.ip_address(address).is_loopback


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nothing listens on at this moment, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def accepts(port: int) -> bool:
    """Whether something listens on a port of the loopback address."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on: the name before them may hold spaces and brackets."""
    lines = _lines(_PROC / str(pid) / "stat")
    return lines[0].rpartition(")")[2].split() if lines else []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _address(field: str) -> tuple[str, int]:
    """An address as /proc/net/tcp writes it: 32-bit words in the machine's byte order, and the port."""
    words, port = field.split(":")
    packed = b"".join(bytes.fromhex(words[at : at + 8])[::-1] for at in range(0, len(words), 8))
    ip = ipaddress.ip_address(packed)
    return str(getattr(ip, "ipv4_mapped", None) or ip), int(port, 16)


def _listening_by_lsof(pid: int) -> list[tuple[str, int]]:
    output = _output("lsof", "-nP", "-a", "-p", str(pid), "-iTCP", "-sTCP:LISTEN", "-Fn")
    names = [line[1:].rpartition(":") for line in output.splitlines() if line.startswith("n")]
    return [("0.0.0.0" if host == "*" else host.strip("[]"), int(port)) for host, _, port in names]


def _output(*command: str) -> str:
    """What a command prints, with times as every caller sees them, wherever and in what language they are."""
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment).stdout


def _wait_for_environment(process: Process) -> None:
    """The system may return a moment before the environment of a new program, and the mark in it, can be read."""
    environment = _PROC / str(process.pid) / "environ"
    while environment.exists() and process.alive() and not _lines(environment):
        time.sleep(_POLL_SECONDS / 10)


def _signal_group(process: Process, number: signal.Signals) -> None:
    """Each leads a group of its own, in which its children are."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _wait_for_end(processes: Iterable[Process], seconds: float) -> None:
    limit = time.monotonic() + seconds
    while any(process.alive() for process in processes) and time.monotonic() < limit:
        time.sleep(_POLL_SECONDS)
