"""Attempts at publishing one run, as several processes make them, step by step."""

import contextlib
import hashlib
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from beam_etl.io import durable, manifest, place, publishing, staging
from beam_etl.io.commit import CONFLICT, PUBLISHED, clean_run, settle
from beam_etl.io.manifest import DataFile, Manifest

RUN, OTHER = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
PARTS = (("documents", 3), ("removals", 2))
"""Tables of a run, and how many files each attempt writes."""


def rows_of(run: str) -> list[str]:
    """What any attempt of a run writes."""
    return sorted(f"{run} {table} {part}" for table, parts in PARTS for part in range(parts))


def stage(
    dataset: Path, run: str, number: int, appended: tuple[tuple[int, str], ...] | None = None
) -> Manifest:
    """The files of one attempt, staged; what it would publish."""
    attempt, files = staging.new_attempt(), []
    for table, parts in PARTS:
        for part in range(parts):
            path = f"{table}/{staging.file_name(part, run, attempt, '.jsonl')}"
            staged = Path(staging.staging_folder(str(dataset), run)) / path
            staged.parent.mkdir(parents=True, exist_ok=True)
            staged.write_text(f"{run} {table} {part}\n")
            digest = hashlib.sha256(staged.read_bytes()).hexdigest()
            files.append(DataFile(table, path, 1, staged.stat().st_size, digest))
    files.sort(key=lambda file: file.path)
    return Manifest(number, run, tuple(files), {"documents": {}, "removals": {}}, appended=appended)


def attempt(dataset: Path, run: str = RUN, reasons: list[str] | None = None) -> str:
    """A whole attempt of a run that found no dataset when it was launched."""
    return settle(str(dataset), stage(dataset, run, 1), reasons or [])


def seen(dataset: Path) -> list[str]:
    """What somebody reads who lists the folders."""
    return sorted(line for path in dataset.glob("[!_]*/*") for line in path.read_text().splitlines())


def listed(dataset: Path) -> list[str]:
    """What the manifest says; fails where a file isn't there."""
    found = manifest.latest(str(dataset))
    paths = [dataset / file.path for file in found.files] if found else []
    return sorted(line for path in paths for line in path.read_text().splitlines())


class KilledError(BaseException):
    """The process that was making the attempt is gone."""


CHANGING = (
    *((os, name) for name in ("link", "rename", "replace", "unlink", "rmdir", "listdir", "makedirs")),
    *((durable, name) for name in ("create_if_absent", "sync_folder")),
    (staging, "remove_folder"),
)
"""What changes the filesystem, or looks at what others may change: each call is a step."""


class Inline:
    """A pool whose threads are the caller's."""

    def __init__(self, _: int) -> None:
        self.map = map

    def __enter__(self) -> "Inline":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def watched(root: Path, before: Callable[[str], None]) -> Iterator[None]:
    """Calls `before` with the name of each step below a folder: other threads of this process do others elsewhere.

    Attempts are as in processes of their own, without a common lock.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module, name in CHANGING:
            called = getattr(module, name)

            def step(*arguments: Any, called: Any = called, name: str = name, **more: Any) -> Any:
                if str(arguments[0]).startswith(f"{root}{os.sep}"):
                    before(name)
                return called(*arguments, **more)

            patch.setattr(module, name, step)
        patch.setattr(place, "ThreadPoolExecutor", Inline)
        patch.setattr(staging, "_lock", contextlib.nullcontext())
        yield


@dataclass
class Steps:
    """Counts what an attempt does to the filesystem, and lets something else happen before one step of it."""

    stop: int = -1
    happening: Callable[[], None] = lambda: None
    done: int = 0
    inside: bool = False
    names: list[str] = field(default_factory=list)

    def before(self, name: str) -> None:
        if self.inside:
            return
        if self.done == self.stop:
            self.inside = True
            try:
                self.happening()
            finally:
                self.inside = False
        self.done += 1
        self.names.append(name)


class Schedule:
    """Runs several at once, one step of one of them at a time, in an order that a seed makes; some are killed."""

    def __init__(self, root: Path, seed: int, kills: float) -> None:
        self._root = root
        self._random = random.Random(seed)
        self._kills = kills
        self._here = threading.Condition()
        self._numbers: dict[int, int] = {}
        self._waiting: set[int] = set()
        self._chosen: int | None = None
        self._left = 0

    def before(self, _: str) -> None:
        me = self._numbers[threading.get_ident()]
        with self._here:
            self._waiting.add(me)
            self._here.notify_all()
            self._here.wait_for(lambda: self._chosen == me)
            self._chosen = None
            self._waiting.discard(me)
            if self._random.random() < self._kills:
                raise KilledError

    def _one(self, number: int, work: Callable[[], None]) -> None:
        self._numbers[threading.get_ident()] = number
        try:
            self.before("start")
            work()
        except KilledError:
            pass
        finally:
            with self._here:
                self._left -= 1
                self._here.notify_all()

    def watching(self) -> AbstractContextManager[None]:
        """What makes each step call `before`."""
        return watched(self._root, self.before)

    def run(self, works: Sequence[Callable[[], None]]) -> None:
        self._left = len(works)
        threads = [threading.Thread(target=self._one, args=pair) for pair in enumerate(works)]
        with self.watching():
            for thread in threads:
                thread.start()
            while self._next():
                pass
        for thread in threads:
            thread.join()

    def _next(self) -> bool:
        with self._here:
            self._here.wait_for(lambda: self._chosen is None and len(self._waiting) == self._left)
            if self._left:
                self._chosen = self._random.choice(sorted(self._waiting))
                self._here.notify_all()
            return bool(self._left)


class World:
    """A dataset, and what the attempts at publishing to it returned."""

    dataset: Any
    """Its folder: a path, or the url of one."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.verdicts: dict[str, set[str]] = {RUN: set(), OTHER: set()}

    def attempt(self, run: str = RUN, reasons: list[str] | None = None) -> None:
        try:
            made = stage(self.dataset, run, 1)
        except staging.GONE:
            return  # as a worker fails that still writes while the run is given up
        self.verdicts[run].add(settle(str(self.dataset), made, reasons or []))

    def overwrite(self) -> None:
        """Another run, launched now, that replaces what is there."""
        current = manifest.latest(str(self.dataset))
        made = stage(self.dataset, OTHER, current.number + 1 if current else 1)
        self.verdicts[OTHER].add(settle(str(self.dataset), made, []))

    def kill(self) -> None:
        raise KilledError

    def give_up(self) -> None:
        clean_run(str(self.dataset), RUN)

    def check(self, agreed: bool = True) -> None:
        """What a reader sees is one run, whole and once, or nothing; every attempt of a run was told the same."""
        assert seen(self.dataset) == listed(self.dataset)
        current = manifest.latest(str(self.dataset))
        assert listed(self.dataset) == (rows_of(current.run) if current else [])
        for run, verdicts in self.verdicts.items():
            assert len(verdicts) < 2 or not agreed, f"{run}: {verdicts}"
            assert (PUBLISHED in verdicts) <= publishing.is_published(str(self.dataset), run)


HAPPENINGS: dict[str, Callable[[World], None]] = {
    "a second attempt": lambda world: world.attempt(),
    "two more attempts": lambda world: (world.attempt(), world.attempt()),  # type: ignore[func-returns-value]
    "another run": lambda world: world.attempt(OTHER),
    "a second attempt, then another run": lambda world: (world.attempt(), world.attempt(OTHER)),  # type: ignore[func-returns-value]
    "the attempt is killed": World.kill,
}
"""What happens in the middle of an attempt, which then goes on."""


def check_published_once(world: World, watching: AbstractContextManager[None]) -> None:
    """An attempt, in the middle of which something happens, and a second one where that kills it."""
    try:
        with watching:
            world.attempt()
    except KilledError:
        world.attempt()
    world.check()
    assert {PUBLISHED} in world.verdicts.values()
    for run, verdicts in world.verdicts.items():
        assert verdicts <= {PUBLISHED, CONFLICT}
        assert (verdicts == {PUBLISHED}) == publishing.is_published(str(world.dataset), run)
