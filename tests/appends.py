"""A dataset that several runs add to at once, step by step or as processes of their own."""

import hashlib
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from beam_etl.io import durable, manifest, publishing, staging
from beam_etl.io.commit import CONFLICT, PUBLISHED, clean_run, settle
from beam_etl.io.manifest import Manifest
from tests.attempts import RUN, KilledError, rows_of, seen, stage

BASE, THIRD = "cccccccccccc", "dddddddddddd"


def append_to(dataset: Path, run: str, base: Manifest | None) -> str:
    """A whole attempt of a run that adds to the version that it found when it was launched."""
    versions = ((base.number, base.run),) if base else ()
    staging.mark_appending(str(dataset), run)
    made = stage(dataset, run, base.number + 1 if base else 1, versions)
    return settle(str(dataset), made, [])


def facts(dataset: Path, files: tuple[manifest.DataFile, ...]) -> dict[str, tuple[str, int]]:
    """SHA-256 and time of change of files."""
    paths = {file.path: dataset / file.path for file in files}
    return {
        name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for name, path in paths.items()
    }


def rows(dataset: Path, version: Manifest | None) -> list[str]:
    """What a version says; fails where a file isn't there."""
    paths = [dataset / file.path for file in version.files] if version else []
    return sorted(line for path in paths for line in path.read_text().splitlines())


class Additions:
    """A dataset with one version, to which attempts add; and what these returned."""

    def __init__(self, dataset: Path) -> None:
        self.dataset = dataset
        assert settle(str(dataset), stage(dataset, BASE, 1), []) == PUBLISHED
        self.base = manifest.version(str(dataset), 1)
        self._facts = facts(dataset, self.base.files)
        self.verdicts: dict[str, set[str]] = {}

    def attempt(self, run: str = RUN) -> None:
        try:
            verdict = append_to(self.dataset, run, self.base)
        except staging.GONE:
            return  # as a worker fails that still writes while the run is given up
        self.verdicts.setdefault(run, set()).add(verdict)

    def overwrite(self, keep_versions: int = 1) -> None:
        """Another run, launched now, that replaces what is there."""
        current = manifest.latest(str(self.dataset))
        assert current is not None
        made = replace(
            stage(self.dataset, "eeeeeeeeeeee", current.number + 1),
            replaced=(current.number, current.run),
            keep_versions=keep_versions,
        )
        self.verdicts.setdefault("replacing", set()).add(settle(str(self.dataset), made, []))

    def kill(self) -> None:
        raise KilledError

    def give_up(self) -> None:
        clean_run(str(self.dataset), RUN)

    def check(self, whole: bool = True) -> None:
        """Every version has what was there and each run that is published, once; nothing old was touched.

        Args:
          whole: what somebody sees who lists the folders is the dataset: nobody was killed who didn't come back.
        """
        assert facts(self.dataset, self.base.files) == self._facts
        published = {BASE}
        for number in manifest.numbers(str(self.dataset)):
            version = manifest.version(str(self.dataset), number)
            runs = [run for _, run in version.lineage]
            assert len(set(runs)) == len(runs) == number
            assert rows(self.dataset, version) == sorted(row for run in runs for row in rows_of(run))
            assert published <= set(runs)
            published = set(runs)
        if whole:
            assert seen(self.dataset) == sorted(row for run in published for row in rows_of(run))
        for run, verdicts in self.verdicts.items():
            assert len(verdicts) == 1, f"{run}: {verdicts}"
            assert (verdicts == {PUBLISHED}) == (run in published)
            assert publishing.is_published(str(self.dataset), run) == (run in published)

    def replaced(self) -> None:
        """What is there is what replaced the rest, and who was told that it is published was, or is."""
        current = manifest.latest(str(self.dataset))
        assert current is not None
        told = set.union(*self.verdicts.values())
        assert rows(self.dataset, current) == sorted(
            row for _, run in current.lineage for row in rows_of(run)
        )
        assert told <= {PUBLISHED, CONFLICT}
        if staging.is_kept(str(self.dataset), RUN):
            (reason,) = staging.verdict(str(self.dataset), RUN)
            assert "was replaced by the run eeeeeeeeeeee" in reason
            kept = Path(staging.staging_folder(str(self.dataset), RUN))
            assert set(rows_of(RUN)) <= {path.read_text().strip() for path in kept.rglob("part-*")}


def killing(name: str, call: int) -> Callable[[], None]:
    """What makes this process die before it calls a function of `os` or `durable` for the n-th time."""
    calls, module = iter(range(1 << 30)), os if hasattr(os, name) else durable
    called = getattr(module, name)

    def dying(*arguments: object, **more: object) -> object:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return called(*arguments, **more)

    return lambda: setattr(module, name, dying)


def forked(work: Callable[[], str]) -> int:
    """A process of its own for an append; its exit code tells whether it published. Only of one without threads."""
    process = os.fork()
    if not process:
        os._exit(int(work() != PUBLISHED))
    return process


def ended(process: int) -> int:
    """The exit code of a process, or below 0 the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
