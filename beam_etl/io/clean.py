"""What a dataset's folder has that nobody needs: old versions, and what runs left that died."""

import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from beam_etl.io import manifest, staging, versions
from beam_etl.io.commit import clean_run
from beam_etl.io.errors import InputError
from beam_etl.io.file_lists import LIST_NAME
from beam_etl.io.manifest import Manifest
from beam_etl.io.run_reports import find_reports, report_path

STOPPED_SECONDS = 30 * 86_400
"""A stream that has written nothing for so long is taken for one that won't go on from its savepoint."""

_TEMPORARY = re.compile(rf".*\.[0-9a-f]{{12}}\.tmp|{staging.PROBE}\w+(\.link)?")
"""Files that stand for a moment beside a manifest, and probes of a filesystem."""


@dataclass(frozen=True)
class Leftover:
    """Something that can go."""

    what: str
    """In words, for people."""
    bytes: int
    version: int | None = None
    """The number of an old version,"""
    run: str | None = None
    """or a run that died,"""
    path: str | None = None
    """or a file below the dataset."""


@dataclass(frozen=True)
class Leftovers:
    """What can go of a dataset, and what was found too young."""

    removable: tuple[Leftover, ...]
    young: tuple[tuple[str, float], ...]
    """What may be of a run that goes on: in words, and the seconds since it was written to."""

    @property
    def bytes(self) -> int:
        """Of what can go."""
        return sum(each.bytes for each in self.removable)


def find_leftovers(dataset: str, keep_versions: int | None, idle_seconds: float) -> Leftovers:
    """Looks for versions beyond those that stay, and for what is left of runs that died.

    Args:
      dataset: folder.
      keep_versions: how many of the latest stay; None for all.
      idle_seconds: a run is taken for dead when nothing of it was written for so long. Of a run that adds to the
        dataset, nothing else tells it from one that goes on elsewhere.

    Raises:
      InputError: the folder holds neither a dataset nor what is left of one.
      DatasetError: a manifest is damaged, so that what is needed can't be known.
    """
    if not any(os.path.isdir(os.path.join(dataset, name)) for name in staging.SYSTEM_FOLDERS):
        raise InputError(f"{dataset}: no dataset. Give a folder that a job wrote as --output.")
    present = versions.read_versions(dataset)
    kept = present if keep_versions is None else present[-keep_versions:]
    removable = list(_old(dataset, present, kept))
    young = []
    now = time.time()
    for what, paths, leftover in (*_runs(dataset, present), *_files(dataset, present)):
        idle = now - max((_written(path) for path in paths), default=0.0)
        if idle >= idle_seconds:
            removable.append(leftover)
        else:
            young.append((what, max(0.0, idle)))
    return Leftovers(tuple(removable), tuple(young))


def remove_leftovers(dataset: str, found: Leftovers) -> None:
    """Removes what was found. Files that a version lists by now stay."""
    numbers = [each.version for each in found.removable if each.version is not None]
    old = versions.read_versions(dataset, numbers)
    versions.remove_versions(dataset, numbers)
    versions.remove_lists(dataset, lambda number, _, name: name in {version.list_name for version in old})
    kept = versions.paths_of(versions.read_versions(dataset))
    staging.remove_files(dataset, versions.paths_of(old) - kept)
    for each in found.removable:
        if each.run is not None:
            clean_run(dataset, each.run)
    staging.remove(os.path.join(dataset, each.path) for each in found.removable if each.path is not None)


def _old(dataset: str, present: list[Manifest], kept: list[Manifest]) -> Iterator[Leftover]:
    """The versions that go, with the files that no later one has: those of one that is removed with it count once."""
    needed = {file.path for version in kept for file in version.files}
    for version in reversed(present[: len(present) - len(kept)]):
        own = [file for file in version.files if file.path not in needed]
        needed.update(file.path for file in own)
        names = (f"{version.number:06d}.json", version.list_name)
        about = [os.path.join(dataset, manifest.FOLDER, name) for name in names if name]
        about.append(report_path(dataset, version.number, version.run))
        size = sum(file.bytes for file in own) + sum(_sizes(about))
        what = f"version {version.number} of run {version.run}, with {len(own):,} files that no later one has"
        yield Leftover(what, size, version=version.number)


_Candidate = tuple[str, list[str], Leftover]
"""What it is, the paths whose times tell whether it goes on, and what would be removed."""


def _runs(dataset: str, present: list[Manifest]) -> Iterator[_Candidate]:
    listed, streams = versions.paths_of(present), _streams(dataset, present)
    places: dict[str, list[str]] = {}
    for path, run in staging.table_files(dataset):
        if path not in listed and run not in streams:
            places.setdefault(run, []).append(os.path.join(dataset, path))
    parent = os.path.join(dataset, staging.FOLDER)
    for name in sorted(os.listdir(parent)) if os.path.isdir(parent) else ():
        folder = os.path.join(parent, name)
        run, inside = name.partition("-")[0], [folder]
        if run in streams:
            continue
        for above, folders, names in os.walk(folder):
            inside += [os.path.join(above, below) for below in (*folders, *names)]
        places.setdefault(run, []).extend(inside)
    for run, paths in sorted(places.items()):
        files = _sizes(path for path in paths if staging.run_of_file(path))
        kept = ", kept for another try" if staging.is_kept(dataset, run) else ""
        what = f"run {run}: {len(files):,} files that weren't published{kept}"
        yield what, paths, Leftover(what, sum(_sizes(paths)), run=run)


def _streams(dataset: str, present: list[Manifest]) -> set[str]:
    """Streams that run, or stand still and can go on: what they have staged is in a checkpoint or savepoint."""
    before = time.time() - STOPPED_SECONDS
    known = present[-1].streams if present else {}
    return {run for run in known if _written(staging.staging_folder(dataset, run)) >= before}


def _files(dataset: str, present: list[Manifest]) -> Iterator[_Candidate]:
    """Lists that no manifest names, reports of versions that aren't there, and temporary files."""
    folder = os.path.join(dataset, manifest.FOLDER)
    names = {version.list_name for version in present}
    runs = {(version.number, version.run) for version in present}
    for path in find_reports(dataset, lambda number, run: (number, run) not in runs):
        inside = os.path.relpath(path, dataset)
        yield inside, [path], Leftover(inside, sum(_sizes([path])), path=inside)
    for place in (folder, dataset):
        for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
            path = os.path.join(place, name)
            is_list = place == folder and LIST_NAME.fullmatch(name) and name not in names
            if os.path.isfile(path) and (is_list or _TEMPORARY.fullmatch(name)):
                inside = os.path.relpath(path, dataset)
                yield inside, [path], Leftover(inside, sum(_sizes([path])), path=inside)


def _written(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def _sizes(paths: Iterable[str]) -> list[int]:
    """Bytes of each file; one that has two names is there once."""
    sizes = {}
    for path in paths:
        if os.path.isfile(path):
            found = os.stat(path)
            sizes[found.st_dev, found.st_ino] = found.st_size
    return list(sizes.values())
