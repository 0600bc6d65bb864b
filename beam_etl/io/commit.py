"""The commit of a run: decided once and published once, whatever attempts at it there are, and wherever they stop.

An engine may try the commit again, with files of other names, while an earlier attempt still goes on, anywhere. So:

1. What the run comes to is decided by creating `_staging/RUN/outcome.json` if absent: the manifest, or the reasons
   against one. Every attempt goes on from what stands there, so all move the same files and publish the same manifest.
2. The files of that manifest are moved into place. A file that isn't in staging any more was moved by another attempt.
3. That very file gets a second name as the next manifest, which is the commit. A run is given up by taking its staging
   folder away: then there is nothing to link, and an attempt that goes on can't publish it.
4. What is left of the run is removed: what it replaced, and files that the manifest doesn't list.
"""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from beam_etl.io import manifest, staging
from beam_etl.io.manifest import DataFile, Manifest

PUBLISHED = "published"
"""The verdict of a commit that made the dataset."""

CONFLICT = "conflict"
"""The verdict of a commit that found another writer's manifest in its place. Nothing of the other is touched."""

FAILED = "failed"
"""The verdict of a commit that was told why not to publish: `staging.verdict` has the reasons."""

_TRIES = 100

_MOVERS = 16
"""Files that are moved at the same time: on a network filesystem a move is a round trip."""


def settle(dataset: str, made: Manifest, reasons: Sequence[str]) -> str:
    """Publishes a run; the verdict. Never raises for what went wrong: an engine would try that again.

    Args:
      dataset: folder.
      made: what this attempt would publish. Its files are below the run's staging folder.
      reasons: what speaks against publishing.

    Raises:
      AbandonedError: the run was given up in this process.
      OSError: the filesystem can't be reached, or is full. A further attempt goes on where this one stopped.
    """
    with staging.turn(made.run):
        verdict = _settled(dataset, made) or _attempt(dataset, made, reasons) or _settled(dataset, made)
        if verdict in (PUBLISHED, CONFLICT):
            staging.remove_staging(dataset, made.run)
            _clean(dataset, made.run)
        if verdict is None:  # given up, and its folders may have been made anew since
            staging.remove_empty(os.path.join(dataset, name) for name in (*made.schemas, manifest.FOLDER, ""))
        return verdict or FAILED


def _settled(dataset: str, made: Manifest) -> str | None:
    """The verdict that can't change any more, since the run's number is taken; None while it is free."""
    present = manifest.numbers(dataset)
    if not present or present[-1] < made.number:
        return None
    return PUBLISHED if manifest.run_of(dataset, made.number) == made.run else CONFLICT


def _attempt(dataset: str, made: Manifest, reasons: Sequence[str]) -> str | None:
    """The verdict; None where the staging folder went away: another attempt was faster, or the run was given up."""
    try:
        outcome = _decide(dataset, made, reasons)
        if _settled(dataset, made):  # after the first look, and then the outcome is one that nobody goes by
            return None
        if staging.reasons_of(outcome):
            staging.refuse(dataset, made.run)
            return FAILED
        path = staging.outcome_path(dataset, made.run)
        decided = Manifest.read(path, lists=os.path.join(dataset, manifest.FOLDER))
        lost = _move(dataset, decided)
        if not lost:
            return PUBLISHED if manifest.publish(dataset, made.number, made.run, path) else CONFLICT
    except staging.GONE:
        return None
    staging.tell_lost(dataset, made.run, map(_told, lost))
    return None


def _decide(dataset: str, made: Manifest, reasons: Sequence[str]) -> bytes:
    """What the run comes to, by this attempt or one before it.

    Raises:
      OSError: one of staging.GONE: the staging folder is.
    """
    path = staging.outcome_path(dataset, made.run)
    if (
        not made.files
    ):  # then it may be that nobody has made the folder; in its place may be what ended the run
        os.makedirs(os.path.dirname(path), exist_ok=True)
    content = staging.against(reasons) if reasons else manifest.prepare(dataset, made)
    manifest.create_if_absent(path, content)
    with open(path, "rb") as file:
        return file.read()


def _move(dataset: str, decided: Manifest) -> list[DataFile]:
    """Moves files into place; those that are in neither place any more."""
    folders = {os.path.join(dataset, os.path.dirname(file.path)) for file in decided.files}
    for folder in folders:
        _make(folder)
    staged = staging.staging_folder(dataset, decided.run)

    def is_lost(file: DataFile) -> bool:
        source, target = os.path.join(staged, file.path), os.path.join(dataset, file.path)
        while True:
            try:
                os.rename(source, target)
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
        manifest.sync_folder(folder)
    return lost


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


def _told(lost: DataFile) -> str:
    return f"{lost.path}, which the run wrote, is gone: something else removed it from the dataset's folder. Run again."


def give_up(dataset: str, run: str, seconds: float = 0.0, for_good: bool = False) -> bool:
    """As `clean_run`, and stops the run in this process."""
    staging.stop(run)
    return clean_run(dataset, run, seconds, for_good)


def clean_run(dataset: str, run: str, seconds: float = 0.0, for_good: bool = False) -> bool:
    """Removes what a run left: what it didn't publish, or all of it. Whether it is published.

    For a launcher, when its engine says that the job has ended. May be done again.

    Args:
      dataset: folder.
      run: whose remains.
      seconds: during which workers that the engine has left behind can't write anything either.
      for_good: leave a mark that keeps the run from being published ever, where the engine may start it yet.
    """
    manifest.refresh(dataset)
    with staging.closed(dataset, run, for_good):
        _clean(dataset, run)
        time.sleep(seconds)
    staging.remove_empty([os.path.join(dataset, manifest.FOLDER), dataset])
    return manifest.is_published(dataset, run)


def _clean(dataset: str, run: str) -> None:
    """Removes what a run left in tables, where it can't be published any more, or is."""
    current = manifest.latest(dataset)
    staging.remove_files(dataset, run, [file.path for file in current.files] if current else ())
    if current is not None and current.run == run:
        manifest.remove_replaced(dataset, current)
    else:
        manifest.remove_lists(dataset, lambda _, owner, __: owner == run)
