"""A second try for an append that met a conflict: its kept files as those of a new run."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

from beam_etl.io import manifest, publishing, staging
from beam_etl.io.commit import CONFLICT, clean_run, settle
from beam_etl.io.manifest import DataFile, DatasetError, Manifest
from beam_etl.io.stores import store_of


def retry_append(dataset: str, run: str) -> tuple[str, str]:
    """Adds the kept files of a run to the dataset as it is now; the verdict, and the name they are published by.

    The run itself can't write or publish any more from here on: attempts at it that still go on, anywhere, find neither
    its staging folder nor its files, which have other names. A retry that was killed is retried by the name it took; in
    an object store, where files are copied, by either name.

    Args:
      dataset: folder.
      run: whose files are kept in `_staging/RUN`.

    Raises:
      DatasetError: nothing is kept of this run, or it isn't an append.
    """
    own = _kept(dataset, run)
    if not store_of(dataset).has_folders:
        return _retry_copied(dataset, own)
    new, folder = staging.new_run(), staging.staging_folder(dataset, run)
    taken = staging.staging_folder(dataset, new)
    os.rename(folder, taken)
    clean_run(dataset, run, for_good=True)
    names = cache(lambda inside: _names(inside, new))
    files = tuple(_renamed(taken, file, new, names) for file in own.files)
    own = _on_head(dataset, own, new, files)
    store_of(dataset).write(staging.outcome_path(dataset, new), publishing.prepare(taken, own))
    staging.forget_conflict(dataset, new)
    return settle(dataset, own, []), new


def _on_head(dataset: str, own: Manifest, run: str, files: tuple[DataFile, ...]) -> Manifest:
    """What a run was to add, as another run that adds it to what is there now."""
    head = manifest.latest(dataset)
    number, appended = head.number + 1 if head else 1, ((head.number, head.run),) if head else ()
    return replace(own, run=run, number=number, files=files, appended=appended)


def _retry_copied(dataset: str, own: Manifest) -> tuple[str, str]:
    """The same in an object store: a copy of each file. Whoever tries the run again goes on with the name first taken.

    One that was killed on its way to being published is published as itself: whoever cleans up would do so besides the
    copy. One that conflicts stays unpublished: what it conflicts with doesn't change.
    """
    verdict = settle(dataset, own, [])
    if verdict != CONFLICT:
        return verdict, own.run
    store, folder = store_of(dataset), staging.staging_folder(dataset, own.run)
    claim = os.path.join(folder, _TAKEN)
    store.create(claim, staging.new_run().encode())
    new = store.read(claim).decode()
    taken = staging.staging_folder(dataset, new)
    staging.mark_begun(dataset, new, appends=True)
    files = [replace(file, path=_of_run(file.path, new)) for file in own.files]
    if not staging.is_decided(dataset, new):
        with ThreadPoolExecutor(COPIERS) as pool:
            sources, targets = (
                [os.path.join(dataset, file.path) for file in some] for some in (own.files, files)
            )
            list(pool.map(store.copy, sources, targets))
        made = _on_head(dataset, own, new, tuple(files))
        store.create(staging.outcome_path(dataset, new), publishing.prepare(taken, made))
    decided = Manifest.read(staging.outcome_path(dataset, new), lists=taken)
    verdict = settle(dataset, decided, [])
    clean_run(dataset, own.run)
    return verdict, new


_TAKEN = "taken"
"""In the staging folder of a run in an object store: the name of the run that took its files."""

COPIERS = 16
"""Files that are copied at the same time."""


def _of_run(path: str, run: str) -> str:
    folder, name = os.path.split(path)
    return f"{folder}/{staging.of_another_run(name, run) or name}"


def _kept(dataset: str, run: str) -> Manifest:
    path = staging.outcome_path(dataset, os.path.basename(run))
    try:
        own = Manifest.read(path)
    except (FileNotFoundError, NotADirectoryError, DatasetError) as error:
        raise DatasetError(f"{dataset}: nothing is kept of a run {run!r} that could be added") from error
    if publishing.is_published(dataset, own.run):
        raise DatasetError(f"{dataset}: the run {run} is published already")
    if own.appended is None:
        raise DatasetError(
            f"{path}: the run {run} replaces the dataset. Only what is added can be tried again."
        )
    return own


def _names(folder: str, run: str) -> Mapping[str, Sequence[str]]:
    """What files in a folder are called, by the names that the run gives them."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if ours := staging.of_another_run(name, run):
            found[ours].append(name)
    return found


def _renamed(
    taken: str, file: DataFile, run: str, names: Callable[[str], Mapping[str, Sequence[str]]]
) -> DataFile:
    """A file under the name that the new run gives it, by which a try before this one may have called it as well."""
    folder, name = os.path.split(file.path)
    ours = staging.of_another_run(name, run) or name
    inside = os.path.join(taken, folder)
    for found in names(inside).get(ours, ()):
        os.rename(os.path.join(inside, found), os.path.join(inside, ours))
        os.utime(
            os.path.join(inside, ours)
        )  # who replaced the dataset meanwhile removes what is older than that
    return replace(file, path=f"{folder}/{ours}")
