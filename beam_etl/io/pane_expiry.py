"""What a stream leaves behind as it goes on, and when that can go: no checkpoint names it any more, and no reader."""

import contextlib
import itertools
import json
import math
import os
import time
from collections.abc import Iterable, Iterator

from beam_etl.io import manifest, staging, versions
from beam_etl.io.manifest import Manifest
from beam_etl.io.stores import store_of

KEPT_SECONDS = 86_400
"""A checkpoint or savepoint from which a stream can go on is at most so much older than its latest commit."""

RECENT_SECONDS = 600
"""Versions of so long ago stay, one and all: for readers that look for what each pane has brought."""

HOUR = 3600

LOOK_SECONDS = 30
"""Between two looks of a process for what can go."""

_DONE = "done-"
_looked: dict[tuple[str, str], float] = {}
"""When this process has looked last, by dataset and stream."""


def tell_done(dataset: str, stream: str, run: str, staged: Iterable[str], dropped: Iterable[str]) -> None:
    """Leaves word of what can go when no checkpoint of a stream can name it any more.

    Args:
      dataset: folder.
      stream: its name.
      run: of the version after which that is so.
      staged: paths below the stream's staging folder.
      dropped: paths below the dataset that the version doesn't list any more.
    """
    path = os.path.join(staging.staging_folder(dataset, stream), f"{_DONE}{run}.json")
    body = {"staged": list(staged), "dropped": list(dropped)}
    store_of(path).create(path, json.dumps(body).encode())


def remove_expired_at_times(dataset: str, stream: str, head: Manifest) -> None:
    """As `remove_expired`, unless this process has done it a moment ago: it looks at all that there is."""
    now = time.monotonic()
    if now - _looked.get((dataset, stream), -math.inf) >= LOOK_SECONDS:
        _looked[dataset, stream] = now
        remove_expired(dataset, stream, head)


def remove_expired(dataset: str, stream: str, head: Manifest, kept_seconds: float = KEPT_SECONDS) -> None:
    """Removes what was published or superseded so long ago that no checkpoint names it, and versions: see there."""
    before, store = time.time() - kept_seconds, store_of(dataset)
    folder = staging.staging_folder(dataset, stream)
    current: set[str] | None = None
    for path, at in _written(_done_of(folder)):
        if at >= before:
            continue
        try:
            done = json.loads(store.read(path))
        except staging.GONE:  # another process has done it meanwhile
            continue
        current = versions.paths_of([head]) if current is None else current
        staging.remove(os.path.join(folder, staged) for staged in done["staged"])
        staging.remove_files(dataset, [gone for gone in done["dropped"] if gone not in current])
        staging.remove([path])
    old = set(_old_versions(dataset, stream, head, before))
    versions.remove_versions(dataset, old)
    versions.remove_lists(dataset, lambda number, _, __: number in old)


def _old_versions(dataset: str, stream: str, head: Manifest, before: float) -> Iterator[int]:
    """Numbers of those that can go: each lists all files, so one for each pane of a day would take more than the data.

    Of what is older than RECENT_SECONDS the last one of each hour stays, up to `before`. Those that another run made
    stay, with their reports.
    """
    first = next((number for number, run in head.lineage if run == stream), head.number)
    others = {number for number, run in head.lineage if run[: staging.RUN_LETTERS] != stream}
    there = [
        number
        for number in manifest.numbers(dataset)
        if first < number <= head.number and number not in others
    ]
    paths = {manifest.manifest_path(dataset, number): number for number in there}
    for (path, at), (_, next_at) in itertools.pairwise(_written(list(paths))):
        recent = at > time.time() - RECENT_SECONDS
        if at <= before or (not recent and at // HOUR == next_at // HOUR):
            yield paths[path]


def renew(dataset: str, stream: str) -> None:
    """Lets all that a stream has left behind stay as long as if it were of now: a savepoint may name it."""
    done = _done_of(staging.staging_folder(dataset, stream))
    versions_there = [manifest.manifest_path(dataset, number) for number in manifest.numbers(dataset)]
    for path in (*done, *versions_there):
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)


def _done_of(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in staging.entries(folder) if name.startswith(_DONE)]


def _written(paths: list[str]) -> list[tuple[str, float]]:
    """Those files that are there, and when they were written, in seconds since 1970."""
    if not paths:
        return []
    return [(found.path, found.modified) for found in store_of(paths[0]).look_at(paths) if found]
