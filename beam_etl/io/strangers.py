"""What is in the folder of a dataset that no run makes."""

import os
from itertools import islice

from beam_etl.io import staging
from beam_etl.io.stores import PROBE, store_of

_LOOKED_AT = 1000
"""Objects of a folder that are looked at: one request."""


def find_strangers(dataset: str) -> list[str]:
    """What is in a dataset's folder that no run makes; in an object store, among the first of many."""
    store = store_of(dataset)
    if store.has_folders:
        return [name for name in store.names(dataset) if not _is_ours(os.path.join(dataset, name))]
    inside = (found.path[len(dataset) + 1 :] for found in islice(store.files(dataset), _LOOKED_AT))
    return sorted({path.partition("/")[0] for path in inside if not _is_our_object(path)})


def _is_ours(path: str) -> bool:
    """Whether what is in a dataset is what a run makes: a system folder, or a table of our files; or a probe.

    A table's files may lie in folders of partitions, `column=value`.
    """
    if os.path.basename(path) in staging.SYSTEM_FOLDERS or os.path.basename(path).startswith(PROBE):
        return True
    return os.path.isdir(path) and all(
        staging.FILE_NAME.fullmatch(name) or ("=" in name and _is_ours(os.path.join(path, name)))
        for name in os.listdir(path)
    )


def _is_our_object(path: str) -> bool:
    first, *folders = path.split("/")
    if first in staging.SYSTEM_FOLDERS or first.startswith(PROBE):
        return True
    return (
        bool(folders)
        and bool(staging.FILE_NAME.fullmatch(folders[-1]))
        and all("=" in name for name in folders[:-1])
    )
