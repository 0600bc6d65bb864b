"""The versions of a dataset that stay readable, and what goes when one replaces another."""

import os
from collections.abc import Callable, Iterable

from beam_etl.io import manifest, staging
from beam_etl.io.file_lists import LIST_NAME
from beam_etl.io.manifest import DatasetError, Manifest
from beam_etl.io.run_reports import find_reports
from beam_etl.io.stores import store_of


def read_versions(dataset: str, numbers: Iterable[int] | None = None) -> list[Manifest]:
    """The versions that there are, the latest last; those that a writer removes meanwhile are left out.

    Args:
      dataset: folder.
      numbers: which; None for all.

    Raises:
      DatasetError: as `Manifest.read`.
    """
    found = []
    for number in manifest.numbers(dataset) if numbers is None else numbers:
        try:
            found.append(Manifest.read(manifest.manifest_path(dataset, number)))
        except FileNotFoundError as error:
            if number in manifest.numbers(dataset):
                raise DatasetError(f"{error.filename}: the list of the version's files is absent") from error
    return found


def paths_of(versions: Iterable[Manifest]) -> set[str]:
    """The files that versions list."""
    return {file.path for version in versions for file in version.files}


def remove_replaced(dataset: str, current: Manifest) -> None:
    """Deletes what `current` replaced: versions beyond those that stay, and files of earlier runs that none lists.

    An append replaces nothing, and a run that began earlier may add to what it made.
    """
    if current.appended is not None:
        return
    try:
        published = store_of(dataset).look(manifest.manifest_path(dataset, current.number)).modified
    except FileNotFoundError:  # it was replaced itself
        return
    replaced = staging.replaced_files(dataset, current.number, published)  # before versions are read
    numbers = manifest.numbers(dataset)
    older = [number for number in numbers if number < current.number]
    newer = [number for number in numbers if number > current.number]
    gone = older[: max(0, len(older) - (current.keep_versions - 1))]
    try:
        kept = [current, *read_versions(dataset, [*older[len(gone) :], *newer])]
    except DatasetError:  # which files it has can't be known: `clean` and `verify` tell of it
        return
    remove_versions(dataset, gone)
    staging.remove_leftovers(dataset, replaced, paths_of(kept), current.number, published)
    names = {version.list_name for version in kept}
    remove_lists(dataset, lambda number, _, name: number <= current.number and name not in names)


def remove_versions(dataset: str, numbers: Iterable[int]) -> None:
    """Deletes manifests, oldest first, and then the reports of the runs. Their files are nobody's then."""
    gone = set(numbers)
    staging.remove(manifest.manifest_path(dataset, number) for number in sorted(gone))
    staging.remove(find_reports(dataset, lambda number, _: number in gone))


def remove_unpublished(dataset: str, run: str) -> None:
    """Deletes what stands in tables and lists of a run that has published, or never will: what no version lists."""
    current = manifest.latest(dataset)
    left = set(staging.files_of(dataset, run)) - paths_of([current] if current else [])
    mine = [number for number, owner in (current.lineage if current else ()) if owner == run]
    try:
        versions = read_versions(dataset, None if left else mine)
    except DatasetError:  # as above
        return
    staging.remove_files(dataset, left - paths_of(versions))
    names = {version.list_name for version in versions}
    remove_lists(dataset, lambda _, owner, name: owner == run and name not in names)


def remove_lists(dataset: str, is_left: Callable[[int, str, str], bool]) -> None:
    """Deletes lists of files of which `is_left` is true, given number, run and name."""
    folder = os.path.join(dataset, manifest.FOLDER)
    names = store_of(dataset).names(folder)
    lists = (match for match in map(LIST_NAME.fullmatch, names) if match)
    staging.remove(
        os.path.join(folder, match[0]) for match in lists if is_left(int(match[1]), match[2], match[0])
    )
