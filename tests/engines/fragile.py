"""A cluster that tests may damage, with SDK workers that wait where they are met."""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster, jobs
from beam_etl.engines.flink.jars import Jars
from beam_etl.engines.flink.rest import TERMINAL, FlinkRest, JobStatus
from tests.engines import launching
from tests.engines.bench import WEBTEXT, Bench
from tests.engines.digests import Contents
from tests.engines.faults import Faults, environment, kill, owner, wait_for
from tests.engines.launching import Launched
from tests.engines.modes import MODES

HANG_SECONDS = 20
"""After which a frozen worker is given up: less than by default, and long on a busy machine."""

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
        self._latest: Launched | None = None
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
            *self._bench.arguments(mode, WEBTEXT, output),
            *launching.on(self.running, 2, self._workers[workers]),
            f"--job_name={name}",
            *more,
        ]
        self._latest = launching.launch(MODES[mode].job, arguments, self._place / f"{name}.log")
        return Run(self._latest, faults, output, mode, name)

    def recover(self) -> None:
        """Ends what a test that failed has left, and starts what is dead."""
        if self._latest is not None and self._latest.process.poll() is None:
            self._latest.process.kill()
            self._latest.process.wait()
        for process in self.running.processes:
            if not process.alive():
                self.restart(process.name)
        for job in self.rest.jobs():
            if job.state not in TERMINAL:
                jobs.cancel(self.rest, job.id)

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


def start(
    folders: pytest.TempPathFactory, bench: Bench, high_availability: bool = False
) -> Iterator[Fragile]:
    place = folders.mktemp("fragile")
    folder = str(place / "cluster")
    told = {**environment(place / "faults"), "BEAM_ETL_HANG_SECONDS": str(HANG_SECONDS)}
    with launching.own_pool(place / "pool.log", told) as pool:
        workers = {"pool": pool, "PROCESS": launching.by_process(place, told)}
        try:
            cluster.start(folder, high_availability=high_availability, say=print)
            yield Fragile(folder, place, workers, bench)
        finally:
            cluster.stop(folder)


@pytest.fixture(scope="module")
def fragile_cluster(
    flink_jars: Jars, bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fragile]:
    yield from start(tmp_path_factory, bench)


@pytest.fixture
def fragile(fragile_cluster: Fragile) -> Iterator[Fragile]:
    """A cluster that a test may damage: the next one finds it whole, and without jobs."""
    yield fragile_cluster
    fragile_cluster.recover()


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
    """Returns when it is done: a library's thread may hold a file a moment longer than the call that has read it."""

    def done() -> bool | None:
        return (
            not subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode or None
        )

    wait_for(f"{folder} to be unmounted", done)
