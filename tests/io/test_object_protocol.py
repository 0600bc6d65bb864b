"""The commit in an object store, request by request: whatever happens in between, rows are published once or never."""

import contextlib
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from beam_etl.io import commit, data_files, manifest, publishing, staging
from beam_etl.io.clean import find_leftovers, remove_leftovers
from beam_etl.io.commit import CONFLICT, FAILED, PUBLISHED, clean_run, settle
from beam_etl.io.retry import retry_append
from beam_etl.io.stores import objects, store_of
from beam_etl.io.stores.base import Found
from beam_etl.io.stores.objects import ObjectStore
from tests import attempts
from tests.attempts import (
    HAPPENINGS,
    OTHER,
    RUN,
    Inline,
    KilledError,
    Schedule,
    Steps,
    check_published_once,
    rows_of,
)
from tests.places import left, listed, seen, staged

GIVEN_UP = ["given up"]


@pytest.fixture
def bucket(memory_bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket in memory, without the cache that a worker has; its requests one after another."""
    monkeypatch.setattr(objects, "ThreadPoolExecutor", Inline)
    monkeypatch.setattr(staging, "_lock", contextlib.nullcontext())
    monkeypatch.setattr(data_files, "_begin_in_objects", data_files._begin_in_objects.__wrapped__)
    return memory_bucket


@contextlib.contextmanager
def watched(before: Callable[[str], None]) -> Iterator[None]:
    """Calls `before` with the path of each request."""
    asked = ObjectStore._ask

    def ask(self: ObjectStore, path: str, request: Any) -> Any:
        before(path)
        return asked(self, path, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectStore, "_ask", ask)
        yield


class World(attempts.World):
    """A dataset in a store, and what the attempts at publishing to it returned."""

    def __init__(self, dataset: str, append: bool = False) -> None:
        super().__init__(dataset)
        self.append = append

    def attempt(self, run: str = RUN, reasons: list[str] | None = None) -> None:
        made = staged(self.dataset, run, append=self.append)
        self.verdicts[run].add(settle(self.dataset, made, reasons or []))

    def overwrite(self) -> None:
        made = staged(self.dataset, OTHER, manifest.latest(self.dataset))
        self.verdicts[OTHER].add(settle(self.dataset, made, []))

    def check(self, agreed: bool = True) -> None:
        current = manifest.latest(self.dataset)
        assert listed(self.dataset) == sorted(
            row for _, run in (current.lineage if current else ()) for row in rows_of(run)
        )
        for run, verdicts in self.verdicts.items():
            assert len(verdicts) < 2 or not agreed, f"{run}: {verdicts}"
            assert (PUBLISHED in verdicts) <= publishing.is_published(self.dataset, run)

    def tidy(self) -> None:
        """What `clean` does a day later, after which only the dataset is there."""
        remove_leftovers(self.dataset, find_leftovers_of(self.dataset))
        assert seen(self.dataset) == listed(self.dataset)
        assert left(self.dataset) == []


def find_leftovers_of(dataset: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectStore, "uploads", lambda *_: [])  # there is no server to ask
        return find_leftovers(dataset, None, -1)


def stops(bucket: str, append: bool, every: int) -> range:
    """The numbers of requests of an attempt: all, or some of them."""
    return range(0 if every == 1 else 3, requests_of_a_commit(bucket, append), every)


def requests_of_a_commit(bucket: str, append: bool) -> int:
    steps = Steps()
    world = World(f"{bucket}/alone{append}", append)
    with watched(steps.before):
        world.attempt()
    assert world.verdicts[RUN] == {PUBLISHED}
    assert steps.done > 30
    return steps.done


EVERY = pytest.mark.parametrize(
    "every", [11, pytest.param(1, marks=pytest.mark.long)], ids=["some requests", "each request"]
)
"""Of the requests of an attempt, those before which something happens."""


@EVERY
@pytest.mark.parametrize("append", [False, True], ids=["replacing", "adding"])
@pytest.mark.parametrize("happening", HAPPENINGS.values(), ids=HAPPENINGS)
def test_whatever_happens_between_two_requests_each_row_is_published_once(
    bucket: str, happening: Callable[[World], None], append: bool, every: int
) -> None:
    for stop in stops(bucket, append, every):
        world = World(f"{bucket}/at{stop}", append)
        check_published_once(world, watched(Steps(stop, partial(happening, world)).before))
        world.tidy()


@EVERY
def test_a_run_that_replaces_this_one_meanwhile_stays_whole(bucket: str, every: int) -> None:
    for stop in stops(bucket, False, every):
        world = World(f"{bucket}/at{stop}")
        with watched(Steps(stop, world.overwrite).before):
            world.attempt()
        world.attempt()
        assert listed(world.dataset) in (rows_of(OTHER), rows_of(RUN))
        assert publishing.is_published(world.dataset, OTHER) == (world.verdicts[OTHER] == {PUBLISHED})
        world.tidy()


def test_a_version_that_was_replaced_and_removed_does_not_come_back(bucket: str) -> None:
    """An attempt publishes it once more, long after another did: its number is free, and its files are gone."""
    world = World(f"{bucket}/hollow")
    published: list[str] = []
    publish = ObjectStore.publish

    def late(self: ObjectStore, prepared: str, path: str) -> None:
        content = self.read(prepared)
        if not published:
            published.append(path)
            world.attempt()
            world.overwrite()
            self.create(path, content)
            return
        publish(self, prepared, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectStore, "publish", late)
        made = staged(world.dataset, RUN)
        assert settle(world.dataset, made, []) == CONFLICT
    assert world.verdicts == {RUN: {PUBLISHED}, OTHER: {PUBLISHED}}
    assert manifest.numbers(world.dataset) == [2]
    assert listed(world.dataset) == rows_of(OTHER)
    world.tidy()


THEN: dict[str, Callable[[World], None]] = {
    "nothing": lambda world: None,
    "another run": lambda world: world.attempt(OTHER),
    "a run that replaces": World.overwrite,
    "a run that replaces, twice": lambda world: (world.overwrite(), world.overwrite()),  # type: ignore[func-returns-value]
}
"""What happens after a run was given up, and before its attempt goes on."""


@EVERY
@pytest.mark.parametrize("append", [False, True], ids=["replacing", "adding"])
@pytest.mark.parametrize("then", THEN.values(), ids=THEN)
def test_a_run_that_is_given_up_meanwhile_is_published_whole_or_never(
    bucket: str, then: Callable[[World], None], append: bool, every: int
) -> None:
    """An attempt that was under way, anywhere, changes nothing after that."""
    for stop in stops(bucket, append, every):
        world = World(f"{bucket}/at{stop}", append)
        found: list[tuple[bool, list[str]]] = []

        def happening(world: World = world, found: list[tuple[bool, list[str]]] = found) -> None:
            world.give_up()
            gone = publishing.is_published(world.dataset, RUN)
            then(world)
            found.append((gone, listed(world.dataset)))

        with watched(Steps(stop, happening).before):
            world.attempt()
        ((published, rows),) = found
        assert listed(world.dataset) == rows
        assert published or PUBLISHED not in world.verdicts[RUN]
        clean_run(world.dataset, RUN)
        assert listed(world.dataset) == rows
        world.tidy()


@EVERY
@pytest.mark.parametrize("reasons", [[], GIVEN_UP], ids=["reasons inside", "reasons outside"])
def test_the_first_attempt_decides_whether_there_is_something_against_it(
    bucket: str, reasons: list[str], every: int
) -> None:
    inner = [] if reasons else GIVEN_UP
    for stop in stops(bucket, False, every):
        world = World(f"{bucket}/at{stop}")
        with watched(Steps(stop, partial(world.attempt, reasons=inner)).before):
            world.attempt(reasons=reasons)
        world.attempt()
        world.check()
        (verdict,) = world.verdicts[RUN]
        assert staging.verdict(world.dataset, RUN) == (GIVEN_UP if verdict == FAILED else [])


Work = Callable[[World], None]
TEAMS: dict[str, list[Work]] = {
    "three attempts": [World.attempt] * 3,
    "two attempts of two runs": [World.attempt, partial(World.attempt, run=OTHER)] * 2,
    "an attempt and one with a reason against it": [
        World.attempt,
        partial(World.attempt, reasons=GIVEN_UP),
    ],
    "two attempts, and giving up": [World.attempt, World.attempt, World.give_up],
}


class RequestSchedule(Schedule):
    """Runs several at once, a request of one of them at a time."""

    def watching(self) -> Any:
        return watched(self.before)


@pytest.mark.parametrize("append", [False, True], ids=["replacing", "adding"])
@pytest.mark.parametrize("kills", [0, 0.02], ids=["all live", "some are killed"])
@pytest.mark.parametrize("team", TEAMS.values(), ids=TEAMS)
@pytest.mark.parametrize("seeds", [1, pytest.param(60, marks=pytest.mark.long)])
def test_attempts_in_any_order_of_their_requests_publish_each_row_once(
    bucket: str, team: list[Work], kills: float, append: bool, seeds: int
) -> None:
    for seed in range(seeds):
        world = World(f"{bucket}/seed{seed}", append)
        RequestSchedule(bucket, seed, kills).run([partial(work, world) for work in team])
        gave_up = World.give_up in team
        if not gave_up:
            world.attempt()  # as an engine does that doesn't know of the others
        for run in (RUN, OTHER):
            clean_run(world.dataset, run)
        world.check(agreed=not gave_up)
        world.tidy()


def test_what_a_list_misses_that_was_created_a_moment_ago_is_found_all_the_same(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists that are two writes late, and versions that come one after another."""
    made: list[str] = []
    create, names, files = ObjectStore.create, ObjectStore.names, ObjectStore.files

    def creating(self: ObjectStore, path: str, content: bytes) -> bool:
        made.append(path)
        return create(self, path, content)

    def late(path: str) -> bool:
        return any(each == path or each.startswith(f"{path}/") for each in made[-2:])

    def stale_names(self: ObjectStore, folder: str) -> list[str]:
        return [name for name in names(self, folder) if not late(f"{folder}/{name}")]

    def stale_files(self: ObjectStore, folder: str) -> Iterator[Found]:
        return (found for found in files(self, folder) if not late(found.path))

    monkeypatch.setattr(ObjectStore, "create", creating)
    monkeypatch.setattr(ObjectStore, "names", stale_names)
    monkeypatch.setattr(ObjectStore, "files", stale_files)
    dataset = f"{bucket}/late"
    runs = [f"{number:012x}" for number in range(6)]
    for number, run in enumerate(runs):
        base = manifest.latest(dataset)
        assert (base.number if base else 0) == number
        assert settle(dataset, staged(dataset, run, base, append=number % 3 > 0), []) == PUBLISHED
        assert publishing.is_published(dataset, run)
    assert listed(dataset) == sorted(row for run in runs[3:] for row in rows_of(run))


@pytest.mark.parametrize("stop", [None, *range(0, 90, 10)])
def test_another_try_for_an_append_that_met_a_conflict_adds_its_rows_once(
    bucket: str, stop: int | None
) -> None:
    """The try is killed before a request, and made again."""
    dataset = f"{bucket}/retried"
    assert settle(dataset, staged(dataset, "cccccccccccc"), []) == PUBLISHED
    base = manifest.latest(dataset)
    made = staged(dataset, RUN, base, append=True)
    assert settle(dataset, staged(dataset, OTHER, base), []) == PUBLISHED
    assert settle(dataset, made, []) == CONFLICT
    assert staging.is_kept(dataset, RUN)
    if stop is not None:

        def kill() -> None:
            raise KilledError

        with watched(Steps(stop, kill).before), contextlib.suppress(KilledError):
            retry_append(dataset, RUN)
    if not any(run not in (RUN, OTHER) for _, run in manifest.latest(dataset).lineage):  # type: ignore[union-attr]
        assert retry_append(dataset, RUN)[0] == PUBLISHED
    clean_run(dataset, RUN)
    assert sorted(listed(dataset)) == sorted(rows_of(RUN) + rows_of(OTHER))
    remove_leftovers(dataset, find_leftovers_of(dataset))
    assert seen(dataset) == listed(dataset)


def test_another_try_for_an_append_that_was_killed_when_it_was_decided_adds_its_rows_once(
    bucket: str,
) -> None:
    dataset = f"{bucket}/killed"
    assert settle(dataset, staged(dataset, OTHER), []) == PUBLISHED
    made = staged(dataset, RUN, manifest.latest(dataset), append=True)

    def kill(*_: object) -> None:
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit, "publish_append", kill)
        with pytest.raises(KilledError):
            settle(dataset, made, [])
    assert staging.is_decided(dataset, RUN)
    assert retry_append(dataset, RUN) == (PUBLISHED, RUN)
    clean_run(dataset, RUN)
    assert listed(dataset) == sorted(rows_of(RUN) + rows_of(OTHER))
    with pytest.raises(manifest.DatasetError, match="nothing is kept"):
        retry_append(dataset, RUN)


_ROUNDS = itertools.count()


@pytest.mark.parametrize("append", [False, True], ids=["replacing", "adding"])
def test_of_writers_at_the_same_moment_one_wins_or_all_are_added(bucket: str, append: bool) -> None:
    writers, rounds = 4, 3
    for _ in range(rounds):
        dataset = f"{bucket}/round{next(_ROUNDS)}"
        runs = [f"{random.Random(number).getrandbits(48):012x}" for number in range(writers)]
        barrier, verdicts = threading.Barrier(writers), {}

        def write(run: str) -> None:
            made = staged(dataset, run, append=append)  # noqa: B023 - joined below
            barrier.wait()  # noqa: B023
            verdicts[run] = settle(dataset, made, [])  # noqa: B023

        threads = [threading.Thread(target=write, args=(run,)) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [run for run, verdict in verdicts.items() if verdict == PUBLISHED]
        assert len(won) == (writers if append else 1)
        assert listed(dataset) == sorted(row for run in won for row in rows_of(run))
        assert set(verdicts.values()) <= {PUBLISHED, CONFLICT}
        assert seen(dataset) == listed(dataset)


def test_a_file_that_somebody_removed_is_told_and_nothing_is_published(bucket: str) -> None:
    dataset = f"{bucket}/lost"
    made = staged(dataset, RUN)
    store_of(dataset).remove([f"{dataset}/{made.files[1].path}"])
    for _ in range(2):
        assert settle(dataset, made, []) == FAILED
    (reason,) = staging.verdict(dataset, RUN)
    assert made.files[1].path in reason
    assert manifest.latest(dataset) is None
