"""Stored datasets that a job reads beside its input: as its launcher found them, or not at all."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from beam_etl import schema
from beam_etl.io import manifest
from beam_etl.io.errors import InputError
from beam_etl.io.formats import FileEntry, format_of
from beam_etl.io.formats.base import SPLIT_BYTES
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.io.rejects import Reject
from beam_etl.kernels.provenance import POSITION

REMOVALS = "removals"
"""The table of a dataset of removals."""


class StoredError(Exception):
    """A dataset isn't as it was when the job began, or damaged. The message names it, and what to do."""


@dataclass(frozen=True)
class StoredDataset:
    """A dataset that a launcher looked into. Small and picklable: workers read its manifest themselves."""

    folder: str
    number: int
    """Of its manifest."""
    run: str
    """That made it."""

    def files(self, table: str) -> tuple[DataFile, ...]:
        """The files of a table.

        Raises:
          StoredError: the dataset was replaced.
        """
        try:
            found = Manifest.read(manifest.manifest_path(self.folder, self.number))
        except FileNotFoundError as error:
            raise self.replaced() from error
        if found.run != self.run:
            raise self.replaced()
        return found.table(table)

    def replaced(self) -> StoredError:
        """The error of a dataset that isn't there any more."""
        return StoredError(f"{self.folder} was replaced or removed since the job began. Run again.")

    def path(self, file: DataFile) -> str:
        """Where a file is."""
        return os.path.join(self.folder, file.path)


@dataclass(frozen=True)
class Removals(StoredDataset):
    """A dataset with a table of removed documents."""

    def read(self) -> Iterator[pa.RecordBatch]:
        """Their files and positions, in a format that our datasets have.

        Raises:
          StoredError: they were replaced, or are damaged.
        """
        for file in self.files(REMOVALS):
            entry, known = FileEntry(0, self.path(file), file.bytes), format_of(file.path)
            if known is None:
                raise StoredError(f"{entry.path}: no format has this suffix")
            try:
                for split in known.splits(entry, SPLIT_BYTES):
                    if split.problem:
                        raise StoredError(f"{entry.path} is damaged: {split.problem}")
                    for rows in known.open(split, None).rows((schema.FILE, POSITION), False):
                        if isinstance(rows, Reject):
                            raise StoredError(f"{entry.path} is damaged: {rows.reason}")
                        yield rows.batch
            except FileNotFoundError as error:
                raise self.replaced() from error


def open_removals(folder: str) -> tuple[Removals, Manifest]:
    """A dataset with a table of removed documents, and its manifest.

    Raises:
      InputError: it is none, or the table doesn't say which documents.
    """
    found = manifest.latest(folder)
    if found is None:
        raise InputError(f"{folder}: no dataset. Give a folder that dedup wrote as --output.")
    if REMOVALS not in found.schemas:
        raise InputError(f"{folder}: a dataset of {', '.join(found.schemas)}, without a table {REMOVALS}")
    missing = [name for name in (schema.FILE, POSITION) if name not in found.schemas[REMOVALS]]
    if found.table(REMOVALS) and missing:
        raise InputError(
            f"{folder}: its {REMOVALS} have no column {missing[0]!r}; they have {', '.join(found.schemas[REMOVALS])}"
        )
    return Removals(folder, found.number, found.run), found
