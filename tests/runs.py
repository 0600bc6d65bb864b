"""What tests of several pipelines do with runs of them: kill one, and read what it said."""

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_KILLED = """
import os, signal, sys
from importlib import import_module
from beam_etl.io import data_files
close = data_files.OpenFile.close
def close_and_die(self, rows):
    finished = close(self, rows)
    os.kill(os.getpid(), signal.SIGKILL)
    return finished
data_files.OpenFile.close = close_and_die
import_module(f"beam_etl.pipelines.{sys.argv[1]}").run(sys.argv[2:])
"""

_CROSSED = re.compile(r"^crossed shuffles: ([\d.]+) (B|KB|MB|GB)", re.MULTILINE)
_UNITS = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}


def kill_at_its_first_file(pipeline: str, flags: Sequence[str]) -> None:
    """Runs a pipeline in a process of its own that dies (SIGKILL) when a first file is written and closed."""
    command = [sys.executable, "-c", _KILLED, pipeline, *flags]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def crossed_bytes(said: str) -> float:
    """Bytes that crossed shuffles, by the closing lines of a run, in three digits."""
    ((number, unit),) = _CROSSED.findall(said)
    return float(number) * _UNITS[unit]
