"""What a stream leaves behind as it goes on, and when that can go: no checkpoint names it any more, and no reader."""

import contextlib
import json
import os
import time
from collections.abc import Iterable

from beam_etl.io import manifest, staging, versions
from beam_etl.io.manifest import Manifest
from beam_etl.io.stores import store_of

KEPT_SECONDS = 86_400
"""A checkpoint or savepoint from which a stream can go on is at most so much older than its latest commit."""

_DONE = "done-"


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


def remove_expired(dataset: str, stream: str, head: Manifest, kept_seconds: float = KEPT_SECONDS) -> None:
    """Removes what was published or superseded so long ago that no checkpoint names it, and versions as old."""
    before, store = time.time() - kept_seconds, store_of(dataset)
    folder = staging.staging_folder(dataset, stream)
    current: set[str] | None = None
    for path in _older(_done_of(folder), before):
        done = json.loads(store.read(path))
        current = versions.paths_of([head]) if current is None else current
        staging.remove(os.path.join(folder, staged) for staged in done["staged"])
        staging.remove_files(dataset, [gone for gone in done["dropped"] if gone not in current])
        staging.remove([path])
    first = next((number for number, run in head.lineage if run == stream), head.number)
    paths = {
        manifest.manifest_path(dataset, number): number
        for number in manifest.numbers(dataset)
        if first < number < head.number
    }
    old = [paths[path] for path in _older(paths, before)]
    versions.remove_versions(dataset, old)
    versions.remove_lists(dataset, lambda number, _, __: number in set(old))


def renew(dataset: str, stream: str) -> None:
    """Lets all that a stream has left behind stay as long as if it were of now: a savepoint may name it."""
    done = _done_of(staging.staging_folder(dataset, stream))
    versions_there = [manifest.manifest_path(dataset, number) for number in manifest.numbers(dataset)]
    for path in (*done, *versions_there):
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)


def _done_of(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in staging.entries(folder) if name.startswith(_DONE)]


def _older(paths: Iterable[str], before: float) -> list[str]:
    """Those files that were written before a time."""
    asked = list(paths)
    if not asked:
        return []
    return [found.path for found in store_of(asked[0]).look_at(asked) if found and found.modified < before]
