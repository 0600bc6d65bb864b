"""Times whole processes: wall and CPU seconds, and the peak memory of the largest process."""

import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One finished process."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    stdout: str


@dataclass(frozen=True)
class Measured:
    """Several runs of one command."""

    runs: tuple[Run, ...]

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def peak_bytes(self) -> float:
        """Median of the peaks."""
        return statistics.median(run.peak_bytes for run in self.runs)

    def beside(self, ours: "Measured") -> str:
        """How much longer it took, or less."""
        return f"{self.seconds / ours.seconds:.2f}x ours"

    @property
    def stdout(self) -> str:
        """What the last run printed."""
        return self.runs[-1].stdout


def run_once(command: Sequence[str]) -> Run:
    """Runs a command to its end.

    Raises:
      RuntimeError: it failed. The message has the end of what it printed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=_keeping_bytecode())
        peak = _watch(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        peak.stop()
        out.seek(0)
        err.seek(0)
        printed, errors = out.read().decode(), err.read().decode()
    if status:
        raise RuntimeError(f"{' '.join(command)} failed:\n{errors[-3000:]}")
    process.returncode = 0
    return Run(seconds, usage.ru_utime + usage.ru_stime, max(usage.ru_maxrss << 10, peak.bytes), printed)


def _keeping_bytecode() -> dict[str, str]:
    """Of this process, but that modules are compiled once, as of an installed package, instead of by each process."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def measure(command: Sequence[str], runs: int) -> Measured:
    """Several runs, one after the other."""
    return Measured(tuple(run_once(command) for _ in range(runs)))


class _watch:  # noqa: N801 - reads as a verb
    """Sums the resident memory of a process and its descendants, what they share once, every 100 ms."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self.bytes = max(self.bytes, sum(map(_resident, _tree(self._pid))))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        except OSError:
            continue
        found += map(int, children)
    return found


def _resident(pid: int) -> int:
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(told.partition("\nPss:")[2].split()[0]) << 10
    except (OSError, IndexError):
        return 0
