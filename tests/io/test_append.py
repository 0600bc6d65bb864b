"""Adding to a dataset: each run's rows are there once or not at all, and what was there before isn't touched."""

import os
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from beam_etl.io import manifest, publishing, staging
from beam_etl.io.commit import CONFLICT, FAILED, PUBLISHED, clean_run, settle
from beam_etl.io.retry import retry_append
from tests.appends import BASE, THIRD, Additions, append_to, rows
from tests.attempts import OTHER, RUN, KilledError, Schedule, Steps, rows_of, seen, stage, watched


def steps_of_an_append(tmp_path: Path) -> int:
    world, steps = Additions(tmp_path / "alone"), Steps()
    with watched(tmp_path, steps.before):
        world.attempt()
    world.check()
    assert world.verdicts == {RUN: {PUBLISHED}}
    assert {"link", "unlink", "create_if_absent", "sync_folder"} <= set(steps.names)
    return steps.done


HAPPENINGS: dict[str, Callable[[Additions], None]] = {
    "a second attempt": lambda world: world.attempt(),
    "another append, and a second attempt": lambda world: (world.attempt(OTHER), world.attempt()),  # type: ignore[func-returns-value]
    "a second attempt, then two appends": lambda world: (  # type: ignore[func-returns-value]
        world.attempt(),
        world.attempt(OTHER),
        world.attempt(THIRD),
    ),
    "the attempt is killed": Additions.kill,
}
"""What happens in the middle of an attempt, which then goes on."""


@pytest.mark.parametrize("happening", HAPPENINGS.values(), ids=HAPPENINGS)
def test_whatever_happens_between_two_steps_each_row_is_added_once(
    tmp_path: Path, happening: Callable[[Additions], None]
) -> None:
    for stop in range(steps_of_an_append(tmp_path)):
        world = Additions(tmp_path / f"at {stop}")
        with watched(tmp_path, Steps(stop, lambda world=world: happening(world)).before):  # type: ignore[misc]
            try:
                world.attempt()
            except KilledError:
                world.verdicts.clear()
        if not world.verdicts:
            world.check(whole=False)
            world.attempt()
        world.check()
        assert set.union(*world.verdicts.values()) == {PUBLISHED}
        assert not (world.dataset / "_staging").exists()


def test_who_replaces_the_dataset_meanwhile_stays_whole_and_the_files_are_kept(tmp_path: Path) -> None:
    kept = 0
    for stop in range(steps_of_an_append(tmp_path)):
        world = Additions(tmp_path / f"at {stop}")
        with watched(tmp_path, Steps(stop, world.overwrite).before):
            world.attempt()
        world.replaced()
        assert seen(world.dataset) == rows(world.dataset, manifest.latest(str(world.dataset)))
        kept += staging.is_kept(str(world.dataset), RUN)
    assert kept > 5


def test_a_version_that_stays_is_whole_though_an_attempt_at_it_goes_on_when_it_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "LISTED_FILES", 0)
    for stop in range(steps_of_an_append(tmp_path)):
        world = Additions(tmp_path / f"at {stop}")

        def happening(world: Additions = world) -> None:
            world.attempt()
            world.overwrite(keep_versions=2)

        with watched(tmp_path, Steps(stop, happening).before):
            world.attempt()
        assert manifest.numbers(str(world.dataset)) == [2, 3]
        found = [rows(world.dataset, manifest.version(str(world.dataset), number)) for number in (2, 3)]
        assert found == [sorted(rows_of(BASE) + rows_of(RUN)), rows_of("eeeeeeeeeeee")]
        assert seen(world.dataset) == sorted(found[0] + found[1])


def test_an_append_that_is_given_up_meanwhile_is_published_whole_or_never(tmp_path: Path) -> None:
    for stop in range(steps_of_an_append(tmp_path)):
        world = Additions(tmp_path / f"at {stop}")
        with watched(tmp_path, Steps(stop, world.give_up).before):
            world.attempt()
        assert clean_run(str(world.dataset), RUN) == (world.verdicts[RUN] == {PUBLISHED})
        assert world.verdicts[RUN] <= {PUBLISHED, FAILED}
        world.check()


Work = Callable[[Additions], None]
FIRST: Work = Additions.attempt
SECOND: Work = partial(Additions.attempt, run=OTHER)
LAST: Work = partial(Additions.attempt, run=THIRD)

TEAMS: dict[str, list[Work]] = {
    "two attempts": [FIRST, FIRST],
    "two appends": [FIRST, SECOND],
    "two attempts of two appends": [FIRST, SECOND, FIRST, SECOND],
    "three appends": [FIRST, SECOND, LAST],
    "two appends, and giving up one": [FIRST, SECOND, Additions.give_up],
    "two attempts and an append, and who replaces": [FIRST, SECOND, FIRST, Additions.overwrite],
}


@pytest.mark.parametrize("kills", [0, 0.02], ids=["all live", "some are killed"])
@pytest.mark.parametrize("team", TEAMS.values(), ids=TEAMS)
def test_appends_in_any_order_of_their_steps_are_there_once(
    tmp_path: Path, team: list[Work], kills: float
) -> None:
    for seed in range(6):
        world = Additions(tmp_path / str(seed))
        Schedule(tmp_path, seed, kills).run([partial(work, world) for work in team])
        if Additions.overwrite in team:
            world.replaced()
            continue
        for run, work in ((RUN, FIRST), (OTHER, SECOND), (THIRD, LAST)):
            if work in team and Additions.give_up not in team:
                world.attempt(run)  # as an engine does that doesn't know of the others
            clean_run(str(world.dataset), run)
        if Additions.give_up in team:
            world.verdicts.pop(RUN, None)  # who begins after that may publish, whole
        world.check()
        assert not (world.dataset / "_staging").exists()


class StaleFolder:
    """The manifests as a client of a network filesystem lists them: as they were, until it changes something there."""

    def __init__(self, dataset: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder = str(dataset / manifest.FOLDER)
        self._known: list[str] | None = os.listdir(self._folder)
        for name in ("listdir", "link", "unlink"):
            patch.setattr(os, name, partial(self._call, getattr(os, name)))

    def _call(self, called: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        if called.__name__ == "listdir" and arguments[0] == self._folder:
            self._known = called(*arguments) if self._known is None else self._known
            return list(self._known)
        result = called(*arguments, **more)
        if self._folder in map(os.path.dirname, map(str, arguments)):
            self._known = None
        return result


MEANWHILE: dict[str, tuple[list[Work], str]] = {
    "others added": ([SECOND, LAST], PUBLISHED),
    "the same attempt, and others": ([FIRST, SECOND], PUBLISHED),
    "somebody replaced it": ([SECOND, Additions.overwrite], CONFLICT),
}


@pytest.mark.parametrize(("others", "verdict"), MEANWHILE.values(), ids=MEANWHILE)
def test_a_client_that_lists_what_was_there_before_adds_to_what_is_there(
    others: list[Work], verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Additions(tmp_path)
    with monkeypatch.context() as patch:
        stale = StaleFolder(tmp_path, patch)
        known = stale._known
        for other in others:
            other(world)
        stale._known = known
        assert append_to(tmp_path, RUN, world.base) == verdict
    if verdict == PUBLISHED:
        world.verdicts[RUN] = {PUBLISHED}
        world.check()
    else:
        world.replaced()


def test_the_first_append_makes_the_dataset_and_one_beside_it_is_on_top(tmp_path: Path) -> None:
    for run in (RUN, OTHER):
        assert append_to(tmp_path, run, None) == PUBLISHED
    current = manifest.latest(str(tmp_path))
    assert current is not None
    assert current.lineage == ((1, RUN), (2, OTHER))
    assert rows(tmp_path, current) == sorted(rows_of(RUN) + rows_of(OTHER))


def test_older_versions_stay_readable_until_the_dataset_is_replaced(tmp_path: Path) -> None:
    world = Additions(tmp_path)
    for run in (RUN, OTHER):
        world.attempt(run)
    assert [rows(tmp_path, manifest.version(str(tmp_path), number)) for number in (1, 2, 3)] == [
        rows_of(BASE),
        sorted(rows_of(BASE) + rows_of(RUN)),
        sorted(rows_of(BASE) + rows_of(RUN) + rows_of(OTHER)),
    ]
    world.overwrite()
    with pytest.raises(manifest.DatasetError, match="has no version 2; there are: 4"):
        manifest.version(str(tmp_path), 2)
    assert seen(tmp_path) == rows_of("eeeeeeeeeeee")


@pytest.mark.parametrize("listed", [0, 10_000], ids=["lists beside", "lists inside"])
def test_what_met_a_conflict_is_added_by_another_try(
    tmp_path: Path, listed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "LISTED_FILES", listed)
    world = Additions(tmp_path)
    made = stage(tmp_path, RUN, 2, ((1, BASE),))
    staging.mark_appending(str(tmp_path), RUN)
    world.overwrite()
    for _ in range(2):
        assert settle(str(tmp_path), made, []) == CONFLICT
    assert seen(tmp_path) == rows_of("eeeeeeeeeeee")
    verdict, new = retry_append(str(tmp_path), RUN)
    assert verdict == PUBLISHED
    assert settle(str(tmp_path), made, []) == FAILED
    current = manifest.latest(str(tmp_path))
    assert current is not None
    assert current.lineage == ((2, "eeeeeeeeeeee"), (3, new))
    assert seen(tmp_path) == rows(tmp_path, current) == sorted(rows_of("eeeeeeeeeeee") + rows_of(RUN))
    with pytest.raises(manifest.DatasetError, match="nothing is kept"):
        retry_append(str(tmp_path), RUN)


def test_another_try_that_is_killed_is_tried_again(tmp_path: Path) -> None:
    for stop in count():
        dataset = tmp_path / str(stop)
        world = Additions(dataset)
        made = stage(dataset, RUN, 2, ((1, BASE),))
        staging.mark_appending(str(dataset), RUN)
        world.overwrite()
        assert settle(str(dataset), made, []) == CONFLICT
        with watched(tmp_path, Steps(stop, world.kill).before):
            try:
                retry_append(str(dataset), RUN)
                break
            except KilledError:
                left = sorted(path.name for path in (dataset / "_staging").glob("*") if path.is_dir())
        for run in left:
            if not publishing.is_published(str(dataset), run.partition("-")[0]):
                assert retry_append(str(dataset), run)[0] == PUBLISHED
        current = manifest.latest(str(dataset))
        assert rows(dataset, current) == sorted(rows_of("eeeeeeeeeeee") + rows_of(RUN))
    assert stop > 20
