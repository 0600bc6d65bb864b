"""What a dataset's folder has that nobody needs: old versions, and what runs left that died."""

import contextlib
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
from beam_etl.io.stores import PROBE, Found, Upload, store_of

STOPPED_SECONDS = 30 * 86_400
"""A stream that has written nothing for so long is taken for one that won't go on from its savepoint."""

_TEMPORARY = re.compile(rf".*\.[0-9a-f]{{12}}\.tmp|{PROBE}\w+(\.link)?")
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
    """or a file below the dataset,"""
    upload: Upload | None = None
    """or an upload that wasn't ended."""


@dataclass(frozen=True)
class Leftovers:
    """What can go of a dataset, and what was found too young."""

    removable: tuple[Leftover, ...]
    young: tuple[tuple[str, float], ...]
    """What may be of a run that goes on: in words, and the seconds since it was written to."""
    notes: tuple[str, ...] = ()
    """What couldn't be looked for."""

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
    if not set(store_of(dataset).names(dataset)) & set(staging.SYSTEM_FOLDERS):
        raise InputError(f"{dataset}: no dataset. Give a folder that a job wrote as --output.")
    present = versions.read_versions(dataset)
    kept = present if keep_versions is None else present[-keep_versions:]
    removable = list(_old(dataset, present, kept))
    young = []
    now = time.time()
    uploads, notes = _uploads(dataset)
    for what, written, leftover in (*_runs(dataset, present), *_files(dataset, present), *uploads):
        idle = now - written
        if idle >= idle_seconds:
            removable.append(leftover)
        else:
            young.append((what, max(0.0, idle)))
    return Leftovers(tuple(removable), tuple(young), notes)


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
            if not store_of(dataset).has_folders:  # what says that the run was given up: it has died
                staging.remove_staging(dataset, each.run)
    store_of(dataset).abort(each.upload for each in found.removable if each.upload is not None)
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
        size = sum(file.bytes for file in own) + _bytes(store_of(dataset).look_at(about))
        what = f"version {version.number} of run {version.run}, with {len(own):,} files that no later one has"
        yield Leftover(what, size, version=version.number)


_Candidate = tuple[str, float, Leftover]
"""What it is, when it was last written to, and what would be removed."""


def _runs(dataset: str, present: list[Manifest]) -> Iterator[_Candidate]:
    listed, streams, store = versions.paths_of(present), _streams(dataset, present), store_of(dataset)
    places: dict[str, list[Found]] = {}
    for found in staging.stored_files(dataset):
        run = staging.run_of_file(found.path)
        if not run or run in streams:
            continue
        if os.path.relpath(found.path, dataset).replace(os.sep, "/") not in listed:
            places.setdefault(run, []).append(found)
    parent = os.path.join(dataset, staging.FOLDER)
    written: dict[str, float] = {}
    for name in store.names(parent):
        folder = os.path.join(parent, name)
        run = name.partition("-")[0]
        if run in streams:
            continue
        places.setdefault(run, []).extend(store.files(folder))
        written[run] = max(written.get(run, 0.0), _folders_written(folder))
    for run, inside in places.items():
        written[run] = max([written.get(run, 0.0), *(found.modified for found in inside)])
    users = {run: staging.owners(found.path for found in inside) for run, inside in places.items()}
    active = dict(written)  # a run is where it last wrote, in a folder that it needs too
    for folder, owners in users.items():
        active |= {owner: max(active.get(owner, 0.0), written[folder]) for owner in owners}
    for run, inside in sorted(places.items()):
        files = [found for found in inside if staging.run_of_file(found.path)]
        names = {found.identity or found.path for found in files}
        kept = ", kept for another try" if staging.is_kept(dataset, run) else ""
        what = f"run {run}: {len(names):,} files that weren't published{kept}"
        last = max(active[each] for each in (run, *users[run]))
        yield what, last, Leftover(what, _bytes(inside), run=run)


def _folders_written(folder: str) -> float:
    """When something was last put into a folder, or one below it, of a filesystem; 0 where that isn't known."""
    times = [0.0]
    for above, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            times.append(os.lstat(above).st_mtime)
    return max(times)


def _streams(dataset: str, present: list[Manifest]) -> set[str]:
    """Streams that run, or stand still and can go on: what they have staged is in a checkpoint or savepoint."""
    before = time.time() - STOPPED_SECONDS
    known = present[-1].streams if present else {}
    return {run for run in known if _folders_written(staging.staging_folder(dataset, run)) >= before}


def _files(dataset: str, present: list[Manifest]) -> Iterator[_Candidate]:
    """Lists that no manifest names, reports of versions that aren't there, and temporary files."""
    folder = os.path.join(dataset, manifest.FOLDER)
    names = {version.list_name for version in present}
    runs = {(version.number, version.run) for version in present}
    paths = find_reports(dataset, lambda number, run: (number, run) not in runs)
    for place in (folder, dataset):
        for name in store_of(dataset).names(place):
            is_list = place == folder and LIST_NAME.fullmatch(name) and name not in names
            if is_list or _TEMPORARY.fullmatch(name):
                paths.append(os.path.join(place, name))
    for found in store_of(dataset).look_at(paths):
        if found is not None:
            inside = os.path.relpath(found.path, dataset)
            yield inside, found.modified, Leftover(inside, found.bytes, path=inside)


def _uploads(dataset: str) -> tuple[list[_Candidate], tuple[str, ...]]:
    """Uploads in parts that weren't ended; and why they couldn't be looked for."""
    try:
        found = store_of(dataset).uploads(dataset)
    except OSError as error:
        return [], (f"unfinished uploads were not looked for: {error.strerror or error}",)
    told = [(f"unfinished upload of {upload.path}", upload) for upload in found]
    return [(what, upload.began, Leftover(what, 0, upload=upload)) for what, upload in told], ()


def _bytes(files: Iterable[Found | None]) -> int:
    """Of all files; one that has two names is there once."""
    return sum({found.identity or found.path: found.bytes for found in files if found is not None}.values())
