"""Files of a run before they are published, and what becomes of them when they aren't.

A run writes below `_staging/RUN`, moves its files into place, and publishes (see `commit`). Opening and committing take
turns with giving up (`turn`), so that an interrupted run of this process can't publish what was just removed.
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
_OUTCOME = "outcome.json"
_REASONS = "reasons"
_LOST = "lost.json"
_TOLD = 20

_lock = threading.RLock()
_abandoned: set[str] = set()


GONE = (FileNotFoundError, NotADirectoryError, FileExistsError)
"""What it looks like when the staging folder of a run was removed: see `closed`."""


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


def outcome_path(dataset: str, run: str) -> str:
    """Where it stands what a run comes to, once that is decided: a manifest, or what `against` makes."""
    return os.path.join(staging_folder(dataset, run), _OUTCOME)


def against(reasons: Iterable[str]) -> bytes:
    """The outcome of a run that must not publish. Of many reasons some are told."""
    told = sorted(set(reasons))
    more = [f"and {len(told) - _TOLD:,} more of these"] if len(told) > _TOLD else []
    return json.dumps({_REASONS: [*told[:_TOLD], *more]}, ensure_ascii=False).encode()


def reasons_of(outcome: bytes) -> list[str]:
    """What speaks against publishing, of an outcome; none in a manifest."""
    return list(json.loads(outcome).get(_REASONS, []))


def verdict(dataset: str, run: str) -> list[str]:
    """What spoke against publishing a run, until it is cleaned up; none where nothing did."""
    for name in (_OUTCOME, _LOST):
        with (
            contextlib.suppress(*GONE),
            open(os.path.join(staging_folder(dataset, run), name), "rb") as file,
        ):
            if reasons := reasons_of(file.read()):
                return reasons
    return []


def refuse(dataset: str, run: str) -> None:
    """Removes what a run has staged, but not the outcome that says why it must not be published."""
    folder = staging_folder(dataset, run)
    for name in _entries(folder):
        if name != _OUTCOME:
            _remove_folder(os.path.join(folder, name))


def tell_lost(dataset: str, run: str, reasons: Iterable[str]) -> None:
    """Leaves word for `verdict` why a run can't publish what was decided."""
    path = os.path.join(staging_folder(dataset, run), _LOST)
    with contextlib.suppress(*GONE):  # the run was given up meanwhile
        with open(f"{path}.{secrets.token_hex(6)}", "wb") as file:
            file.write(against(reasons))
        os.replace(file.name, path)


def remove_staging(dataset: str, run: str) -> None:
    """Removes the staging folder of a run: in one step, after which nothing in it can be moved or published."""
    parent = os.path.join(dataset, FOLDER)
    folder = os.path.join(staging_folder(dataset, run), "")  # the slash says that a file isn't meant
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.rename(folder, os.path.join(parent, f"{run}-{secrets.token_hex(6)}"))
    _remove_set_aside(dataset, run)


def _remove_set_aside(dataset: str, run: str) -> None:
    parent = os.path.join(dataset, FOLDER)
    for name in _entries(parent):
        if name.startswith(f"{run}-"):
            _remove_folder(os.path.join(parent, name))
    remove_empty([parent])


@contextlib.contextmanager
def closed(dataset: str, run: str, for_good: bool = False) -> Iterator[None]:
    """Removes the staging folder of a run; while inside, no process can write, decide, move or publish any of it.

    Args:
      dataset: folder.
      run: whose folder.
      for_good: nor afterwards, until another run has published.

    Raises:
      OSError: the folder can't be removed.
    """
    folder = staging_folder(dataset, run)
    while not os.path.isfile(folder):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        try:
            open(folder, "xb").close()  # a file in place of a folder
        except FileExistsError:
            remove_staging(dataset, run)
        except FileNotFoundError:  # somebody removed the folder of folders, being empty
            continue
    try:
        _remove_set_aside(dataset, run)
        yield
    finally:
        if not for_good:
            remove([folder])
            remove_empty([os.path.dirname(folder)])


def remove_files(dataset: str, run: str, listed: Iterable[str]) -> None:
    """Removes the files of a run that stand in tables, but for those that are listed, by paths below the dataset."""
    kept = {os.path.join(dataset, path) for path in listed}
    mine = [path for table in _tables(dataset) for path, owner in _files(table) if owner == run]
    left = [path for path in mine if path not in kept]
    remove(left)
    remove_empty({os.path.dirname(path) for path in left})


def stop(run: str) -> None:
    """From here on, the run can't open files or publish in this process. Waits for a commit that has begun."""
    with _lock:
        _abandoned.add(run)


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
    remove_empty({os.path.dirname(path) for path in left})
    staging = os.path.join(dataset, FOLDER)
    for run in _entries(staging):
        folder = os.path.join(staging, run)
        inside = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
        if all(_older(path, before) for path in [folder, *inside]):
            _remove_folder(folder)
    remove_empty([staging])


def remove(paths: Iterable[str]) -> None:
    """Deletes files. What can't be deleted is left: no reader of the manifest looks at it."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _remove_folder(path: str) -> None:
    """With all that is in it; or a file."""
    shutil.rmtree(path, ignore_errors=True)
    remove([path])


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


def remove_empty(folders: Iterable[str]) -> None:
    """Removes those of the folders in which nothing is."""
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty, or not there
            os.rmdir(folder)
