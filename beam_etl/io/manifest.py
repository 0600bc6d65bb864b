"""The commit: what a finished dataset says of itself, and the one atomic step that makes it so.

A dataset is a folder of tables under a chain of manifests, `_manifests/NNNNNN.json`. The highest one is the dataset.
A manifest is created only if absent, so of two writers that started from the same one, one wins and the other is told.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from beam_etl.io import staging

FOLDER = "_manifests"
FORMAT = "beam_etl dataset"
FORMAT_VERSION = 1

_NAME = re.compile(r"(\d{6,})\.json")


class DatasetError(ValueError):
    """A folder is not the dataset that was expected. The message says what was found and what to do."""


@dataclass(frozen=True)
class DataFile:
    """One finished file of a table."""

    table: str
    path: str
    """Below the dataset's folder, with `/`."""
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All that a dataset says of itself: its files by table, and the run that made it."""

    number: int
    run: str
    files: tuple[DataFile, ...]
    schemas: Mapping[str, Mapping[str, str]]
    """For each table, column name to Arrow type."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the job adds: its name, configuration, inputs, versions."""

    def table(self, name: str) -> tuple[DataFile, ...]:
        """The files of a table, by path; none when the table is empty."""
        return tuple(file for file in self.files if file.table == name)

    def rows(self, name: str) -> int:
        """Rows of a table."""
        return sum(file.rows for file in self.table(name))

    @property
    def stored_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    def to_json(self) -> bytes:
        """The bytes of the manifest file. Its `digest` is the SHA-256 of the rest in canonical JSON."""
        tables = {
            name: {
                "rows": self.rows(name),
                "bytes": sum(file.bytes for file in self.table(name)),
                "schema": dict(columns),
                "partitioning": None,
                "files": [
                    {key: value for key, value in asdict(file).items() if key != "table"}
                    for file in self.table(name)
                ],
            }
            for name, columns in sorted(self.schemas.items())
        }
        body = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "number": self.number,
            "run": self.run,
            "tables": tables,
            "about": dict(self.about),
        }
        return json.dumps({**body, "digest": _digest(body)}, indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, encoded: bytes, path: str) -> "Manifest":
        """Reads a manifest file.

        Raises:
          DatasetError: not a manifest, of a later format version, or changed since it was written.
        """
        try:
            body = json.loads(encoded)
            digest = body.pop("digest")
            if body["format"] != FORMAT or body["version"] > FORMAT_VERSION:
                raise DatasetError(
                    f"{path}: format {body['format']!r} version {body['version']}: too new for this code"
                )
            if digest != _digest(body):
                raise DatasetError(
                    f"{path}: the digest does not match: the manifest was changed after it was written"
                )
            files = tuple(
                DataFile(table=name, **entry)
                for name, table in body["tables"].items()
                for entry in table["files"]
            )
            schemas = {name: table["schema"] for name, table in body["tables"].items()}
            return cls(body["number"], body["run"], files, schemas, body["about"])
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DatasetError(f"{path}: not a manifest of a dataset ({error!r})") from error


def _digest(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def numbers(dataset: str) -> list[int]:
    """Numbers of the manifests that there are, ascending."""
    try:
        names = os.listdir(os.path.join(dataset, FOLDER))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)


def manifest_path(dataset: str, number: int) -> str:
    """Where manifest `number` of a dataset is."""
    return os.path.join(dataset, FOLDER, f"{number:06d}.json")


def latest(dataset: str) -> Manifest | None:
    """The highest manifest, which is the dataset; None for a folder without one.

    Raises:
      DatasetError: as `Manifest.from_json`.
    """
    present = numbers(dataset)
    if not present:
        return None
    path = manifest_path(dataset, present[-1])
    with open(path, "rb") as file:
        return Manifest.from_json(file.read(), path)


def create_if_absent(path: str, content: bytes) -> bool:
    """Creates a file with all of its content, or not at all; False when it exists already.

    The content is written and synced under another name, and linked: a link fails when its name is taken.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{secrets.token_hex(6)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        sync_folder(os.path.dirname(path))
        return True
    finally:
        os.unlink(temporary)


def sync_folder(path: str) -> None:
    """Makes new names in a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(dataset: str, manifest: Manifest) -> bool:
    """Makes `manifest` the dataset, unless another writer did; True when it is ours, now or already.

    A second attempt of the same step (an engine tried it again) finds its own manifest, and succeeds.
    """
    path = manifest_path(dataset, manifest.number)
    content = manifest.to_json()
    if not create_if_absent(path, content):
        with open(path, "rb") as file:
            return file.read() == content
    if numbers(dataset)[-1] == manifest.number:
        return True
    os.unlink(path)  # the number was free because later writers had replaced and removed it
    return False


def is_published(dataset: str, run: str) -> bool:
    """Whether the dataset is what this run made."""
    current = latest(dataset)
    return current is not None and current.run == run


def remove_replaced(dataset: str, manifest: Manifest) -> None:
    """Deletes what `manifest` replaced: older manifests, and files of earlier runs that it doesn't list."""
    staging.remove_leftovers(
        dataset,
        (file.path for file in manifest.files),
        before=os.stat(manifest_path(dataset, manifest.number)).st_mtime,
    )
    staging.remove(manifest_path(dataset, number) for number in numbers(dataset) if number < manifest.number)
