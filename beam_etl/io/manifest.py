"""The commit: what a finished dataset says of itself, and the one atomic step that makes it so.

A dataset is a folder of tables under a chain of manifests, `_manifests/NNNNNN.json`. The highest one is the dataset.
A manifest is created only if absent, so of two writers that started from the same one, one wins and the other is told.
Where there are many files, the list of them is a Parquet file beside it.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl.io import staging
from beam_etl.kernels.partition_paths import values_of
from beam_etl.kernels.partitioning import Partitioning

FOLDER = "_manifests"
FORMAT = "beam_etl dataset"
FORMAT_VERSION = 2
"""1: files stand in the manifest. 2: a list beside it. A manifest has the lowest version that can hold it."""

LISTED_FILES = 10_000
"""With more files than these, their list stands beside the manifest: a million are 200 MB of JSON, or 50 of Parquet."""

_NAME = re.compile(r"(\d{6,})\.json")
_LIST_NAME = re.compile(r"(\d{6,})-(\w+?)(?:_[0-9a-f]{16})?\.files\.parquet")
_LIST = pa.schema(
    [
        pa.field("table", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
    ]
)


class DatasetError(ValueError):
    """A folder is not the dataset that was expected. The message says what was found and what to do."""


@dataclass(frozen=True, slots=True)
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
    partitioning: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """For tables that are partitioned: JSON of kernels.partitioning.Partitioning."""

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

    def rows(self, name: str) -> int:
        """Rows of a table."""
        return sum(file.rows for file in self.table(name))

    @property
    def stored_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @cached_property
    def list_name(self) -> str | None:
        """The file beside the manifest that lists the files; None where the manifest does.

        Its name has the run and a hash of the paths, so that of two writers, or attempts of one, each has its own.
        """
        if len(self.files) <= LISTED_FILES:
            return None
        paths = hashlib.blake2b("\n".join(file.path for file in self.files).encode(), digest_size=8)
        return f"{self.number:06d}-{self.run}_{paths.hexdigest()}.files.parquet"

    def to_json(self, list_sha256: str | None = None) -> bytes:
        """The bytes of the manifest file. Its `digest` is the SHA-256 of the rest in canonical JSON.

        Args:
          list_sha256: of the list of files, where there is one.
        """
        tables = {
            name: {
                "rows": self.rows(name),
                "bytes": sum(file.bytes for file in self.table(name)),
                "schema": dict(columns),
                "partitioning": self.partitioning.get(name),
                **({} if self.list_name else {"files": _entries(self.table(name))}),
            }
            for name, columns in sorted(self.schemas.items())
        }
        body = {
            "format": FORMAT,
            "version": 2 if self.list_name else 1,
            "number": self.number,
            "run": self.run,
            "tables": tables,
            "about": dict(self.about),
        }
        if self.list_name:
            body["files"] = {"path": self.list_name, "sha256": list_sha256}
        return json.dumps({**body, "digest": _digest(body)}, indent=1, ensure_ascii=False).encode()

    @classmethod
    def read(cls, path: str, lists: str | None = None) -> "Manifest":
        """Reads a manifest file, and the list of files beside it, or in the folder `lists`.

        Raises:
          DatasetError: not a manifest, of a later format version, or changed since it was written.
          FileNotFoundError: it is gone, or its list is.
        """
        with open(path, "rb") as file:
            encoded = file.read()
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
            files = _read_list(folder, body["files"]) if "files" in body else _listed_inside(tables)
            schemas = {name: table["schema"] for name, table in tables.items()}
            partitioning = {
                name: table["partitioning"] for name, table in tables.items() if table["partitioning"]
            }
            return cls(body["number"], body["run"], files, schemas, body["about"], partitioning)
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DatasetError(f"{path}: not a manifest of a dataset ({error!r})") from error


def _entries(files: Sequence[DataFile]) -> list[dict[str, Any]]:
    return [{key: value for key, value in asdict(file).items() if key != "table"} for file in files]


def _listed_inside(tables: Mapping[str, Any]) -> tuple[DataFile, ...]:
    return tuple(DataFile(table=name, **entry) for name, table in tables.items() for entry in table["files"])


def _encode_list(files: Sequence[DataFile]) -> bytes:
    columns = [[getattr(file, name) for file in files] for name in _LIST.names]
    arrays = [pa.array(values, column.type) for values, column in zip(columns, _LIST, strict=True)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=_LIST), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _read_list(folder: str, entry: Mapping[str, str]) -> tuple[DataFile, ...]:
    path = os.path.join(folder, entry["path"])
    with open(path, "rb") as file:
        encoded = file.read()
    if hashlib.sha256(encoded).hexdigest() != entry["sha256"]:
        raise DatasetError(f"{path}: the digest does not match: the list was changed after it was written")
    columns = pq.read_table(pa.BufferReader(encoded)).select(_LIST.names).to_pydict().values()
    return tuple(map(DataFile, *columns))


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
      DatasetError: as `Manifest.read`, or its list of files is absent.
    """
    while present := numbers(dataset):
        try:
            return Manifest.read(manifest_path(dataset, present[-1]))
        except FileNotFoundError as error:  # a writer that was faster replaced and removed it: look again
            if numbers(dataset)[-1:] == present[-1:]:
                raise DatasetError(f"{error.filename}: the list of the dataset's files is absent") from error
    return None


def create_if_absent(path: str, content: bytes) -> bool:
    """Creates a file with all of its content, or not at all; False when it exists already.

    The content is written and synced under another name, and linked: a link fails when its name is taken.

    Raises:
      FileNotFoundError: there is no such folder.
    """
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
        staging.remove([temporary])


def sync_folder(path: str) -> None:
    """Makes new names in a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def prepare(dataset: str, manifest: Manifest) -> bytes:
    """The bytes of a manifest, for `publish`; the list of its files is written, where it stands beside it."""
    if not manifest.list_name:
        return manifest.to_json()
    listed = _encode_list(manifest.files)
    os.makedirs(os.path.join(dataset, FOLDER), exist_ok=True)
    create_if_absent(os.path.join(dataset, FOLDER, manifest.list_name), listed)
    return manifest.to_json(hashlib.sha256(listed).hexdigest())


def publish(dataset: str, number: int, run: str, prepared: str) -> bool:
    """Makes a prepared manifest the dataset, unless another writer did; True when it is the run's, now or already.

    Args:
      dataset: folder.
      number: of the manifest.
      run: whose it is.
      prepared: path of a file with its bytes, on the same filesystem. It gets a second name, and so stays unchanged.

    Raises:
      FileNotFoundError: the file is gone. Nothing was published.
    """
    path = manifest_path(dataset, number)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        os.link(prepared, path)
    except FileExistsError:
        return run_of(dataset, number) == run
    sync_folder(os.path.dirname(path))
    if numbers(dataset)[-1] == number:
        return True
    staging.remove([path])  # the number was free because later writers had replaced and removed it
    return False


def refresh(dataset: str) -> None:
    """Makes a network filesystem ask its server what a dataset has, before it is said that there is nothing.

    A client may go by what it knew of a folder a minute ago, until it changes something in it.
    """
    folders = (os.path.dirname(os.path.abspath(dataset)), dataset, os.path.join(dataset, FOLDER))
    for folder in folders:
        path = os.path.join(folder, f"_beam_etl_{secrets.token_hex(6)}")
        with contextlib.suppress(OSError):
            open(path, "xb").close()
            os.unlink(path)


def run_of(dataset: str, number: int) -> str | None:
    """The run that published a number; None where nobody did, or it was removed since."""
    try:
        with open(manifest_path(dataset, number), "rb") as file:
            return str(json.load(file)["run"])
    except (FileNotFoundError, KeyError, ValueError):
        return None


def is_published(dataset: str, run: str) -> bool:
    """Whether the dataset is what this run made."""
    while present := numbers(dataset):
        found = run_of(dataset, present[-1])
        if found is not None or numbers(dataset)[-1:] == present[-1:]:
            return found == run
    return False


def remove_replaced(dataset: str, manifest: Manifest) -> None:
    """Deletes what `manifest` replaced: older manifests, and files of earlier runs that it doesn't list."""
    try:
        published = os.stat(manifest_path(dataset, manifest.number)).st_mtime
    except FileNotFoundError:  # it was replaced itself
        return
    staging.remove_leftovers(dataset, (file.path for file in manifest.files), before=published)
    staging.remove(manifest_path(dataset, number) for number in numbers(dataset) if number < manifest.number)
    remove_lists(dataset, lambda number, _, name: number <= manifest.number and name != manifest.list_name)


def remove_lists(dataset: str, is_left: Callable[[int, str, str], bool]) -> None:
    """Deletes lists of files of which `is_left` is true, given number, run and name."""
    folder = os.path.join(dataset, FOLDER)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    lists = (match for match in map(_LIST_NAME.fullmatch, names) if match)
    staging.remove(
        os.path.join(folder, match[0]) for match in lists if is_left(int(match[1]), match[2], match[0])
    )
