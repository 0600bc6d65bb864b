"""Jobs launched as users do: processes of their own."""

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from beam_etl.engines.flink import cluster

JOB_SECONDS = 600
"""For a job that takes a minute on an idle machine."""


@dataclass
class Launched:
    """A job that was started."""

    process: "subprocess.Popen[bytes]"
    log: Path
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0

    def wait(self, seconds: float = JOB_SECONDS) -> int:
        """The exit code."""
        try:
            code = self.process.wait(seconds)
        finally:
            self.seconds = time.monotonic() - self.started
            self.process.kill()
        return code

    def succeed(self, seconds: float = JOB_SECONDS) -> None:
        code = self.wait(seconds)
        assert code == 0, f"exit code {code}\n{self.said}"

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-6000:]


def launch(job: str, arguments: Sequence[str], log: Path) -> Launched:
    """Starts a job; what it prints goes to `log`."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", f"beam_etl.pipelines.{job}", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
        )
    return Launched(process, log)


def run(job: str, arguments: Sequence[str], log: Path) -> float:
    """Runs a job to its end; the seconds it took."""
    launched = launch(job, arguments, log)
    launched.succeed()
    return launched.seconds


def on(running: cluster.Running, parallelism: int, workers: Sequence[str] = ()) -> list[str]:
    """Flags of a job on a cluster.

    Args:
      running: the cluster.
      parallelism: tasks at a time.
      workers: flags that say where its workers come from, instead of the cluster's own pool.
    """
    flags = running.flags()
    if workers:
        flags = [flag for flag in flags if not flag.startswith("--environment_")] + list(workers)
    return ["--runner=flink", f"--parallelism={parallelism}", *flags]


def by_process(folder: Path, environment: Mapping[str, str] | None = None) -> list[str]:
    """Flags for workers that each task manager starts by itself."""
    boot = folder / "boot"
    boot.write_text(f'#!/bin/sh\nexec {sys.executable} -m beam_etl.engines.boot "$@"\n', encoding="utf-8")
    boot.chmod(boot.stat().st_mode | stat.S_IXUSR)
    config = json.dumps({"command": str(boot), "env": dict(environment or {})})
    return ["--environment_type=PROCESS", f"--environment_config={config}"]


@contextmanager
def own_pool(log: Path, environment: Mapping[str, str]) -> Iterator[list[str]]:
    """Flags for workers of a pool that has this in its environment; inside, it runs."""
    with log.open("wb") as errors:
        pool = subprocess.Popen(
            [sys.executable, "-m", "beam_etl.engines.pool", "--port=0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **environment},
        )
    try:
        assert pool.stdout is not None
        said = pool.stdout.readline().decode()
        assert said.startswith("pool on "), log.read_text(encoding="utf-8")
        yield ["--environment_type=EXTERNAL", f"--environment_config={said.split()[-1]}"]
    finally:
        pool.terminate()
        pool.wait(60)
        if pool.stdout is not None:
            pool.stdout.close()
