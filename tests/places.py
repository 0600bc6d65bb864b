"""Where a dataset can be: a folder, S3, or Google's storage. The same tests run in each."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from beam_etl.io import manifest, staging
from beam_etl.io.commit import settle
from beam_etl.io.data_files import OpenFile
from beam_etl.io.formats import format_named
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.io.stores import store_of
from tests.attempts import PARTS

PLACES = ("local", "s3", "gs")
OBJECTS = ("s3", "gs")


def write_rows(dataset: str, run: str, table: str, part: int, rows: Sequence[str], append: bool) -> DataFile:
    """A file of a table as a worker writes it."""
    batch = pa.record_batch({"row": list(rows)})
    path = f"{table}/{staging.file_name(part, run, staging.new_attempt(), '.jsonl')}"
    writer = partial(format_named("jsonl").writer, columns=batch.schema)
    file = OpenFile(dataset, run, path, batch.schema, writer, append)
    file.writer.write(batch)
    return file.close(batch.num_rows)[0]


def staged(dataset: str, run: str, base: Manifest | None = None, append: bool = False) -> Manifest:
    """One attempt of a run: its files, and what it would publish on top of `base`."""
    files = [
        write_rows(dataset, run, table, part, [f"{run} {table} {part}"], append)
        for table, parts in PARTS
        for part in range(parts)
    ]
    there = (base.number, base.run) if base else None
    return Manifest(
        base.number + 1 if base else 1,
        run,
        tuple(sorted(files, key=lambda file: file.path)),
        {table: {"row": "string"} for table, _ in PARTS},
        appended=((there,) if there else ()) if append else None,
        replaced=None if append else there,
    )


def attempt(dataset: str, run: str, base: Manifest | None = None, append: bool = False) -> str:
    """A whole attempt; its verdict."""
    return settle(dataset, staged(dataset, run, base, append), [])


def keeping(made: Manifest, versions: int) -> Manifest:
    """The same, that leaves older versions."""
    return replace(made, keep_versions=versions)


def listed(dataset: str) -> list[str]:
    """Rows that the manifest says; fails where a file isn't there or isn't what was written."""
    found, rows = manifest.latest(dataset), []
    for file in found.files if found else ():
        content = store_of(dataset).read(os.path.join(dataset, file.path))
        assert hashlib.sha256(content).hexdigest() == file.sha256
        rows += [json.loads(line)["row"] for line in content.decode().splitlines()]
    return sorted(rows)


def seen(dataset: str) -> list[str]:
    """Rows that somebody reads who lists the tables."""
    return sorted(
        json.loads(line)["row"]
        for found in staging.stored_files(dataset)
        for line in store_of(dataset).read(found.path).decode().splitlines()
    )


def digest(rows: Sequence[str]) -> str:
    """Equal for equal rows, in any order."""
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:16]


def left(dataset: str) -> list[str]:
    """What is in a dataset's folder beside tables and manifests."""
    return [
        name
        for name in store_of(dataset).names(dataset)
        if name not in ("_manifests", "documents", "removals")
    ]


@dataclass
class Place:
    """A folder for datasets of one test."""

    kind: str
    root: str

    def dataset(self, name: str = "dataset") -> str:
        """A folder that isn't there."""
        return f"{self.root}/{name}"
