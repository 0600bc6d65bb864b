"""Processes that add to a dataset: killed at any step and any moment, at once, and while somebody reads."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_etl.io import manifest, publishing
from beam_etl.io.commit import PUBLISHED
from beam_etl.pipelines import clean
from tests.append_workers import BEFORE, STEPS, adding, killed_at_each, killed_at_moments, make, two_at_once
from tests.appends import BASE, append_to, facts, rows
from tests.attempts import OTHER, RUN, rows_of, seen
from tests.faults import EQUAL, LOCAL, NEW, OLD, FaultReport

JOB = "a commit that adds to a dataset"

_CONTEXT = multiprocessing.get_context("spawn")


def in_a_process(work: Callable[..., None], *arguments: Any) -> None:
    """Runs a function in a new process without threads, which may fork."""
    process = _CONTEXT.Process(target=work, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets to which a process was adding when it was killed, by the step."""
    root = tmp_path_factory.mktemp("killed")
    in_a_process(killed_at_each, str(root))
    return root


def check_what_a_kill_left(dataset: Path) -> tuple[str, str, int]:
    """The old version whole or the new one; the run's next attempt and other runs get on.

    Returns:
      OLD or NEW, EQUAL, and how many files `clean` removed in the end.
    """
    old = manifest.version(str(dataset), 1)
    before = facts(dataset, old.files)
    published = publishing.is_published(str(dataset), RUN)
    assert rows(dataset, manifest.latest(str(dataset))) == sorted(
        rows_of(BASE) + (rows_of(RUN) if published else [])
    )
    assert append_to(dataset, OTHER, manifest.latest(str(dataset))) == PUBLISHED
    assert append_to(dataset, RUN, old) == PUBLISHED
    current = manifest.latest(str(dataset))
    assert rows(dataset, current) == sorted(rows_of(BASE) + rows_of(RUN) + rows_of(OTHER))
    left = sum(path.is_file() for path in dataset.rglob("*"))
    assert clean.run([str(dataset), "--idle_hours=0"]) == 0
    left -= sum(path.is_file() for path in dataset.rglob("*"))
    assert seen(dataset) == rows(dataset, current)
    assert {path.name for path in dataset.iterdir()} == {"_manifests", "documents", "removals"}
    assert facts(dataset, old.files) == before
    return NEW if published else OLD, EQUAL, left


@pytest.mark.parametrize("step", STEPS)
def test_an_append_that_is_killed_at_a_step_is_there_whole_or_not_at_all(
    step: str, killed: Path, faults: FaultReport
) -> None:
    number = list(STEPS).index(step)
    saw, again, left = check_what_a_kill_left(killed / str(number))
    assert saw == (NEW if number >= BEFORE else OLD)
    faults.kill(LOCAL, JOB, step, saw, again, left)


@pytest.mark.parametrize(
    "moments", [range(8), pytest.param(range(8, 58), marks=pytest.mark.long)], ids=["8", "50"]
)
def test_an_append_that_is_killed_at_any_moment_is_there_whole_or_not_at_all(
    moments: range, tmp_path: Path, faults: FaultReport
) -> None:
    in_a_process(killed_at_moments, str(tmp_path), moments)
    for seed in moments:
        faults.moment(LOCAL, JOB, *check_what_a_kill_left(tmp_path / str(seed)))


@pytest.mark.parametrize("rounds", [12, pytest.param(100, marks=pytest.mark.long)])
def test_of_two_that_add_at_once_all_rows_are_there_once(
    rounds: int, tmp_path: Path, faults: FaultReport
) -> None:
    old = make(tmp_path)
    before = facts(tmp_path, old.files)
    in_a_process(two_at_once, str(tmp_path), rounds)
    current = manifest.latest(str(tmp_path))
    assert current is not None
    assert current.number == 1 + 2 * rounds
    runs = [BASE, *(f"{kind}{number:011x}" for number in range(rounds) for kind in "ab")]
    assert sorted(run for _, run in current.lineage) == sorted(runs)
    assert seen(tmp_path) == rows(tmp_path, current) == sorted(row for run in runs for row in rows_of(run))
    assert facts(tmp_path, old.files) == before
    assert not (tmp_path / "_staging").exists()
    faults.fault(LOCAL, "two processes add to a dataset at once", rounds, "both are there, each row once")


def test_who_reads_while_others_add_sees_all_of_each_or_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    count, seen_numbers, first = 8, set(), _CONTEXT.Event()
    process = _CONTEXT.Process(target=adding, args=(str(tmp_path), count, first))
    process.start()
    while process.is_alive() or count + 1 not in seen_numbers:
        current = manifest.latest(str(tmp_path))
        assert current is not None
        added = [f"a{number:011x}" for number in range(current.number - 1)]
        assert rows(tmp_path, current) == sorted(row for run in (BASE, *added) for row in rows_of(run))
        seen_numbers.add(current.number)
        first.set()
    process.join()
    assert process.exitcode == 0
    assert len(seen_numbers) > 1
