"""Adding to a dataset: what fits on top of what, and the commit of it, whatever other writers do meanwhile.

`outcome.json` of an append has the files of its run alone (see `commit`). Each attempt then goes on so:

1. It reads the latest version. Where the run is in its lineage, the run is published: by this attempt or another.
2. It compares. Where the version that the run was to be added to has been replaced, or columns or partitioning have
   become others, the run is told so and keeps its files.
3. It gives its files their names in the tables, creates `_staging/RUN/NNNNNN.json` if absent, which is that version and
   the run's files, and publishes it. From one version all attempts of a run make the same bytes.
4. Where the number was taken, it starts again from what was published under it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from beam_etl.io import manifest, publishing, staging, versions
from beam_etl.io.manifest import Manifest
from beam_etl.io.place import place, told
from beam_etl.io.stores import store_of

_TRIES = 100
_WAIT_SECONDS = 0.05
"""Between looks at a folder that doesn't show yet what was published to it."""


def publish_append(dataset: str, own: Manifest) -> list[str] | None:
    """Publishes a run on top of the latest version, whichever that is when it succeeds.

    Args:
      dataset: folder.
      own: the outcome of the run: its own files, and last of `appended` the version that it was to be added to.

    Returns:
      None when the run is published, else why it conflicts with what is there. Then its files are still in staging.

    Raises:
      LostError: files of the run are gone.
      OSError: one of staging.GONE: its staging folder is. Another: the filesystem can't be reached, or doesn't show
        what others published.
    """
    conflict: list[str] = []

    def merged(head: Manifest | None) -> Manifest | None:
        if head is not None and any(run == own.run for _, run in head.lineage):
            return None
        conflict[:] = [*_replaced(dataset, head, own), *(misfits(head, own) if head else ())]
        if conflict:
            if store_of(dataset).has_folders:  # else they have one name only, by which they are kept
                versions.remove_unpublished(dataset, own.run)
            return None
        if lost := place(dataset, own):
            raise LostError(lost)
        return on_top(head, own)

    folder = staging.staging_folder(dataset, own.run)
    publish_on_top(dataset, merged, lambda made: os.path.join(folder, f"{made.number:06d}.json"))
    return conflict or None


def publish_on_top(
    dataset: str, merge: Callable[[Manifest | None], Manifest | None], prepared: Callable[[Manifest], str]
) -> Manifest | None:
    """Publishes what `merge` makes of the latest version, whichever that is when it succeeds.

    Args:
      dataset: folder.
      merge: from the latest version, None where there is none, the next one; None where there is nothing to publish.
      prepared: where what `merge` made is written before it is published: a path of its own for each run and number.

    Returns:
      What was published; None where `merge` gave nothing.

    Raises:
      OSError: as `publish_append`.
    """
    seen, tries = 0, _TRIES
    while tries:
        publishing.refresh(dataset)
        made = merge(manifest.latest(dataset))
        if made is None:
            return None
        path = prepared(made)
        store_of(dataset).create(path, publishing.prepare(os.path.join(dataset, manifest.FOLDER), made))
        if publishing.publish(dataset, made.number, made.run, path):
            return made
        if made.number == seen:  # this writer still doesn't see who took the number
            tries -= 1
            time.sleep(_WAIT_SECONDS)
        seen = made.number
    raise OSError(f"{dataset}: version {seen} was published, but its manifest doesn't show in the folder")


class LostError(Exception):
    """Files of a run are neither in staging nor in their tables. Its argument: what is told of each."""

    def __init__(self, lost: list[manifest.DataFile]) -> None:
        super().__init__([told(file) for file in lost])


def on_top(head: Manifest | None, own: Manifest) -> Manifest:
    """The version that has the files of `head` and of a run's own manifest."""
    if head is None:
        return replace(own, number=1, appended=())
    partitioning = {
        **head.partitioning,
        **{
            table: _joined(head.partitioning.get(table, record), record)
            for table, record in own.partitioning.items()
        },
    }
    schemas = {
        table: head.schemas.get(table) or own.schemas.get(table, {})
        for table in {**head.schemas, **own.schemas}
    }
    files = tuple(sorted((*head.files, *own.files), key=lambda file: file.path))
    return Manifest(
        number=head.number + 1,
        run=own.run,
        files=files,
        schemas=schemas,
        about=own.about,
        partitioning=partitioning,
        appended=head.lineage,
        streams={**head.streams, **own.streams},
    )


_SPLIT = "split"
"""Of a partitioning: whether some partition was cut. It may differ between what is joined."""


def _joined(record: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    split = record.get(_SPLIT, False) or other.get(_SPLIT, False)
    return {**record, _SPLIT: True} if split else dict(record)


def _replaced(dataset: str, head: Manifest | None, own: Manifest) -> Iterator[str]:
    base = own.appended[-1] if own.appended else None
    if head is None:
        if base is not None:
            yield f"{dataset} was removed while this run wrote: its version {base[0]} isn't there any more"
        return
    first, run = head.lineage[0]
    # Of a stream's many versions the lineage has few: while it is told of, nobody has replaced them.
    known = base in head.lineage or stream_of(base[1]) in head.streams if base else first == 1
    if not known:
        was = f"its version {base[0]}" if base else "the empty folder"
        yield f"{dataset} was replaced by the run {run} while this one wrote, which was to be added to {was}"


def stream_of(run: str) -> str:
    """The stream that a version's run is of, where it is one: see `panes`."""
    return run[: staging.RUN_LETTERS]


def misfits(head: Manifest, own: Manifest) -> Iterator[str]:
    """Why the tables of a run can't be added to those that are there, in words: columns, format or partitioning differ.

    Args:
      head: what is there.
      own: the run's own manifest; without schemas and files, as before a job, only what it says of partitioning counts.
    """
    for table in own.schemas:
        if table not in head.schemas:
            continue
        ours, theirs = own.schemas[table], head.schemas[table]
        if ours and theirs and dict(ours) != dict(theirs):
            yield f"the table {table} can't be added to: {_column_difference(ours, theirs)}"
        mine, there = (_without_split(each.partitioning.get(table)) for each in (own, head))
        if mine != there:
            yield (
                f"the table {table} can't be added to: it is partitioned by {there or 'nothing'}, the run's by "
                f"{mine or 'nothing'}. Partition the rows as the dataset is, or write another one."
            )
        formats = [{os.path.splitext(file.path)[1] for file in each.table(table)} for each in (head, own)]
        if all(formats) and formats[0] != formats[1]:
            yield (
                f"the table {table} can't be added to: its files are {', '.join(sorted(formats[0]))}, the run's are "
                f"{', '.join(sorted(formats[1]))}. Use the same --output_format."
            )


def _without_split(record: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (record or {}).items() if name != _SPLIT}


def _column_difference(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    parts = [
        *(
            f"{name} is {theirs[name]} there, {ours[name]} in the run"
            for name in theirs
            if name in ours and theirs[name] != ours[name]
        ),
        *(f"the run has no column {name}" for name in theirs if name not in ours),
        *(f"it has no column {name}" for name in ours if name not in theirs),
    ]
    return "; ".join(parts)
