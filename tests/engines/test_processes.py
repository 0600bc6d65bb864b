"""Processes that a cluster is made of: told apart, ended, and seen listening."""

import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beam_etl.engines.flink import processes
from beam_etl.engines.flink.processes import MARK, Process
from tests.engines.clusters import wait_until

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session={apart})
print(child.pid, flush=True)
time.sleep(600)
"""

Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Python programs; their output goes to log."""
    started: list[Process] = []

    def python(program: str = "import time; time.sleep(600)", **environment: str) -> Process:
        line = [sys.executable, "-c", program]
        started.append(processes.spawn("sample", line, tmp_path / "log", {**os.environ, **environment}))
        return started[-1]

    yield python
    for process in started:
        if process.alive():
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(params=["/proc", "ps and lsof"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where processes are looked up; macOS has no /proc."""
    if request.param == "/proc":
        if not Path("/proc").is_dir():
            pytest.skip("no /proc here")
        return
    if not all(map(shutil.which, ("ps", "lsof"))):
        pytest.skip("no ps or no lsof here")
    monkeypatch.setattr(processes, "_PROC", Path("/no such folder"))


def exists(pid: int) -> bool:
    return processes.birth(pid) != ""


def printed_pid(log: Path) -> int:
    wait_until(lambda: log.exists() and log.read_text().endswith("\n"))
    return int(log.read_text().split()[-1])


def test_a_process_has_no_terminal_and_a_session_of_its_own(start: Start, tmp_path: Path) -> None:
    process = start("import os, sys; print(os.getsid(0), sys.stdin.read() == '')")
    wait_until(lambda: not process.alive())
    assert (tmp_path / "log").read_text().split() == [str(process.pid), "True"]


def test_a_process_that_ended_is_not_alive(source: None, start: Start) -> None:
    process = start()
    assert process.alive()
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not process.alive())


def test_another_process_with_the_same_number_is_neither_alive_nor_ended(source: None, start: Start) -> None:
    other = start()
    gone = replace(other, birth=f"{other.birth}0")
    assert not gone.alive()
    processes.end([gone])
    assert other.alive()


def test_a_process_that_ignores_sigterm_is_killed_with_its_children(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_TERMINATE_SECONDS", 0.2)
    process = start(STUBBORN.format(apart=False))
    child = printed_pid(tmp_path / "log")
    processes.end([process])
    assert not process.alive()
    wait_until(lambda: not exists(child))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only /proc tells the environment of a process")
def test_children_in_a_session_of_their_own_are_found_by_the_mark(start: Start, tmp_path: Path) -> None:
    mark = str(tmp_path)
    process = start(STUBBORN.format(apart=True), **{MARK: mark})
    unmarked = start()
    child = printed_pid(tmp_path / "log")
    wait_until(lambda: len(processes.marked(mark)) == 2)
    assert sorted(processes.marked(mark)) == sorted([process.pid, child])
    processes.end_marked(mark)
    wait_until(lambda: not process.alive() and not exists(child))
    assert unmarked.alive()


@pytest.mark.parametrize("threads", [0, 1], ids=["main thread", "another thread too"])
def test_an_interrupt_waits_until_a_new_process_can_be_found(
    threads: int, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, ended = list[Process](), threading.Event()

    def interrupted(process: Process) -> None:
        os.kill(os.getpid(), signal.SIGINT)  # any thread may take it
        time.sleep(0.05)
        found.append(process)

    monkeypatch.setattr(processes, "_wait_for_environment", interrupted)
    for _ in range(threads):
        threading.Thread(target=ended.wait).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            start(**{MARK: str(tmp_path)})
        wait_until(lambda: processes.marked(str(tmp_path)) == [found[0].pid])
        os.kill(found[0].pid, signal.SIGINT)  # which it isn't deaf to itself
        wait_until(lambda: not found[0].alive())
    finally:
        ended.set()
        processes.end_marked(str(tmp_path))


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"])
def test_what_a_process_listens_on_is_seen(source: None, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as server:
            server.bind((address, 0))
            port = server.getsockname()[1]
            assert port not in [number for _, number in processes.listening(os.getpid())]
            server.listen()
            found = {number: where for where, number in processes.listening(os.getpid())}
    except OSError as error:
        pytest.skip(f"no {address} here: {error}")
    everywhere = address in ("0.0.0.0", "::")
    assert processes.is_loopback(found[port]) != everywhere
    assert everywhere or found[port] == address.removeprefix("::ffff:")


def test_free_ports_are_free_and_all_different() -> None:
    ports = processes.free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))


def test_memory_of_a_process_is_what_it_holds(source: None, start: Start, tmp_path: Path) -> None:
    held = start("held = b'x' * 200_000_000; print(len(held), flush=True); import time; time.sleep(600)")
    wait_until(lambda: (tmp_path / "log").exists() and "200000000" in (tmp_path / "log").read_text())
    assert 200_000_000 < processes.resident_bytes(held.pid) < 300_000_000
