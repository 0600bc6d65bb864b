"""What a finished dataset says of itself. `publishing` has the one atomic step that makes it so.

A dataset is a folder of tables under a chain of manifests, `_manifests/NNNNNN.json`. The highest one is the dataset.
A manifest is created only if absent, so of two writers that started from the same one, one wins and the other is told.
Where there are many files, the list of them is a Parquet file beside it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from beam_etl.io import staging
from beam_etl.io.errors import one_line
from beam_etl.io.file_lists import (
    DataFile,
    DatasetError,
    Pane,
    list_name,
    read_list,
)
from beam_etl.io.stores import store_of
from beam_etl.io.version_numbers import FOLDER, manifest_number, manifest_path, numbers
from beam_etl.kernels.partition_paths import values_of
from beam_etl.kernels.partitioning import Partitioning

__all__ = [
    "FOLDER",
    "DataFile",
    "DatasetError",
    "Manifest",
    "Pane",
    "manifest_number",
    "manifest_path",
    "numbers",
]

FORMAT = "beam_etl dataset"
FORMAT_VERSION = 3
"""1: files stand in the manifest. 2: a list beside it. 3: streams. A manifest has the lowest that can hold it."""

LISTED_FILES = 10_000
"""With more files than these, their list stands beside the manifest: a million are 200 MB of JSON, or 50 of Parquet."""

READABLE_FILES = 200
"""With more files than these, a manifest is one line of JSON: to indent it takes ten times as long, at each pane."""


@dataclass(frozen=True)
class Manifest:
    """All that one version of a dataset says of itself: its files by table, and the run that made it."""

    number: int
    run: str
    files: tuple[DataFile, ...]
    schemas: Mapping[str, Mapping[str, str]]
    """For each table, column name to Arrow type."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the job adds: its name, configuration, inputs, versions."""
    partitioning: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """For tables that are partitioned: JSON of kernels.partitioning.Partitioning."""

    appended: tuple[tuple[int, str], ...] | None = None
    """Where the run added to what was there: number and run of each version whose files are here as well, oldest first.
    None where it replaced what was there, or made the dataset."""
    replaced: tuple[int, str] | None = None
    """Number and run of the version that this one replaced, where it did."""
    keep_versions: int = 1
    """How many versions stay when this one has replaced another, itself among them. An append keeps all."""
    streams: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What streams that add to the dataset have published, by their names: see `panes`."""

    @property
    def lineage(self) -> tuple[tuple[int, str], ...]:
        """Number and run of each version whose files are here, this one last."""
        return (*(self.appended or ()), (self.number, self.run))

    def table(self, name: str) -> tuple[DataFile, ...]:
        """The files of a table, by path; none when the table is empty."""
        return tuple(file for file in self.files if file.table == name)

    def partitioned(self, name: str) -> Partitioning | None:
        """How a table is partitioned; None where it isn't.

        Raises:
          DatasetError: what stands there is none that this code knows.
        """
        told = self.partitioning.get(name)
        try:
            return Partitioning.from_json(told) if told else None
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"table {name}: unknown partitioning {told} ({error})") from error

    def partitions(self, name: str) -> dict[tuple[str | None, ...], tuple[DataFile, ...]]:
        """The files of each partition of a table that has rows: the levels' values, null as None, to files by path.

        Raises:
          DatasetError: the table isn't partitioned, or a file is in none of its partitions.
        """
        partitioning = self.partitioned(name)
        if partitioning is None:
            raise DatasetError(f"table {name} is not partitioned")
        found: dict[tuple[str | None, ...], list[DataFile]] = {}
        for file in self.table(name):
            try:
                found.setdefault(values_of(partitioning, file.path), []).append(file)
            except ValueError as error:
                raise DatasetError(str(error)) from error
        return {values: tuple(files) for values, files in found.items()}

    def of_run(self, run: str) -> "Manifest":
        """The manifest with those files only that a run wrote."""
        return replace(
            self, files=tuple(file for file in self.files if staging.run_of_file(file.path) == run)
        )

    def rows(self, name: str) -> int:
        """Rows of a table."""
        return sum(file.rows for file in self.table(name))

    @property
    def stored_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @cached_property
    def list_name(self) -> str | None:
        """The file beside the manifest that lists the files; None where the manifest does."""
        if len(self.files) <= LISTED_FILES:
            return None
        return list_name(self.number, self.run, self.files)

    def to_json(self, list_sha256: str | None = None) -> bytes:
        """The bytes of the manifest file. Its `digest` is the SHA-256 of the rest in canonical JSON.

        Args:
          list_sha256: of the list of files, where there is one.
        """
        tables = {}
        for name, columns in sorted(self.schemas.items()):
            files = self.table(name)
            tables[name] = {
                "rows": sum(file.rows for file in files),
                "bytes": sum(file.bytes for file in files),
                "schema": dict(columns),
                "partitioning": self.partitioning.get(name),
                **({} if self.list_name else {"files": [file.to_json() for file in files]}),
            }
        body: dict[str, Any] = {
            "format": FORMAT,
            "version": 3 if self.streams else 2 if self.list_name else 1,
            "number": self.number,
            "run": self.run,
            "tables": tables,
            "about": dict(self.about),
        }
        if self.appended is not None:
            body["appended"] = [list(version) for version in self.appended]
        if self.replaced is not None:
            body["replaced"] = list(self.replaced)
        if self.keep_versions != 1:
            body["keep_versions"] = self.keep_versions
        if self.streams:
            body["streams"] = {name: dict(told) for name, told in self.streams.items()}
        if self.list_name:
            body["files"] = {"path": self.list_name, "sha256": list_sha256}
        indent = 1 if len(self.files) <= READABLE_FILES else None
        return json.dumps({**body, "digest": _digest(body)}, indent=indent, ensure_ascii=False).encode()

    @classmethod
    def read(cls, path: str, lists: str | None = None) -> "Manifest":
        """Reads a manifest file, and the list of files beside it, or in the folder `lists`.

        Raises:
          DatasetError: not a manifest, of a later format version, or changed since it was written.
          FileNotFoundError: it is gone, or its list is.
        """
        encoded = store_of(path).read(path)
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
            tables = body["tables"]
            folder = lists or os.path.dirname(path)
            files = read_list(folder, body["files"]) if "files" in body else _listed_inside(tables)
            schemas = {name: table["schema"] for name, table in tables.items()}
            partitioning = {
                name: table["partitioning"] for name, table in tables.items() if table["partitioning"]
            }
            return cls(
                body["number"],
                body["run"],
                files,
                schemas,
                body["about"],
                partitioning,
                appended_in(body),
                replaced_in(body),
                body.get("keep_versions", 1),
                body.get("streams", {}),
            )
        except DatasetError:
            raise
        except (
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
        ) as error:  # any JSON, or none
            raise DatasetError(f"{path}: not a manifest of a dataset ({one_line(error)})") from error


def _listed_inside(tables: Mapping[str, Any]) -> tuple[DataFile, ...]:
    return tuple(
        DataFile(**{**entry, "table": name, "pane": Pane(**entry["pane"]) if "pane" in entry else None})
        for name, table in tables.items()
        for entry in table["files"]
    )


def appended_in(body: Mapping[str, Any]) -> tuple[tuple[int, str], ...] | None:
    """`Manifest.appended`, of a manifest file's JSON."""
    told = body.get("appended")
    return None if told is None else tuple((number, run) for number, run in told)


def replaced_in(body: Mapping[str, Any]) -> tuple[int, str] | None:
    """`Manifest.replaced`, of a manifest file's JSON."""
    told = body.get("replaced")
    return None if told is None else (told[0], told[1])


def _digest(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def latest(dataset: str) -> Manifest | None:
    """The highest manifest, which is the dataset; None for a folder without one.

    Raises:
      DatasetError: as `Manifest.read`, or its list of files is absent.
    """
    while present := numbers(dataset):
        try:
            return Manifest.read(manifest_path(dataset, present[-1]))
        except FileNotFoundError as error:  # a writer that was faster replaced and removed it: look again
            if numbers(dataset)[-1:] == present[-1:]:
                raise DatasetError(f"{error.filename}: the list of the dataset's files is absent") from error
    return None


def version(dataset: str, number: int) -> Manifest:
    """An older manifest, or the latest one.

    Raises:
      DatasetError: as `Manifest.read`, or there is none of this number: the message tells those there are.
    """
    try:
        return Manifest.read(manifest_path(dataset, number))
    except FileNotFoundError as error:
        present = ", ".join(map(str, numbers(dataset))) or "none"
        raise DatasetError(f"{dataset} has no version {number}; there are: {present}") from error
