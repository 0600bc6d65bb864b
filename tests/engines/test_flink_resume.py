"""Processes are killed while curate runs on Flink by itself: its job goes on, or the next run takes over its files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster
from beam_etl.engines.flink.jars import Jars
from beam_etl.io import manifest
from beam_etl.pipelines import curate
from tests.engines import launching
from tests.engines.digests import Contents, contents
from tests.engines.faults import Faults, environment, kill, wait_for
from tests.engines.launching import Launched
from tests.resuming import ALL, LINES, NOTHING, check_said, numbered
from tests.stored import write

STEPS = "[words]\nforbidden_words = ['number 007']\n[lines]\nmatch = 'exact'\nmin_length = 12\n[exact]\n[funnel]\n"

POINTS = {
    "spilling": (NOTHING,),
    "spilled": ("1 splits of the input; 30 documents",),
    "recording": ("4 splits of the input; 120 documents",),
    "recorded": (ALL,),
    "applying": (ALL, LINES),
    "settling": (ALL, LINES),
}
"""Where a worker is when it dies, and what the next run takes over."""


@dataclass
class Flink:
    """A Flink of its own, and its jobs over one input."""

    folder: Path
    workers: list[str]
    jobs: int = 0
    launched: list[Launched] = field(default_factory=list)

    @property
    def expected(self) -> Contents:
        """What a run gives that nothing happens to, in process."""
        return contents(self.folder / "whole")

    def flags(self, output: Path) -> list[str]:
        return [
            f"--config={self.folder}/steps.toml",
            f"--input={self.folder}/in/*.jsonl",
            f"--output={output}",
        ]

    def launch(self, output: Path, *more: str, points: tuple[str, ...] = ()) -> tuple[Launched, Faults]:
        """Starts a job whose workers wait at points."""
        self.jobs += 1
        name = f"resume-{self.jobs}"
        met = Faults.of(self.folder / "faults", name)
        for point in points:
            met.arm(point)
        there = cluster.running(str(self.folder / "cluster"))
        assert there is not None
        engine = launching.on(there, 1, self.workers)
        flags = [*self.flags(output), *engine, f"--job_name={name}", *more]
        self.launched.append(launching.launch("curate", flags, self.folder / f"{name}.log"))
        return self.launched[-1], met

    def end(self, worker: int) -> None:
        """Kills the job server with the Flink in it, and a worker; others leave by themselves."""
        folder = str(self.folder / "cluster")
        there = cluster.running(folder)
        assert there is not None
        kill(there.process("jobserver").pid)
        kill(worker)
        cluster.restart(folder, "jobserver")


@contextmanager
def started(folder: Path, task_managers: int) -> Iterator[Flink]:
    (folder / "faults").mkdir()
    write(folder, "steps.toml", STEPS.encode())
    for name, content in numbered(files=4, rows=30).items():
        write(folder / "in", name, content)
    with launching.own_pool(folder / "pool.log", environment(folder / "faults")) as workers:
        flink = Flink(folder, workers)
        try:
            cluster.start(str(folder / "cluster"), task_managers, say=print)
            assert curate.run(flink.flags(folder / "whole")) == 0
            yield flink
        finally:
            cluster.stop(str(folder / "cluster"))
            for each in flink.launched:
                each.process.kill()


@pytest.fixture(scope="module")
def embedded(flink_jars: Jars, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flink]:
    """Flink inside Beam's job server, which takes one job at a time."""
    with started(tmp_path_factory.mktemp("embedded"), task_managers=0) as flink:
        yield flink


def said(run: Launched) -> list[str]:
    """What curate told of what it takes over."""
    return [line for line in run.log.read_text(encoding="utf-8").splitlines() if line.startswith("curate: ")]


@pytest.mark.long
@pytest.mark.parametrize(("point", "told"), POINTS.items(), ids=POINTS)
def test_a_run_takes_over_what_a_killed_job_had_finished(
    point: str, told: tuple[str, ...], embedded: Flink, tmp_path: Path
) -> None:
    """Flink, the launcher and the worker are killed."""
    output = tmp_path / "out"
    run, met = embedded.launch(output, points=(point,))
    worker = met.meet(point)
    run.process.kill()
    embedded.end(worker)
    assert manifest.latest(str(output)) is None
    again, _ = embedded.launch(output, "--resume=true")
    again.succeed()
    check_said(said(again), told)
    assert contents(output) == embedded.expected


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS)
def test_a_job_goes_on_by_itself_when_a_worker_is_killed(point: str, embedded: Flink, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run, met = embedded.launch(output, points=(point,))
    kill(met.meet(point))
    met.let_go(point)
    run.succeed()
    assert contents(output) == embedded.expected


@pytest.mark.long
def test_a_job_that_its_launcher_left_overtakes_the_run_that_goes_on_in_its_place(
    flink_jars: Jars, tmp_path: Path
) -> None:
    """The job on Flink doesn't end with its launcher, and publishes. The other run says so, and touches nothing."""
    output = tmp_path / "out"
    with started(tmp_path, task_managers=1) as flink:
        run, met = flink.launch(output, points=("recorded",))
        met.meet("recorded")
        run.process.kill()
        again, met_again = flink.launch(output, "--resume=true", points=("applying",))
        met_again.meet("applying")
        met.let_go("recorded")
        wait_for("a dataset", lambda: manifest.latest(str(output)))
        met_again.let_go("applying")
        assert again.wait() == 1
        check_said(said(again)[:1], (ALL,))
        assert f"another job published to {output} while this one ran" in said(again)[-1]
        assert contents(output) == flink.expected
