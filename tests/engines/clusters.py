"""Clusters from a test's side: their command, a process of theirs killed, and what they leave."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from beam_etl.engines.flink import processes
from beam_etl.engines.flink.processes import Process


def command(*arguments: str, seconds: float = 250) -> subprocess.CompletedProcess[str]:
    """Runs a command of `python -m beam_etl.engines.flink`."""
    line = [sys.executable, "-m", "beam_etl.engines.flink", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=seconds)


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def kill(process: Process) -> None:
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not process.alive())


def no_trace(folder: Path) -> bool:
    """Whether nothing is left of the cluster that was in a folder: no file, no process."""
    return not folder.exists() and processes.marked(str(folder)) == []
