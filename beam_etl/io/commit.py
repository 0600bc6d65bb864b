"""The commit of a run: decided once and published once, whatever attempts at it there are, and wherever they stop.

An engine may try the commit again, with files of other names, while an earlier attempt still goes on, anywhere. So:

1. What the run comes to is decided by creating `_staging/RUN/outcome.json` if absent: the manifest, or the reasons
   against one. Every attempt goes on from what stands there, so all move the same files and publish the same manifest.
2. The files of that manifest are moved into place. A file that isn't in staging any more was moved by another attempt.
3. That very file gets a second name as the next manifest, which is the commit. A run is given up by taking its staging
   folder away: then there is nothing to link, and an attempt that goes on can't publish it.
4. What is left of the run is removed: what it replaced, and files that the manifest doesn't list.

A run that adds to a dataset doesn't know in 1. what it will be added to: see `append` for its 2. and 3.

In an object store files are in place from the beginning, so 2. only looks whether they are there; and what is linked
elsewhere is copied, so taking the folder away would come too late for an attempt that has read it. There a run is given
up by deciding so in 1. What was decided otherwise can't be held back: whoever cleans up publishes it first.
"""

import contextlib
import json
import os
import time
from collections.abc import Sequence

from beam_etl.io import manifest, publishing, staging, versions
from beam_etl.io.append import LostError, misfits, publish_append
from beam_etl.io.manifest import Manifest
from beam_etl.io.place import place, told, unplaced
from beam_etl.io.stores import store_of

PUBLISHED = "published"
"""The verdict of a commit that made the dataset."""

CONFLICT = "conflict"
"""The verdict of a commit that found another writer's manifest in its place. Nothing of the other is touched.

An append then keeps its files, and `staging.verdict` has the reasons.
"""

FAILED = "failed"
"""The verdict of a commit that was told why not to publish: `staging.verdict` has the reasons."""


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
        if verdict == PUBLISHED or (verdict == CONFLICT and made.appended is None):
            staging.remove_staging(dataset, made.run)
            _clean(dataset, made.run)
        if verdict is None:  # given up, and its folders may have been made anew since
            staging.remove_empty(os.path.join(dataset, name) for name in (*made.schemas, manifest.FOLDER, ""))
        return verdict or FAILED


def _settled(dataset: str, made: Manifest) -> str | None:
    """The verdict that can't change any more, since the run's number is taken or it is published; else None."""
    if made.appended is not None:
        return PUBLISHED if publishing.is_published(dataset, made.run) else None
    present = manifest.numbers(dataset)
    if not present or present[-1] < made.number:
        return None
    is_ours = publishing.run_of(dataset, made.number) == made.run or publishing.is_published(
        dataset, made.run
    )
    return PUBLISHED if is_ours else CONFLICT


def _attempt(dataset: str, made: Manifest, reasons: Sequence[str]) -> str | None:
    """The verdict; None where the staging folder went away: another attempt was faster, or the run was given up."""
    try:
        outcome = _decide(dataset, made, reasons)
        if _settled(dataset, made):  # after the first look, and then the outcome is one that nobody goes by
            return None
        if staging.reasons_of(outcome):
            staging.refuse(dataset, made.run)
            if not store_of(dataset).has_folders:
                versions.remove_unpublished(dataset, made.run)
            return FAILED
        path = staging.outcome_path(dataset, made.run)
        decided = Manifest.read(path, lists=_lists(dataset, made))
        if decided.appended is not None:
            return _append(dataset, decided)
        if lost := place(dataset, decided):
            raise LostError(lost)
        return PUBLISHED if publishing.publish(dataset, made.number, made.run, path) else CONFLICT
    except staging.GONE:
        return None
    except LostError as error:
        staging.tell_lost(dataset, made.run, error.args[0])
        return None


def _append(dataset: str, decided: Manifest) -> str:
    reasons = publish_append(dataset, decided)
    if reasons is None:
        return PUBLISHED
    if lost := unplaced(dataset, decided):
        staging.tell_lost(dataset, decided.run, [*reasons, *map(told, lost)])
        return CONFLICT
    folder = staging.staging_folder(dataset, decided.run) if store_of(dataset).has_folders else dataset
    kept = f"The {len(decided.files):,} files of this run are kept in {folder}."
    staging.tell_conflict(dataset, decided.run, [f"{'; '.join(reasons)}. {kept}"])
    return CONFLICT


def _lists(dataset: str, made: Manifest) -> str:
    """Where the list of files of a run's outcome stands. That of an append is no version's, and stays with it."""
    if made.appended is None:
        return os.path.join(dataset, manifest.FOLDER)
    return staging.staging_folder(dataset, made.run)


def _misfits(dataset: str, made: Manifest) -> list[str]:
    """Why a run can't be added to the version that it was made for, which doesn't change, where it is still there."""
    if not made.appended:
        return []
    number, run = made.appended[-1]
    try:
        base = Manifest.read(manifest.manifest_path(dataset, number))
    except FileNotFoundError:
        return []
    return list(misfits(base, made)) if base.run == run else []


def _decide(dataset: str, made: Manifest, reasons: Sequence[str]) -> bytes:
    """What the run comes to, by this attempt or one before it.

    Raises:
      OSError: one of staging.GONE: the staging folder is.
    """
    path, store = staging.outcome_path(dataset, made.run), store_of(dataset)
    if not store.has_folders:
        staging.mark_begun(dataset, made.run, made.appended is not None)
    elif not made.files:  # nobody may have made the folder; in its place may be what ended the run
        os.makedirs(os.path.dirname(path), exist_ok=True)
    against = [*reasons, *_misfits(dataset, made)]
    content = staging.against(against) if against else publishing.prepare(_lists(dataset, made), made)
    store.create(path, content)
    return store.read(path)


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
    publishing.refresh(dataset)
    with staging.closed(dataset, run, for_good):
        has_folders = store_of(dataset).has_folders
        if not has_folders:
            _finish(dataset, run)
        _clean(dataset, run)
        time.sleep(seconds)
        if seconds and not has_folders:  # uploads that were under way
            _clean(dataset, run)
    staging.remove_empty([os.path.join(dataset, manifest.FOLDER), dataset])
    return publishing.is_published(dataset, run)


def _finish(dataset: str, run: str) -> None:
    """Publishes a run in an object store that has been decided, or finds out that it can't be any more.

    What keeps one that was given up from being published stays, until a version replaces what the run would have.
    """
    path = staging.outcome_path(dataset, run)
    with contextlib.suppress(FileNotFoundError):  # it was published meanwhile, or replaced
        outcome = json.loads(store_of(dataset).read(path))
        if publishing.is_published(dataset, run):
            pass
        elif staging.REASONS in outcome:
            staging.refuse(dataset, run)
            return
        else:
            lists = manifest.FOLDER if outcome.get("appended") is None else f"{staging.FOLDER}/{run}"
            decided = Manifest.read(path, lists=os.path.join(dataset, lists))
            if not _settled(dataset, decided):
                _attempt(dataset, decided, ())
    staging.remove_staging(dataset, run)


def _clean(dataset: str, run: str) -> None:
    """Removes what a run left in tables, where it can't be published any more, or is."""
    versions.remove_unpublished(dataset, run)
    current = manifest.latest(dataset)
    if current is not None and current.run == run:
        versions.remove_replaced(dataset, current)
