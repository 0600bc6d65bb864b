"""Datasets as input: the files of their documents that a condition leaves, and how they are partitioned."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from beam_etl.io import manifest
from beam_etl.io.errors import InputError
from beam_etl.io.formats import FileEntry, format_of
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.io.stores import is_local, is_object
from beam_etl.kernels.partition_paths import values_of
from beam_etl.kernels.partitioning import Partitioning
from beam_etl.kernels.pruning import partition_facts
from beam_etl.kernels.where import Condition, WhereError, bind, can_hold, columns_of

DOCUMENTS_TABLE = "documents"
"""The table of a dataset that is read."""


@dataclass
class DatasetInput:
    """Looks into folders for `match_files`, and remembers the datasets among them.

    Attributes:
      where: files of partitions in which no row fulfils it are left out.
      skipped_bytes: stored bytes of these.
    """

    where: Condition | None = None
    skipped_bytes: int = 0
    _found: list[tuple[str, Manifest]] = field(default_factory=list)

    def __call__(self, place: str) -> list[tuple[str, int]] | None:
        """The files of a dataset's documents, as its manifest says; None for a folder that is no dataset.

        Args:
          place: folder of a dataset, for its latest version; or the manifest of the version that is meant.

        Raises:
          InputError: a dataset without documents, or without the table, or without any that `where` leaves.
        """
        if not (is_local(place) or is_object(place)):
            return None
        number, folder = manifest.manifest_number(place), place
        if number:
            folder = os.path.dirname(os.path.dirname(place))
        current = manifest.version(folder, number) if number else manifest.latest(folder)
        if current is None:
            return None
        files = current.table(DOCUMENTS_TABLE)
        if DOCUMENTS_TABLE not in current.schemas:
            raise InputError(
                f"{folder}: a dataset without {DOCUMENTS_TABLE}; it has the tables {', '.join(current.schemas)}"
            )
        if not files:
            raise InputError(
                f"{folder}: a dataset whose table {DOCUMENTS_TABLE} has no rows: nothing to read"
            )
        folder = os.path.abspath(folder) if is_local(folder) else folder
        left = self._left(folder, current, files)
        if not left:
            raise InputError(
                f"{folder}: by its {len(files):,} partitioned files, no document fulfils --where"
            )
        self.skipped_bytes += sum(file.bytes for file in files) - sum(file.bytes for file in left)
        self._found.append((folder, current))
        return [(f"{folder}/{file.path}", file.bytes) for file in left]

    def _left(self, folder: str, current: Manifest, files: Sequence[DataFile]) -> Sequence[DataFile]:
        partitioning = current.partitioned(DOCUMENTS_TABLE)
        known = format_of(files[0].path)
        if self.where is None or partitioning is None or known is None or known.inferred:
            return files
        stored = known.schema(f"{folder}/{files[0].path}")
        types = {column.name: column.type for column in stored}
        if not set(columns_of(self.where)) <= set(types):
            return files  # which is told where the columns are checked
        try:
            condition = bind(self.where, types)
        except WhereError as error:
            raise InputError(f"{folder}: {error}") from error
        partitions = current.partitions(DOCUMENTS_TABLE)
        kept = [
            values
            for values in partitions
            if can_hold(condition, partition_facts(partitioning, values, types))
        ]
        return [file for values in kept for file in partitions[values]]

    def partitions(self, files: Sequence[FileEntry]) -> "InputPartitions | None":
        """How the files of a run are partitioned; None where they aren't those of one partitioned dataset."""
        if len(self._found) != 1:
            return None
        folder, current = self._found[0]
        partitioning = current.partitioned(DOCUMENTS_TABLE)
        rows = {f"{folder}/{file.path}": file.rows for file in current.table(DOCUMENTS_TABLE)}
        if partitioning is None or not all(file.path in rows for file in files):
            return None
        groups: dict[tuple[str | None, ...], list[FileEntry]] = {}
        for file in files:
            groups.setdefault(values_of(partitioning, file.path[len(folder) + 1 :]), []).append(file)
        most = max((sum(rows[file.path] for file in group) for group in groups.values()), default=0)
        return InputPartitions(partitioning, tuple(map(tuple, groups.values())), most)


@dataclass(frozen=True)
class InputPartitions:
    """A partitioned input."""

    partitioning: Partitioning
    files: tuple[tuple[FileEntry, ...], ...]
    """Of each partition, in order."""
    most_rows: int
    """Of a partition."""

    def told(self, column: str) -> str:
        """For a plan, why nothing is shuffled by a column."""
        names = "/".join(f"{name}=..." for name in self.partitioning.names)
        count = f"{len(self.files):,} partitions {names}"
        return f"no shuffle by {column}: by the manifest, equal ones are in one of {count}"

    @property
    def levels(self) -> int:
        """Folders of each file that tell its partition; 0 where its name does."""
        levels = len(self.partitioning.by)
        return (
            levels
            if all("=" in folder_above(file.path, levels) for files in self.files for file in files)
            else 0
        )


def folder_above(path: str, levels: int) -> str:
    """The last folders of a path, so many."""
    return "/".join(path.split("/")[-1 - levels : -1])
