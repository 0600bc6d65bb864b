"""Files of a run before they are published, and what becomes of them when they aren't.

A run writes below `_staging/RUN`, moves its files into place, and publishes (see `commit`). Opening and committing take
turns with giving up (`turn`), so that an interrupted run of this process can't publish what was just removed.

In an object store data files are written where they stay, and `_staging/RUN` has what is known of the run: what it
comes to, and `begun.json`, which is there before its first file and tells the version that there was then.
"""

import contextlib
import json
import os
import re
import secrets
import threading
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from beam_etl.io.stores import Found, store_of
from beam_etl.io.version_numbers import FOLDER as MANIFESTS
from beam_etl.io.version_numbers import numbers

FOLDER = "_staging"
SYSTEM_FOLDERS = (MANIFESTS, FOLDER)

FILE_NAME = re.compile(r"(part-\d{5,}(?:-\d{5,})?-)([0-9a-f]{12})(-[0-9a-f]{16}(?:\.\w+){1,2})")
RUN_LETTERS = 12
"""Of a run's name."""
_OUTCOME = "outcome.json"
REASONS = "reasons"
_CONFLICT = "conflict.json"
_LOST = "lost.json"
APPENDING = "appending"
"""A file in the staging folder of a run that adds to a dataset."""
PUT_DOWN = ".arrows"
"""How files end that a run puts down, for itself and for one that goes on where it failed."""
_BEGUN = "begun.json"
_OWNER = "owner-"
_TOLD = 20

GIVEN_UP = "the run was given up before it came to anything"

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
    match = FILE_NAME.fullmatch(os.path.basename(path))
    return match[2] if match else None


def of_another_run(name: str, run: str) -> str | None:
    """The name that a file would have if `run` had written it; None for a file that isn't ours."""
    match = FILE_NAME.fullmatch(name)
    return f"{match[1]}{run}{match[3]}" if match else None


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
    return json.dumps({REASONS: [*told[:_TOLD], *more]}, ensure_ascii=False).encode()


def reasons_of(outcome: bytes) -> list[str]:
    """What speaks against publishing, of an outcome; none in a manifest."""
    return list(json.loads(outcome).get(REASONS, []))


def verdict(dataset: str, run: str) -> list[str]:
    """What spoke against publishing a run, until it is cleaned up; none where nothing did."""
    for name in (_OUTCOME, _CONFLICT, _LOST):
        with contextlib.suppress(*GONE):
            if reasons := reasons_of(
                store_of(dataset).read(os.path.join(staging_folder(dataset, run), name))
            ):
                return reasons
    return []


def refuse(dataset: str, run: str) -> None:
    """Removes what a run has staged, but not the outcome that says why it must not be published."""
    folder = staging_folder(dataset, run)
    for name in entries(folder):
        if name not in (_OUTCOME, _BEGUN):
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
    versions = (name for name in entries(folder) if name.endswith(".json") and name not in (_OUTCOME, _BEGUN))
    remove(os.path.join(folder, name) for name in versions)


def is_kept(dataset: str, run: str) -> bool:
    """Whether the files of an append that met a conflict are kept."""
    return store_of(dataset).exists(os.path.join(staging_folder(dataset, run), _CONFLICT))


def mark_appending(dataset: str, run: str) -> None:
    """Says of a run's staging folder that it adds to the dataset: who replaces the dataset leaves the folder alone."""
    if not store_of(dataset).has_folders:
        mark_begun(dataset, run, appends=True)
        return
    folder = staging_folder(dataset, run)
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, APPENDING), "ab").close()


class Begun(NamedTuple):
    """What a run in an object store says of itself before it writes anything."""

    seen: int
    """The highest version that there was: what it replaces is that or an older one. 0 where there was none."""
    appends: bool


def mark_begun(dataset: str, run: str, appends: bool) -> None:
    """Says of a run in an object store that it has begun, if nobody has yet. On a filesystem times of files tell."""
    if store_of(dataset).has_folders:
        return
    begun = Begun(max(numbers(dataset), default=0), appends)
    path = os.path.join(staging_folder(dataset, run), _BEGUN)
    store_of(dataset).create(path, json.dumps(begun._asdict()).encode())


def begun(dataset: str, run: str) -> Begun | None:
    """What `mark_begun` said; None before that, and after the run was published or cleaned up."""
    try:
        return Begun(**json.loads(store_of(dataset).read(os.path.join(staging_folder(dataset, run), _BEGUN))))
    except FileNotFoundError:
        return None


def mark_owner(folder: str, run: str) -> None:
    """Says of a folder below `_staging` that isn't named by a run that this one needs it."""
    store_of(folder).make_folder(folder)
    store_of(folder).write(os.path.join(folder, f"{_OWNER}{run}"), b"")


def owners(paths: Iterable[str]) -> set[str]:
    """The runs that `mark_owner` told, of the files in a folder."""
    names = map(os.path.basename, paths)
    return {name.removeprefix(_OWNER) for name in names if name.startswith(_OWNER)}


def is_decided(dataset: str, run: str) -> bool:
    """Whether it stands what a run comes to."""
    return store_of(dataset).exists(outcome_path(dataset, run))


def _tell(path: str, reasons: Iterable[str]) -> None:
    with contextlib.suppress(*GONE):  # the run was given up meanwhile
        store_of(path).write(path, against(reasons))


def remove_staging(dataset: str, run: str) -> None:
    """Removes the staging folder of a run: in one step, after which nothing in it can be moved or published.

    In an object store that isn't one step: only what is published, or never will be, is removed.
    """
    if not store_of(dataset).has_folders:
        remove_folder(staging_folder(dataset, run))
        return
    parent = os.path.join(dataset, FOLDER)
    folder = os.path.join(staging_folder(dataset, run), "")  # the slash says that a file isn't meant
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.rename(folder, os.path.join(parent, f"{run}-{secrets.token_hex(6)}"))
    _remove_set_aside(dataset, run)


def _remove_set_aside(dataset: str, run: str) -> None:
    parent = os.path.join(dataset, FOLDER)
    for name in entries(parent):
        if name.startswith(f"{run}-"):
            remove_folder(os.path.join(parent, name))
    remove_empty([parent])


@contextlib.contextmanager
def closed(dataset: str, run: str, for_good: bool = False) -> Iterator[None]:
    """Removes the staging folder of a run; while inside, no process can write, decide, move or publish any of it.

    In an object store nothing is removed: unless it was decided before, the run comes to nothing, then and for ever.

    Args:
      dataset: folder.
      run: whose folder.
      for_good: nor afterwards, until another run has published.

    Raises:
      OSError: the folder can't be removed.
    """
    if not store_of(dataset).has_folders:
        mark_begun(dataset, run, appends=True)  # maybe: then what ends it stays until `clean`
        store_of(dataset).create(outcome_path(dataset, run), against([GIVEN_UP]))
        yield
        return
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
    gone, folders = list(paths), set()
    remove(os.path.join(dataset, path) for path in gone)
    if not store_of(dataset).has_folders:
        return
    for path in gone:
        while path := os.path.dirname(path):
            folders.add(path)
    remove_empty(os.path.join(dataset, folder) for folder in sorted(folders, key=len, reverse=True))


def stop(run: str) -> None:
    """From here on, the run can't open files or publish in this process. Waits for a commit that has begun."""
    with _lock:
        _abandoned.add(run)


def remove(paths: Iterable[str]) -> None:
    """Deletes files. What can't be deleted is left: no reader of the manifest looks at it."""
    found = list(paths)
    if found:
        store_of(found[0]).remove(found)


def remove_prepared(folder: str, run: str) -> None:
    """Deletes the versions that a run of a stream prepared in its stream's folder, whichever was published."""
    remove(os.path.join(folder, name) for name in entries(folder) if name.startswith(f"{run}-"))


def remove_folder(path: str) -> None:
    """Removes a folder with all that is in it; or a file."""
    store_of(path).remove_folder(path)


def table_files(dataset: str) -> Iterator[tuple[str, str]]:
    """Our files in tables, by their paths below the dataset, with `/`, each with the run that wrote it."""
    for found in stored_files(dataset):
        if run := run_of_file(found.path):
            yield os.path.relpath(found.path, dataset).replace(os.sep, "/"), run


def stored_files(dataset: str) -> Iterator[Found]:
    """All files in a dataset's folders of tables."""
    store = store_of(dataset)
    for table in entries(dataset):
        if not table.startswith("_"):
            yield from store.files(os.path.join(dataset, table))


def entries(folder: str) -> list[str]:
    """What is in a folder, sorted; nothing where it can't be looked into."""
    try:
        return store_of(folder).names(folder)
    except OSError:
        return []


def remove_empty(folders: Iterable[str]) -> None:
    """Removes those of the folders in which nothing is. In an object store there is none."""
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty, or not there
            os.rmdir(folder)
