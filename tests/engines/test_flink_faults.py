"""Processes are killed while a job runs on Flink: its rows and its manifest are those of a run in peace."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from beam_etl.engines.flink.jars import Jars
from beam_etl.io import manifest
from beam_etl.pipelines.verdicts import REJECTED
from tests.engines.bench import WEBTEXT, Bench
from tests.engines.faults import is_running, wait_for
from tests.engines.faulty import POISON
from tests.engines.fragile import Fragile, Run, mount, start, unmount
from tests.engines.report import Report
from tests.stored import json_lines

NEAR, TOKENS = "near, verified", "tokens"
TASK_MANAGER, WORKER = "task manager", "SDK worker"


@dataclass(frozen=True)
class Kill:
    """Who is killed, and when."""

    victim: str
    point: str
    workers: str = "pool"
    mode: str = NEAR

    def __str__(self) -> str:
        return f"{self.victim} {self.point}, {self.workers}"


POINTS = {NEAR: ("reading", "copying", "moving"), TOKENS: ("writing",)}
"""copying: the second read, between two shuffles. moving: files that are written are moved into place."""

KILLS = [
    Kill(victim, point, workers, mode)
    for mode, points in POINTS.items()
    for victim in (TASK_MANAGER, WORKER)
    for point in points
    for workers in ("pool", "PROCESS")
] + [
    Kill(WORKER, point, workers)
    for point in ("settling", "committing", "committed")
    for workers in ("pool", "PROCESS")
]
"""settling: the commit begins. committing: the manifest is about to be created. committed: it was."""

SHORT = (Kill(TASK_MANAGER, "copying"), Kill(WORKER, "committed", "PROCESS"))


class Judge:
    """Says whether a disturbed run gave what it should, and writes it down."""

    def __init__(self, fragile: Fragile, bench: Bench, report: Report) -> None:
        self._fragile = fragile
        self._bench = bench
        self._report = report

    def check(
        self, run: Run, victim: str, point: str, workers: str = "pool", fragile: Fragile | None = None
    ) -> None:
        """The job ends well, and its rows are those that it gives in process."""
        run.launched.succeed()
        if self._report.asked:  # a run in peace beside it takes as long as this one
            self._tell(run, victim, point, workers, fragile or self._fragile)
        assert run.rows() == self._bench.expected(run.mode, WEBTEXT)

    def _tell(self, run: Run, victim: str, point: str, workers: str, fragile: Fragile) -> None:
        there, here = run.rows(), self._bench.expected(run.mode, WEBTEXT)
        calm = self._fragile.undisturbed(run.mode, workers)
        self._report.kill(
            victim,
            point,
            workers,
            run.mode,
            run.launched.seconds,
            calm.launched.seconds,
            sum(one.lost(other) for one, other in zip(there, here, strict=True)),
            sum(one.doubled(other) for one, other in zip(there, here, strict=True)),
            run.batches("Read documents") - calm.batches("Read documents"),
            fragile.job(run).restarts,
        )


@pytest.fixture
def judge(fragile: Fragile, bench: Bench, report: Report) -> Judge:
    return Judge(fragile, bench, report)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case in SHORT else pytest.mark.long, id=str(case)) for case in KILLS],
)
def test_a_killed_process_changes_no_row(case: Kill, fragile: Fragile, judge: Judge) -> None:
    run = fragile.launch(case.mode, case.workers, [case.point])
    fragile.kill(case.victim, run.faults.meet(case.point))
    run.faults.let_go(case.point)
    judge.check(run, case.victim, case.point, case.workers)


@pytest.mark.long
@pytest.mark.parametrize("victim", [TASK_MANAGER, WORKER])
def test_three_kills_in_one_job_change_no_row(victim: str, fragile: Fragile, judge: Judge) -> None:
    run = fragile.launch(NEAR, "pool", POINTS[NEAR])
    for point in POINTS[NEAR]:
        fragile.kill(victim, run.faults.meet(point))
        run.faults.let_go(point)
    judge.check(run, f"3 times {victim}", ", ".join(POINTS[NEAR]))


@pytest.mark.long
def test_a_job_outlives_its_job_server(fragile: Fragile, judge: Judge) -> None:
    run = fragile.launch(NEAR, "pool", ["reading"])
    run.faults.meet("reading")
    fragile.kill_process("jobserver")
    run.faults.let_go("reading")
    run.launched.wait()
    fragile.restart("jobserver")
    judge.check(run, "job server", "reading")


@pytest.mark.long
def test_two_attempts_of_the_commit_at_once_publish_once(fragile: Fragile, judge: Judge) -> None:
    """A worker that stood still goes on when another does its work: it ends itself, but not at once."""
    run = fragile.launch(NEAR, "pool", ["committing", "committing"])
    first = run.faults.meet("committing", 0)
    os.kill(first, signal.SIGSTOP)
    fragile.kill(TASK_MANAGER, first)
    second = run.faults.meet("committing", 1)
    assert first != second
    for number in (0, 1):
        run.faults.let_go("committing", number)
    os.kill(first, signal.SIGCONT)
    wait_for("both attempts", lambda: run.processed().get("settled", {}).get("batches at") == 2 or None)
    judge.check(run, TASK_MANAGER, "2 commits at once")


@pytest.mark.long
@pytest.mark.parametrize("workers", ["pool", "PROCESS"])
def test_a_frozen_worker_is_given_up_and_its_work_done_again(
    workers: str, fragile: Fragile, judge: Judge
) -> None:
    run = fragile.launch(NEAR, workers, ["copying"])
    worker = run.faults.meet("copying")
    os.kill(worker, signal.SIGSTOP)
    run.faults.let_go("copying")
    wait_for("the end of the frozen worker", lambda: True if not is_running(worker) else None)
    judge.check(run, "frozen SDK worker", "copying", workers)


@pytest.mark.long
def test_a_job_outlives_its_job_manager_under_high_availability(
    flink_jars: Jars, bench: Bench, judge: Judge, tmp_path_factory: pytest.TempPathFactory
) -> None:
    starting = start(tmp_path_factory, bench, high_availability=True)
    available = next(starting)
    try:
        run = available.launch(NEAR, "pool", ["copying"])
        run.faults.meet("copying")
        available.kill_process("jobmanager")
        available.restart("jobmanager")
        run.faults.let_go("copying")
        judge.check(run, "job manager", "copying", fragile=available)
    finally:
        starting.close()


@pytest.mark.long
def test_a_full_disk_fails_the_job_and_publishes_nothing(fragile: Fragile, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    if reason := mount(disk, "8m"):
        pytest.skip(f"no small disk: {reason}")
    try:
        run = fragile.launch(NEAR, "pool", output=disk / "out")
        assert run.launched.wait() == 1
        assert "No space left on device" in run.launched.said
        assert "nothing was published" in run.launched.said
        assert manifest.latest(str(disk / "out")) is None
        assert not [path for path in (disk / "out").rglob("*") if path.is_file()]
    finally:
        unmount(disk)


@dataclass(frozen=True)
class Verdict:
    """Flags of a job that isn't published, and what it says and returns then."""

    mode: str
    flags: tuple[str, ...]
    reason: str
    code: int = 1


VERDICTS = {
    "unfinished graph": Verdict(
        "near", ("--components=one", "--components_memory=100"), "Set --components_memory="
    ),
    "large cluster": Verdict(
        "near", ("--max_cluster_size=2", "--oversized=fail"), "above --max_cluster_size=2"
    ),
    "too many rejects": Verdict(TOKENS, ("--max_record_bytes=3000",), "over the limit of 3000", REJECTED),
    "a kernel's reject": Verdict(
        TOKENS, ("--strict=true", "--input={poisoned}"), f"a text with {POISON!r}", REJECTED
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "verdict",
    [
        pytest.param(verdict, id=name, marks=() if POISON in verdict.reason else pytest.mark.long)
        for name, verdict in VERDICTS.items()
    ],
)
def test_a_verdict_ends_a_job_without_restarts(verdict: Verdict, fragile: Fragile, tmp_path: Path) -> None:
    poisoned = tmp_path / "poisoned.jsonl"
    site = {"lang": "en", "domain": "a.example"}
    poisoned.write_bytes(json_lines([{"text": text, **site} for text in ("some words", POISON)]))
    flags = [flag.format(poisoned=poisoned) for flag in verdict.flags]
    run = fragile.launch(verdict.mode, "pool", more=flags)
    assert run.launched.wait() == verdict.code
    assert verdict.reason in run.launched.said
    assert fragile.job(run).restarts == 0
    assert run.processed()["settling"]["batches at"] == 1
    assert manifest.latest(str(run.output)) is None
    assert not list(run.output.rglob("part-*"))
