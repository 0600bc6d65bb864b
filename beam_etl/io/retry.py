"""A second try for an append that met a conflict: its kept files as those of a new run."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from beam_etl.io import manifest, staging
from beam_etl.io.commit import clean_run, settle
from beam_etl.io.manifest import DataFile, DatasetError, Manifest


def retry_append(dataset: str, run: str) -> tuple[str, str]:
    """Adds the kept files of a run to the dataset as it is now; the verdict, and the new run's name.

    The run itself can't write or publish any more from here on: attempts at it that still go on, anywhere, find neither
    its staging folder nor its files, which have other names. A retry that was killed is retried by the name it took.

    Args:
      dataset: folder.
      run: whose files are kept in `_staging/RUN`.

    Raises:
      DatasetError: nothing is kept of this run, or it isn't an append.
    """
    own = _kept(dataset, run)
    new, folder = staging.new_run(), staging.staging_folder(dataset, run)
    taken = staging.staging_folder(dataset, new)
    os.rename(folder, taken)
    clean_run(dataset, run, for_good=True)
    head = manifest.latest(dataset)
    names = cache(lambda inside: _names(inside, new))
    own = replace(
        own,
        run=new,
        number=head.number + 1 if head else 1,
        files=tuple(_renamed(taken, file, new, names) for file in own.files),
        appended=((head.number, head.run),) if head else (),
    )
    outcome = staging.outcome_path(dataset, new)
    with open(f"{outcome}.new", "wb") as file:
        file.write(manifest.prepare(taken, own))
    os.replace(file.name, outcome)
    staging.forget_conflict(dataset, new)
    return settle(dataset, own, []), new


def _kept(dataset: str, run: str) -> Manifest:
    path = staging.outcome_path(dataset, os.path.basename(run))
    try:
        own = Manifest.read(path)
    except (FileNotFoundError, NotADirectoryError, DatasetError) as error:
        raise DatasetError(f"{dataset}: nothing is kept of a run {run!r} that could be added") from error
    if manifest.is_published(dataset, own.run):
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
