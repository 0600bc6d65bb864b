"""Segments: indexes beside each other, as a job sees them that makes one of them."""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl import schema
from beam_etl.io.errors import InputError
from beam_etl.io.index.files import ABOUT, DOCUMENTS
from beam_etl.io.index.manifest import index_in
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.io.stored import Removals, StoredDataset, StoredError, open_removals
from beam_etl.io.stores import store_of
from beam_etl.kernels.indexing import LENGTH
from beam_etl.kernels.places import MAX_DOCUMENTS
from beam_etl.kernels.renumbering import RemovedPlaces, Renumbered, renumber
from beam_etl.kernels.split_terms import SAMPLED_BY, in_sample

ALIKE = ("version", "words", "unicode", "positions")
"""What segments have in common: what a posting is depends on it."""

_NAMED = (schema.NUMBER, *SAMPLED_BY, schema.FILE)


@dataclass(frozen=True)
class Segment(StoredDataset):
    """An index that becomes a part of another."""

    documents: int

    def read(self, file: DataFile, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a file, a row group at a time. The file is held whole, and is what the manifest says.

        Raises:
          StoredError: it isn't, or is gone.
        """
        try:
            path = self.path(file)
            content = store_of(path).read(path)
        except FileNotFoundError as error:
            raise self.replaced() from error
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise self.damaged(file)
        opened = pq.ParquetFile(pa.BufferReader(content))
        for group in range(opened.metadata.num_row_groups):
            yield from opened.read_row_group(group, columns, use_threads=False).combine_chunks().to_batches()

    def damaged(self, file: DataFile) -> StoredError:
        """The error of a file that isn't what its manifest says."""
        return StoredError(
            f"{self.path(file)} isn't what was written. check_index tells what is wrong with {self.folder}; "
            f"build it anew."
        )

    def renumber(self, start: int, removed: RemovedPlaces | None) -> Renumbered:
        """What becomes of its documents, if `start` stay of the segments before.

        Raises:
          StoredError: as `read`, or there aren't as many as its statistics say.
        """
        lengths = np.zeros(self.documents, np.uint32)
        sampled = np.zeros(self.documents, np.bool_)
        gone = None if removed is None else np.zeros(self.documents, np.bool_)
        rows = 0
        for file in self.files(DOCUMENTS):
            for batch in self.read(file, _NAMED):
                numbers = batch.column(schema.NUMBER).to_numpy()
                lengths[numbers] = batch.column(LENGTH).to_numpy()
                sampled[numbers] = in_sample(batch)
                if gone is not None and removed is not None:
                    gone[numbers] = removed.ask(batch)
                rows += batch.num_rows
        if rows != self.documents:
            raise StoredError(f"{self.folder} has {rows:,} documents, its manifest says {self.documents:,}")
        return renumber(start, lengths, sampled, gone)


@dataclass(frozen=True)
class Opened:
    """What a process knows of segments: of each document its new number, its length, and whether it is sampled."""

    parts: tuple[Renumbered, ...]
    removed: RemovedPlaces | None

    @property
    def documents(self) -> int:
        """How many stay."""
        return sum(part.count for part in self.parts)


@dataclass(frozen=True)
class Segments:
    """Indexes that become one. Small, picklable and hashable.

    A process that works on them holds 5 bytes a document, 9 where some are removed, and 9 bytes a removal: postings are
    sorted by term, so those of any row group are of documents anywhere. 100 million documents are 0.9 GB.
    """

    segments: tuple[Segment, ...]
    removals: Removals | None = None

    def opened(self) -> Opened:
        """What workers need of all documents, read once a process, and held as long as somebody holds it.

        Raises:
          StoredError: as of Segment.renumber, or there are too many documents.
        """
        with _lock:
            found = _open.get(self)
            if found is None:
                found = _open[self] = self._read()
            return found

    def _read(self) -> Opened:
        try:
            removed = None if self.removals is None else RemovedPlaces(self.removals.read())
        except OverflowError as error:
            raise StoredError(f"{error}. Compact with the removals of some of them at a time.") from error
        parts: list[Renumbered] = []
        documents = 0
        for segment in self.segments:
            if documents + segment.documents > MAX_DOCUMENTS:
                raise StoredError(
                    f"more than {MAX_DOCUMENTS:,} documents with those of {segment.folder}: an index can't have more. "
                    f"Leave it a segment of its own: a search reads them together."
                )
            parts.append(segment.renumber(documents, removed))
            documents += parts[-1].count
        return Opened(tuple(parts), removed)


_lock = threading.Lock()
_open: WeakValueDictionary[Segments, Opened] = WeakValueDictionary()


def open_segments(
    folders: Sequence[str], removals: str | None = None
) -> tuple[Segments, tuple[Manifest, ...], Manifest | None]:
    """Indexes that can become one, in this order, and the manifests of them and of the removals.

    Raises:
      InputError: a folder has no index, or they differ in what a posting is; or there is no table of removals.
    """
    found = tuple(map(index_in, folders))
    for folder, other in zip(folders, found, strict=True):
        _check_alike(folders[0], found[0].about[ABOUT], folder, other.about[ABOUT])
    segments = tuple(
        Segment(folder, one.number, one.run, one.about[ABOUT]["documents"])
        for folder, one in zip(folders, found, strict=True)
    )
    if removals is None:
        return Segments(segments), found, None
    stored, told = open_removals(removals)
    return Segments(segments, stored), found, told


def _check_alike(first: str, ours: Mapping[str, Any], other: str, theirs: Mapping[str, Any]) -> None:
    differences = [
        f"{name} is {ours.get(name)!r} there, {theirs.get(name)!r} here"
        for name in ALIKE
        if ours.get(name) != theirs.get(name)
    ]
    if differences:
        raise InputError(
            f"{other} can't become one index with {first}: {'; '.join(differences)}. Build one of them anew."
        )
