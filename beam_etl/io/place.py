"""The files of a run from its staging folder to their tables."""

import os
from concurrent.futures import ThreadPoolExecutor

from beam_etl.io import durable, staging
from beam_etl.io.file_lists import absent_files
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.io.stores import store_of

_TRIES = 100

_MOVERS = 16
"""Files that are moved at the same time: on a network filesystem a move is a round trip."""


def place(dataset: str, decided: Manifest) -> list[DataFile]:
    """Puts files into place; those that are in neither place any more.

    What replaces the dataset is moved. What is added to it gets a second name there, and stays in staging as well until
    it is published: whoever replaces the dataset meanwhile removes the one and leaves the other.

    In an object store they are in place already, and looked at.

    Args:
      dataset: folder.
      decided: whose files.

    Raises:
      OSError: one of staging.GONE: the staging folder is.
    """
    if not store_of(dataset).has_folders:
        return absent_files(dataset, decided.files)
    folders = {os.path.join(dataset, os.path.dirname(file.path)) for file in decided.files}
    for folder in folders:
        _make(folder)
    staged = staging.staging_folder(dataset, decided.run)

    def is_lost(file: DataFile) -> bool:
        source, target = os.path.join(staged, file.path), os.path.join(dataset, file.path)
        while True:
            try:
                if decided.appended is None:
                    os.rename(source, target)
                else:
                    _link(source, target)
                return False
            except FileNotFoundError:
                if not os.path.exists(source):
                    return not os.path.exists(target)  # in this order: another attempt may move it meanwhile
                _make(os.path.dirname(target))  # another run removed it, being empty

    with ThreadPoolExecutor(_MOVERS) as pool:
        lost = [
            file for file, gone in zip(decided.files, pool.map(is_lost, decided.files), strict=True) if gone
        ]
    for folder in folders:
        durable.sync_folder(folder)
    return lost


def unplaced(dataset: str, decided: Manifest) -> list[DataFile]:
    """Those files of an append that wasn't published which aren't kept."""
    if not store_of(dataset).has_folders:
        return absent_files(dataset, decided.files)
    folder = staging.staging_folder(dataset, decided.run)
    return [file for file in decided.files if not os.path.exists(os.path.join(folder, file.path))]


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileExistsError:  # by another attempt
        return


def _make(folder: str) -> None:
    """Makes a folder of a table, which another run may remove at the same time, being empty.

    Raises:
      OSError: none of staging.GONE: something else has its name.
    """
    for _ in range(_TRIES):
        try:
            os.makedirs(folder, exist_ok=True)
            return
        except FileExistsError:
            continue
    raise OSError(f"{folder} can't be made: something that is no folder has its name")


def told(lost: DataFile) -> str:
    """What a run is told of a file that isn't there."""
    return f"{lost.path}, which the run wrote, is gone: something else removed it from the dataset's folder. Run again."
