"""Processes that add to a dataset: killed at any step and any moment, at once, and while somebody reads."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_etl.io import manifest
from beam_etl.io.commit import PUBLISHED, settle
from beam_etl.pipelines import clean
from tests.appends import BASE, append_to, ended, facts, forked, killing, rows
from tests.attempts import OTHER, RUN, rows_of, seen, stage

_CONTEXT = multiprocessing.get_context("spawn")


def in_a_process(work: Callable[..., None], *arguments: Any) -> None:
    """Runs a function in a new process without threads, which may fork."""
    process = _CONTEXT.Process(target=work, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def make(dataset: Path) -> manifest.Manifest:
    """A dataset of one version."""
    assert settle(str(dataset), stage(dataset, BASE, 1), []) == PUBLISHED
    return manifest.version(str(dataset), 1)


STEPS = {
    "before it is decided": ("create_if_absent", 0),
    "before its first file is in place": ("link", 1),
    "between two files": ("link", 3),
    "before its version is prepared": ("create_if_absent", 1),
    "before the manifest": ("link", 7),
    "after the manifest": ("sync_folder", 4),
    "before its staging folder goes": ("rename", 0),
    "while its staging folder goes": ("unlink", 4),
    "while the folder is emptied": ("rmdir", 1),
}
BEFORE = 5
"""So many of these come before the manifest."""


def _killed_at_each(root: str) -> None:
    for number, (name, call) in enumerate(STEPS.values()):
        dataset = Path(root) / str(number)
        base, prepare = make(dataset), killing(name, call)

        def dying(dataset: Path = dataset, base: Any = base, prepare: Any = prepare) -> str:
            prepare()
            return append_to(dataset, RUN, base)

        assert ended(forked(dying)) == -signal.SIGKILL


def _killed_at_moments(root: str, seeds: range) -> None:
    """Appends that are killed at a moment that a seed makes, in as long as a whole one takes."""
    start = time.monotonic()
    make(Path(root) / "whole")
    append_to(Path(root) / "whole", RUN, manifest.version(f"{root}/whole", 1))
    whole = time.monotonic() - start
    for seed in seeds:
        dataset = Path(root) / str(seed)
        base = make(dataset)
        process = forked(lambda dataset=dataset, base=base: append_to(dataset, RUN, base))  # type: ignore[misc]
        time.sleep(random.Random(seed).random() * whole)
        os.kill(process, signal.SIGKILL)
        ended(process)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets to which a process was adding when it was killed, by the step."""
    root = tmp_path_factory.mktemp("killed")
    in_a_process(_killed_at_each, str(root))
    return root


def check_what_a_kill_left(dataset: Path) -> bool:
    """The old version whole or the new one; the run's next attempt and other runs get on; whether it was published."""
    old = manifest.version(str(dataset), 1)
    before = facts(dataset, old.files)
    published = manifest.is_published(str(dataset), RUN)
    assert rows(dataset, manifest.latest(str(dataset))) == sorted(
        rows_of(BASE) + (rows_of(RUN) if published else [])
    )
    assert append_to(dataset, OTHER, manifest.latest(str(dataset))) == PUBLISHED
    assert append_to(dataset, RUN, old) == PUBLISHED
    current = manifest.latest(str(dataset))
    assert rows(dataset, current) == sorted(rows_of(BASE) + rows_of(RUN) + rows_of(OTHER))
    assert clean.run([str(dataset), "--idle_hours=0"]) == 0
    assert seen(dataset) == rows(dataset, current)
    assert {path.name for path in dataset.iterdir()} == {"_manifests", "documents", "removals"}
    assert facts(dataset, old.files) == before
    return published


@pytest.mark.parametrize("step", STEPS)
def test_an_append_that_is_killed_at_a_step_is_there_whole_or_not_at_all(step: str, killed: Path) -> None:
    number = list(STEPS).index(step)
    assert check_what_a_kill_left(killed / str(number)) == (number >= BEFORE)


@pytest.mark.parametrize(
    "moments", [range(8), pytest.param(range(8, 58), marks=pytest.mark.long)], ids=["8", "50"]
)
def test_an_append_that_is_killed_at_any_moment_is_there_whole_or_not_at_all(
    moments: range, tmp_path: Path
) -> None:
    in_a_process(_killed_at_moments, str(tmp_path), moments)
    for seed in moments:
        check_what_a_kill_left(tmp_path / str(seed))


def _two_at_once(folder: str, rounds: int) -> None:
    dataset = Path(folder)
    for number in range(rounds):
        base = manifest.latest(folder)
        begin, start = os.pipe()

        def waiting(run: str, base: Any = base, begin: int = begin, start: int = start) -> str:
            os.close(start)
            os.read(begin, 1)  # until the other end is closed
            return append_to(dataset, run, base)

        both = [forked(lambda run=f"{kind}{number:011x}": waiting(run)) for kind in "ab"]  # type: ignore[misc]
        os.close(start)
        os.close(begin)
        assert [ended(process) for process in both] == [0, 0]


@pytest.mark.parametrize("rounds", [12, pytest.param(100, marks=pytest.mark.long)])
def test_of_two_that_add_at_once_all_rows_are_there_once(rounds: int, tmp_path: Path) -> None:
    old = make(tmp_path)
    before = facts(tmp_path, old.files)
    in_a_process(_two_at_once, str(tmp_path), rounds)
    current = manifest.latest(str(tmp_path))
    assert current is not None
    assert current.number == 1 + 2 * rounds
    runs = [BASE, *(f"{kind}{number:011x}" for number in range(rounds) for kind in "ab")]
    assert sorted(run for _, run in current.lineage) == sorted(runs)
    assert seen(tmp_path) == rows(tmp_path, current) == sorted(row for run in runs for row in rows_of(run))
    assert facts(tmp_path, old.files) == before
    assert not (tmp_path / "_staging").exists()


def _adding(folder: str, count: int, first: Any) -> None:
    for number in range(count):
        assert append_to(Path(folder), f"a{number:011x}", manifest.latest(folder)) == PUBLISHED
        first.wait()


def test_who_reads_while_others_add_sees_all_of_each_or_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    count, seen_numbers, first = 8, set(), _CONTEXT.Event()
    process = _CONTEXT.Process(target=_adding, args=(str(tmp_path), count, first))
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
