"""A cluster that tests may damage, with SDK workers that wait where they are met."""

import os
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from beam_etl.engines.flink import cluster
from beam_etl.engines.flink.rest import FlinkRest, JobStatus
from tests.engines import launching
from tests.engines.bench import WEBTEXT, Bench
from tests.engines.digests import Contents
from tests.engines.faults import Faults, kill, owner
from tests.engines.launching import Launched
from tests.engines.modes import MODES

FORCED = "--execution_mode_for_batch=BATCH_FORCED"
"""Every exchange between stages is kept on disk, not only those that Flink's planner can't do without."""


@dataclass(frozen=True)
class Run:
    """A job on a fragile cluster."""

    launched: Launched
    faults: Faults
    output: Path
    mode: str
    name: str

    def rows(self) -> list[Contents]:
        return MODES[self.mode].published(self.output)

    def batches(self, step: str) -> int:
        """How many batches steps of this name gave out, in all attempts."""
        found = self.faults.processed()
        return sum(counted["batches out"] for name, counted in found.items() if name.startswith(step))

    def processed(self) -> dict[str, Counter[str]]:
        return self.faults.processed()


class Fragile:
    """Two task managers of two slots; a job takes two tasks at a time, so that it goes on when one of them is lost.

    Args:
      folder: of the cluster.
      place: for logs and what workers tell.
      workers: flags of each kind of workers.
      bench: inputs, and what they should give.
    """

    def __init__(self, folder: str, place: Path, workers: Mapping[str, Sequence[str]], bench: Bench) -> None:
        self._folder = folder
        self._place = place
        self._workers = workers
        self._bench = bench
        self._runs = 0
        self._undisturbed: dict[tuple[str, str, tuple[str, ...]], Run] = {}

    @property
    def running(self) -> cluster.Running:
        found = cluster.running(self._folder)
        assert found is not None
        return found

    @property
    def rest(self) -> FlinkRest:
        return FlinkRest(self.running.rest)

    def launch(
        self,
        mode: str,
        workers: str,
        points: Sequence[str] = (),
        more: Sequence[str] = (),
        output: Path | None = None,
    ) -> Run:
        """Starts a job whose workers wait at these points."""
        self._runs += 1
        name = f"fault-{self._runs}"
        faults = Faults.of(self._place / "faults", name)
        for point in points:
            faults.arm(point, times=points.count(point))
        output = output or self._place / name / "out"
        output.parent.mkdir(exist_ok=True)
        arguments = [
            *MODES[mode].arguments(self._bench.corpus(WEBTEXT), output),
            *launching.on(self.running, 2, self._workers[workers]),
            f"--job_name={name}",
            *more,
        ]
        log = self._place / f"{name}.log"
        return Run(launching.launch(MODES[mode].job, arguments, log), faults, output, mode, name)

    def undisturbed(self, mode: str, workers: str, more: Sequence[str] = ()) -> Run:
        """A run that nothing happens to, the same for all tests."""
        key = mode, workers, tuple(more)
        if key not in self._undisturbed:
            run = self.launch(mode, workers, more=more)
            run.launched.succeed()
            self._undisturbed[key] = run
        return self._undisturbed[key]

    def job(self, run: Run) -> JobStatus:
        """What Flink says of a job."""
        found = self.rest.find(run.name)
        assert found is not None
        return self.rest.job(found.id)

    def task_managers(self) -> dict[int, str]:
        """Names by process."""
        found = self.running.processes
        return {one.pid: one.name for one in found if one.name.startswith("taskmanager")}

    def owner(self, worker: int) -> int:
        """The task manager of a worker."""
        return owner(worker, list(self.task_managers()))

    def kill(self, victim: str, worker: int) -> None:
        """Kills a worker, or its task manager, which is started again."""
        if victim == "SDK worker":
            kill(worker)
        else:
            process = self.owner(worker)
            kill(process)
            self.restart(self.task_managers()[process])

    def restart(self, name: str) -> None:
        cluster.restart(self._folder, name)

    def kill_process(self, name: str) -> None:
        kill(self.running.process(name).pid)


def mount(folder: Path, size: str) -> str:
    """Mounts a small filesystem of memory; why it can't be, or ''."""
    folder.mkdir()
    if os.geteuid() != 0:
        return "only root can mount a filesystem"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip()


def unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=True)
