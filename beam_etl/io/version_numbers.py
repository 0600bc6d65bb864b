"""Where the manifests of a dataset are, and which there are."""

import os
import re

from beam_etl.io.stores import store_of

FOLDER = "_manifests"

_NAME = re.compile(r"(\d{6,})\.json")


_created: dict[str, int] = {}


def numbers(dataset: str) -> list[int]:
    """Numbers of the manifests that there are, ascending."""
    store = store_of(dataset)
    names = store.names(os.path.join(dataset, FOLDER))
    found = sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)
    if store.lists_late:
        known = _created.get(dataset, 0)
        if known > max(found, default=0) and store.exists(manifest_path(dataset, known)):
            found.append(known)
        while store.exists(manifest_path(dataset, max(found, default=0) + 1)):
            found.append(max(found, default=0) + 1)
    return found


def created(dataset: str, number: int) -> None:
    """Remembers that this process has created a manifest, or met it: a list may not show it yet."""
    _created[dataset] = max(number, _created.get(dataset, 0))


def manifest_path(dataset: str, number: int) -> str:
    """Where manifest `number` of a dataset is."""
    return os.path.join(dataset, FOLDER, f"{number:06d}.json")


def manifest_number(path: str) -> int | None:
    """The number of the manifest that a path is of; None where it is of something else."""
    folder, name = os.path.split(path)
    match = _NAME.fullmatch(name)
    return int(match[1]) if match and os.path.basename(folder) == FOLDER else None
