"""Which run's manifest becomes the dataset, where several want to, and what a run is told that asks again."""

import hashlib
import json
import os
from typing import Any

from beam_etl.io import staging
from beam_etl.io.file_lists import absent_files, encode_list
from beam_etl.io.manifest import Manifest, appended_in, replaced_in
from beam_etl.io.stores import store_of
from beam_etl.io.version_numbers import FOLDER, created, manifest_path, numbers


def prepare(folder: str, manifest: Manifest) -> bytes:
    """The bytes of a manifest, for `publish`; the list of its files is written into `folder`, where it has one."""
    if not manifest.list_name:
        return manifest.to_json()
    listed, store = encode_list(manifest.files), store_of(folder)
    store.make_folder(folder)
    store.create(os.path.join(folder, manifest.list_name), listed)
    return manifest.to_json(hashlib.sha256(listed).hexdigest())


def publish(dataset: str, number: int, run: str, prepared: str) -> bool:
    """Makes a prepared manifest the dataset, unless another writer did; True when it is the run's, now or already.

    Args:
      dataset: folder.
      number: of the manifest.
      run: whose it is.
      prepared: path of a file with its bytes, on the same filesystem. It gets a second name there, and so stays
        unchanged; in an object store a copy does.

    Raises:
      FileNotFoundError: the file is gone. Nothing was published.
    """
    path = manifest_path(dataset, number)
    try:
        store_of(dataset).publish(prepared, path)
        created(dataset, number)
    except FileExistsError:
        created(dataset, number)
        return run_of(dataset, number) == run or is_published(dataset, run)
    if numbers(dataset)[-1] == number:
        return True
    # It may have been free because later writers had replaced and removed it.
    if _before(dataset, number + 1) != (number, run) or _is_hollow(dataset, path):
        staging.remove([path])
    return is_published(dataset, run)


def _is_hollow(dataset: str, path: str) -> bool:
    """Whether files of a version are gone: in an object store a late attempt at it can publish it once more."""
    if store_of(dataset).has_folders:
        return False
    try:
        return bool(absent_files(dataset, Manifest.read(path).files))
    except FileNotFoundError:
        return True


def refresh(dataset: str) -> None:
    """Makes a network filesystem ask its server what a dataset has, before it is said that there is nothing.

    A client may go by what it knew of a folder a minute ago, until it changes something in it.
    """
    store_of(dataset).refresh(
        (os.path.dirname(os.path.abspath(dataset)), dataset, os.path.join(dataset, FOLDER))
    )


def run_of(dataset: str, number: int) -> str | None:
    """The run that published a number; None where nobody did, or it was removed since."""
    lineage = _lineage(dataset, number)
    return lineage[-1][1] if lineage else None


def is_published(dataset: str, run: str) -> bool:
    """Whether what this run wrote is in the dataset: it made the latest version, or others only added to its own."""
    return any(run == other for _, other in _head(dataset))


def _head(dataset: str) -> list[tuple[int, str]]:
    """The lineage of the latest manifest; empty where there is none, or it can't be read."""
    while present := numbers(dataset):
        found = _lineage(dataset, present[-1])
        if found or numbers(dataset)[-1:] == present[-1:]:
            return found
    return []


def _before(dataset: str, number: int) -> tuple[int, str] | None:
    """The version that version `number` was put on top of, or replaced; None where that isn't there or doesn't tell."""
    body = _body(dataset, number)
    appended = appended_in(body)
    return appended[-1] if appended else replaced_in(body)


def _lineage(dataset: str, number: int) -> list[tuple[int, str]]:
    body = _body(dataset, number)
    return [*(appended_in(body) or ()), (number, str(body["run"]))] if "run" in body else []


def _body(dataset: str, number: int) -> dict[str, Any]:
    """What a manifest has, unchecked; nothing where it isn't there or is no JSON."""
    try:
        body = json.loads(store_of(dataset).read(manifest_path(dataset, number)))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
