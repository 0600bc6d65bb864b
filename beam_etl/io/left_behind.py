"""What is left of earlier runs when a version has replaced others."""

import os
from collections.abc import Collection, Iterable
from functools import cache

from beam_etl.io import staging
from beam_etl.io.stores import store_of

PUT_DOWN_SECONDS = 86_400
"""After the last of it was written, for who goes on where a run failed: as long as `clean` takes that for alive."""


def _appending_runs(dataset: str) -> set[str]:
    """Runs that add to a dataset on a filesystem and have not ended. What they publish may be staged since long ago."""
    parent = os.path.join(dataset, staging.FOLDER)
    runs = staging.entries(parent)
    return {run for run in runs if os.path.exists(os.path.join(parent, run, staging.APPENDING))}


def replaced_files(dataset: str, version: int, before: float) -> list[str]:
    """Files in tables of runs that have ended, or can't be published any more since a version replaced what they would.

    To be called before versions are read: a run that is published meanwhile is in one of them then.

    Args:
      dataset: folder.
      version: the number of the version that replaced others.
      before: when its manifest was written. Runs that wrote a file before it started from an older manifest; those that
        started later are not meant, and no appends. In an object store the runs themselves say so (`Begun`): those
        that say nothing have ended.
    """
    if store_of(dataset).has_folders:
        adding = _appending_runs(dataset)
        return [
            path
            for path, run in staging.table_files(dataset)
            if run not in adding and _older(os.path.join(dataset, path), before)
        ]
    mark = cache(lambda run: staging.begun(dataset, run))
    files = list(staging.table_files(dataset))
    return [path for path, run in files if mark(run) is None or _is_past(mark(run), version)]


def remove_leftovers(
    dataset: str, replaced: Iterable[str], kept: Collection[str], version: int, before: float
) -> None:
    """Removes files of earlier runs that no version lists, and their staging folders.

    Args:
      dataset: folder.
      replaced: of `replaced_files`.
      kept: paths that versions list which were read after that.
      version, before: as of `replaced_files`.
    """
    staging.remove_files(dataset, [path for path in replaced if path not in kept])
    parent = os.path.join(dataset, staging.FOLDER)
    for run in staging.entries(parent):
        if _is_left(dataset, run, version, before):
            staging.remove_folder(os.path.join(parent, run))
    staging.remove_empty([parent])


def _is_left(dataset: str, run: str, version: int, before: float) -> bool:
    """Whether a staging folder is of a run that can't be published any more. The folders of appends are spared.

    What runs have put down is another's to take over, and goes a day later.
    """
    folder = os.path.join(dataset, staging.FOLDER, run)
    files = list(store_of(dataset).files(folder))
    owners = staging.owners(found.path for found in files)
    if owners or any(found.path.endswith(staging.PUT_DOWN) for found in files):
        return all(found.modified <= before - PUT_DOWN_SECONDS for found in files)
    if not store_of(dataset).has_folders:
        return _is_past(staging.begun(dataset, run), version)
    inside = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
    appends = os.path.join(folder, staging.APPENDING) in inside
    return not appends and all(_older(path, before) for path in [folder, *inside])


def _is_past(mark: staging.Begun | None, version: int) -> bool:
    return mark is not None and not mark.appends and mark.seen < version


def _older(path: str, time: float) -> bool:
    try:
        return os.stat(path).st_mtime <= time
    except OSError:
        return False
