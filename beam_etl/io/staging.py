"""Files of a run before they are published, and what becomes of them when they aren't.

A run writes below `_staging/RUN`, moves its files into place, and publishes. Opening, moving and publishing take turns
with giving up (`Turn`), so that an interrupted run of this process can't publish what was just removed.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator

FOLDER = "_staging"
SYSTEM_FOLDERS = ("_manifests", FOLDER)

_FILE_NAME = re.compile(r"part-\d{5,}(?:-\d{5,})?-([0-9a-f]{12})-[0-9a-f]{16}(?:\.\w+){1,2}")
_VERDICT = "verdict.json"

_lock = threading.RLock()
_abandoned: set[str] = set()


class AbandonedError(RuntimeError):
    """The run was given up while this step ran."""


@contextlib.contextmanager
def turn(run: str) -> Iterator[None]:
    """One step of a run at a time in this process, and none once it is abandoned.

    Raises:
      AbandonedError: it is.
    """
    with _lock:
        if run in _abandoned:
            raise AbandonedError(f"run {run} was abandoned")
        yield


def new_run() -> str:
    """A name for a run that no other run has: 12 hexadecimal digits."""
    return secrets.token_hex(6)


def new_attempt() -> str:
    """A name for one attempt at a bundle: 16 hexadecimal digits."""
    return secrets.token_hex(8)


def file_name(part: int, run: str, attempt: str, suffix: str) -> str:
    """The unique name of a file."""
    return f"part-{part:05d}-{run}-{attempt}{suffix}"


def split_file_name(file: str, split: str, run: str, attempt: str, suffix: str) -> str:
    """The unique name of a file that holds rows of one split; both numbers have 5 digits at least."""
    return f"part-{file}-{split}-{run}-{attempt}{suffix}"


def is_ours(path: str) -> bool:
    """Whether a folder in a dataset is one that a run makes: a system folder, or a table of our files."""
    if os.path.basename(path) in SYSTEM_FOLDERS:
        return True
    return os.path.isdir(path) and all(_FILE_NAME.fullmatch(name) for name in os.listdir(path))


def staging_folder(dataset: str, run: str) -> str:
    """Where a run writes."""
    return os.path.join(dataset, FOLDER, run)


def remove_staging(dataset: str, run: str) -> None:
    """Removes the staging folder of a run, with what attempts that did not count left in it."""
    shutil.rmtree(staging_folder(dataset, run), ignore_errors=True)
    _remove_empty([os.path.join(dataset, FOLDER)])


def refuse(dataset: str, run: str, files: Iterable[str], reasons: list[str]) -> None:
    """Ends a run that must not publish: its files are removed, and what speaks against it is left for `verdict`."""
    written = [os.path.join(dataset, path) for path in files]
    remove(written)
    _remove_empty({os.path.dirname(path) for path in written})
    shutil.rmtree(staging_folder(dataset, run), ignore_errors=True)
    os.makedirs(staging_folder(dataset, run), exist_ok=True)
    with open(os.path.join(staging_folder(dataset, run), _VERDICT), "w", encoding="utf-8") as file:
        json.dump(reasons, file, ensure_ascii=False)


def verdict(dataset: str, run: str) -> list[str]:
    """What spoke against publishing a run, until it is abandoned; none where nothing did."""
    try:
        with open(os.path.join(staging_folder(dataset, run), _VERDICT), encoding="utf-8") as file:
            return list(json.load(file))
    except FileNotFoundError:
        return []


def abandon(dataset: str, run: str, published: bool) -> None:
    """Gives a run up: it can't open, move or publish any more in this process, and its files are removed.

    Other runs' files and folders stay. Nothing is removed when it was published.
    """
    with _lock:
        _abandoned.add(run)
        if published:
            return
        remove_staging(dataset, run)
        written = [path for table in _tables(dataset) for path, owner in _files(table) if owner == run]
        remove(written)
        _remove_empty([*{os.path.dirname(path) for path in written}, dataset])


def remove_leftovers(dataset: str, kept: Iterable[str], before: float) -> None:
    """Removes files of earlier runs that `kept` doesn't list, and their staging folders.

    Args:
      dataset: folder.
      kept: paths below it that the manifest lists.
      before: modification time of the manifest. Runs that wrote a file before it started from an older manifest, so
        they can't publish any more; those that started later are left alone.
    """
    listed = {os.path.join(dataset, path) for path in kept}
    found = [path for table in _tables(dataset) for path, _ in _files(table)]
    left = [path for path in found if path not in listed and _older(path, before)]
    remove(left)
    _remove_empty({os.path.dirname(path) for path in left})
    staging = os.path.join(dataset, FOLDER)
    for run in _entries(staging):
        folder = os.path.join(staging, run)
        inside = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
        if all(_older(path, before) for path in [folder, *inside]):
            shutil.rmtree(folder, ignore_errors=True)
    _remove_empty([staging])


def remove(paths: Iterable[str]) -> None:
    """Deletes files. What can't be deleted is left: no reader of the manifest looks at it."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _tables(dataset: str) -> list[str]:
    names = [name for name in _entries(dataset) if not name.startswith("_")]
    return [path for path in (os.path.join(dataset, name) for name in names) if os.path.isdir(path)]


def _files(table: str) -> Iterator[tuple[str, str]]:
    """Our files in a table, each with the run that wrote it."""
    for name in _entries(table):
        match = _FILE_NAME.fullmatch(name)
        if match:
            yield os.path.join(table, name), match[1]


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _older(path: str, time: float) -> bool:
    try:
        return os.stat(path).st_mtime <= time
    except OSError:
        return False


def _remove_empty(folders: Iterable[str]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty, or not there
            os.rmdir(folder)
