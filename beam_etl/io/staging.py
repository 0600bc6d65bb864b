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
from collections.abc import Collection, Iterable, Iterator

FOLDER = "_staging"
SYSTEM_FOLDERS = ("_manifests", FOLDER)

PROBE = "_beam_etl_"
"""Names that begin so stand in a dataset for a moment: somebody asks the filesystem something."""

_FILE_NAME = re.compile(r"(part-\d{5,}(?:-\d{5,})?-)([0-9a-f]{12})(-[0-9a-f]{16}(?:\.\w+){1,2})")
RUN_LETTERS = 12
"""Of a run's name."""

_OUTCOME = "outcome.json"
_REASONS = "reasons"
_CONFLICT = "conflict.json"
_LOST = "lost.json"
_APPENDING = "appending"
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
    return secrets.token_hex(RUN_LETTERS // 2)


def new_attempt() -> str:
    """A name for one attempt at a bundle: 16 hexadecimal digits."""
    return secrets.token_hex(8)


def file_name(part: int, run: str, attempt: str, suffix: str) -> str:
    """The unique name of a file."""
    return f"part-{part:05d}-{run}-{attempt}{suffix}"


def split_file_name(file: str, split: str, run: str, attempt: str, suffix: str) -> str:
    """The unique name of a file that holds rows of one split; both numbers have 5 digits at least."""
    return f"part-{file}-{split}-{run}-{attempt}{suffix}"


def run_of_file(path: str) -> str | None:
    """The run that wrote a file, by its name; None for a file that isn't ours."""
    match = _FILE_NAME.fullmatch(os.path.basename(path))
    return match[2] if match else None


def of_another_run(name: str, run: str) -> str | None:
    """The name that a file would have if `run` had written it; None for a file that isn't ours."""
    match = _FILE_NAME.fullmatch(name)
    return f"{match[1]}{run}{match[3]}" if match else None


def is_ours(path: str) -> bool:
    """Whether what is in a dataset is what a run makes: a system folder, or a table of our files; or a probe.

    A table's files may lie in folders of partitions, `column=value`.
    """
    if os.path.basename(path) in SYSTEM_FOLDERS or os.path.basename(path).startswith(PROBE):
        return True
    return os.path.isdir(path) and all(
        _FILE_NAME.fullmatch(name) or ("=" in name and is_ours(os.path.join(path, name)))
        for name in os.listdir(path)
    )


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
    for name in (_OUTCOME, _CONFLICT, _LOST):
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
            remove_folder(os.path.join(folder, name))


def tell_lost(dataset: str, run: str, reasons: Iterable[str]) -> None:
    """Leaves word for `verdict` why a run can't publish what was decided."""
    _tell(os.path.join(staging_folder(dataset, run), _LOST), reasons)


def tell_conflict(dataset: str, run: str, reasons: Iterable[str]) -> None:
    """As `tell_lost`, of an append whose files are kept: they may be published yet, see `io/retry.py`."""
    _tell(os.path.join(staging_folder(dataset, run), _CONFLICT), reasons)


def forget_conflict(dataset: str, run: str) -> None:
    """Takes back `tell_conflict`, and what was prepared to be published."""
    folder = staging_folder(dataset, run)
    versions = (name for name in _entries(folder) if name.endswith(".json") and name != _OUTCOME)
    remove(os.path.join(folder, name) for name in versions)


def is_kept(dataset: str, run: str) -> bool:
    """Whether the files of an append that met a conflict are kept."""
    return os.path.exists(os.path.join(staging_folder(dataset, run), _CONFLICT))


def mark_appending(dataset: str, run: str) -> None:
    """Says of a run's staging folder that it adds to the dataset: who replaces the dataset leaves the folder alone."""
    folder = staging_folder(dataset, run)
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, _APPENDING), "ab").close()


def _tell(path: str, reasons: Iterable[str]) -> None:
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
            remove_folder(os.path.join(parent, name))
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


def files_of(dataset: str, run: str) -> list[str]:
    """Paths below the dataset, with `/`, of a run's files that stand in tables."""
    return [path for path, owner in table_files(dataset) if owner == run]


def remove_files(dataset: str, paths: Iterable[str]) -> None:
    """Removes files of tables, by paths below the dataset, and the folders that are empty then."""
    folders = set()
    for path in paths:
        remove([os.path.join(dataset, path)])
        while path := os.path.dirname(path):
            folders.add(path)
    remove_empty(os.path.join(dataset, folder) for folder in sorted(folders, key=len, reverse=True))


def stop(run: str) -> None:
    """From here on, the run can't open files or publish in this process. Waits for a commit that has begun."""
    with _lock:
        _abandoned.add(run)


def appending_runs(dataset: str) -> set[str]:
    """Runs that add to a dataset and have not ended. What they publish they have staged before, maybe long ago."""
    parent = os.path.join(dataset, FOLDER)
    return {run for run in _entries(parent) if os.path.exists(os.path.join(parent, run, _APPENDING))}


def remove_leftovers(dataset: str, kept: Iterable[str], before: float, spared: Collection[str] = ()) -> None:
    """Removes files of earlier runs that `kept` doesn't list, and their staging folders.

    Args:
      dataset: folder.
      kept: paths below it that the manifest lists.
      before: modification time of the manifest. Runs that wrote a file before it started from an older manifest, so
        they can't publish any more; those that started later are left alone, and staging folders of appends.
      spared: runs whose files are left alone as well.
    """
    listed = set(kept)
    remove_files(
        dataset,
        [
            path
            for path, run in table_files(dataset)
            if path not in listed and run not in spared and _older(os.path.join(dataset, path), before)
        ],
    )
    staging = os.path.join(dataset, FOLDER)
    for run in _entries(staging):
        folder = os.path.join(staging, run)
        inside = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
        appends = os.path.join(folder, _APPENDING) in inside
        if not appends and all(_older(path, before) for path in [folder, *inside]):
            remove_folder(folder)
    remove_empty([staging])


def remove(paths: Iterable[str]) -> None:
    """Deletes files. What can't be deleted is left: no reader of the manifest looks at it."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)


def remove_folder(path: str) -> None:
    """Removes a folder with all that is in it; or a file."""
    shutil.rmtree(path, ignore_errors=True)
    remove([path])


def table_files(dataset: str) -> Iterator[tuple[str, str]]:
    """Our files in tables, by their paths below the dataset, with `/`, each with the run that wrote it."""
    for table in _entries(dataset):
        if table.startswith("_"):
            continue
        for parent, folders, names in os.walk(os.path.join(dataset, table)):
            folders.sort()
            inside = os.path.relpath(parent, dataset).replace(os.sep, "/")
            for name in sorted(names):
                if match := _FILE_NAME.fullmatch(name):
                    yield f"{inside}/{name}", match[2]


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
