"""A segment: one dataset that inverted_index wrote, of which only what a search needs is read."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.io.errors import InputError
from beam_etl.io.index.files import ABOUT, DOCUMENTS, POSTINGS, SPLIT_TERMS, TERMS
from beam_etl.io.index.manifest import STATISTICS, index_in
from beam_etl.io.manifest import DatasetError, Manifest
from beam_etl.io.table_files import Counter, TableFiles
from beam_etl.kernels.hashing import hash_rows
from beam_etl.kernels.indexing import DOCUMENT_GRANULE_BITS
from beam_etl.kernels.phrases import Postings
from beam_etl.kernels.top_documents import Blocks
from beam_etl.kernels.unicode_table import RULES, UNICODE_VERSION

HELD_TERMS = 1024
"""Terms whose blocks' bounds are kept."""

HELD_BLOCKS = 256
"""Blocks whose postings are kept: at most 128 MiB without positions, mostly a few."""

_BOUNDS = (schema.TERM, "first_document", "last_document", "impact_frequencies", "impact_lengths")
_POSTINGS = ("documents", "frequencies")


class Term(NamedTuple):
    """A term of a segment.

    places: partition, row group and row of each block.
    """

    document_frequency: int
    collection_frequency: int
    blocks: Blocks
    places: tuple[tuple[int, int, int], ...]


class IndexSegment:
    """A reader of one index.

    Args:
      folder: of the dataset.
      counter: of bytes read.

    Raises:
      InputError: there is no dataset, or none that this code can search.
      DatasetError: its manifest is damaged.
    """

    def __init__(self, folder: str, counter: Counter) -> None:
        current = _open(folder)
        self.folder = folder
        self.about = dict(current.about[ABOUT])
        self.config = dict(current.about.get("config") or {})
        self.documents = int(self.about["documents"])
        self.stored_bytes = current.stored_bytes
        tables = (POSTINGS, TERMS, DOCUMENTS, SPLIT_TERMS)
        self._postings, self._terms, self._documents, self._split_files = (
            TableFiles(folder, current, name, counter) for name in tables
        )
        self._widths: dict[str, int] | None = None
        self._held: OrderedDict[str, Term] = OrderedDict()
        self._read: OrderedDict[tuple[int, int, int, bool], Postings] = OrderedDict()
        self._lengths = np.zeros(self.documents, np.uint32)
        self._has_lengths = np.zeros((self.documents >> DOCUMENT_GRANULE_BITS) + 1, np.bool_)

    def term(self, term: str) -> Term:
        """What is known of a term, with no blocks where no document has it."""
        if term not in self._held:
            self._held[term] = self._find(term)
            if len(self._held) > HELD_TERMS:
                self._held.popitem(last=False)
        self._held.move_to_end(term)
        return self._held[term]

    def blocks(self, term: str) -> Blocks:
        """The blocks of a term, ascending."""
        return self.term(term).blocks

    def postings(self, term: str, block: int, positions: bool) -> Postings:
        """The postings of one of its blocks."""
        place = self.term(term).places[block]
        key = (*place, positions)
        if key not in self._read:
            self._load(self.term(term), place, positions)
        self._read.move_to_end(key)
        return self._read[key]

    def lengths(self, documents: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """The length of each of some documents."""
        granules = documents >> np.uint32(DOCUMENT_GRANULE_BITS)
        for granule in np.unique(granules[~self._has_lengths[granules]]).tolist():
            for rows in self._documents_of(granule, (schema.NUMBER, "length"), hold=False):
                self._lengths[rows.column(schema.NUMBER).to_numpy()] = rows.column("length").to_numpy()
            self._has_lengths[granule] = True
        return self._lengths[documents]

    def document(self, number: int) -> dict[str, Any]:
        """The row of a document, as schema.INDEXED_DOCUMENT.

        Raises:
          DatasetError: it isn't there.
        """
        names = schema.INDEXED_DOCUMENT.names
        for rows in self._documents_of(number >> DOCUMENT_GRANULE_BITS, names, number):
            if (found := rows.filter(pc.equal(rows.column(schema.NUMBER), number))).num_rows:
                return dict(found.to_pylist()[0])
        raise DatasetError(f"{self.folder}: no document {number} of {self.documents}. Run check_index.")

    def _documents_of(
        self,
        granule: int,
        columns: tuple[str, ...] | list[str],
        number: int | None = None,
        hold: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        """Row groups that may have documents of a granule, or the one of a number."""
        partition = self._partition(self._documents, None, granule)
        first, end = (
            granule << DOCUMENT_GRANULE_BITS,
            min((granule + 1) << DOCUMENT_GRANULE_BITS, self.documents),
        )
        if partition in self._documents:
            low, high = (first, end - 1) if number is None else (number, number)
            for group in self._documents.groups_between(partition, schema.NUMBER, low, high):
                yield self._documents.read(partition, group, columns, hold)

    def _find(self, term: str) -> Term:
        found = [part for partition in self._partitions(term) for part in self._look_up(term, partition)]
        rows = [row for partition, where in found for row in self._bounds(term, partition, where)]
        rows.sort(key=lambda row: row[0])
        pairs = [len(row[2]) for row in rows]
        empty = np.zeros(0, np.uint32)
        blocks = Blocks(
            np.array([row[0] for row in rows], np.int64),
            np.array([row[1] for row in rows], np.int64),
            np.concatenate([[0], np.cumsum(pairs, dtype=np.int64)]),
            np.concatenate([empty, *(row[2] for row in rows)]),
            np.concatenate([empty, *(row[3] for row in rows)]),
        )
        return Term(
            sum(where["document_frequency"] for _, where in found),
            sum(where["collection_frequency"] for _, where in found),
            blocks,
            tuple(row[4] for row in rows),
        )

    def _partitions(self, term: str) -> list[int]:
        """Those whose files may have postings of a term."""
        if self._widths is None:
            names = schema.SPLIT_TERM.names
            batches = self._split_files.all_rows(names)
            self._widths = {row[schema.TERM]: row["width"] for batch in batches for row in batch.to_pylist()}
        ranges = 1
        if term in self._widths:
            ranges = ((self.documents - 1) >> self._widths[term]) + 1
        found = {self._partition(self._terms, term, part) for part in range(ranges)}
        return sorted(partition for partition in found if partition in self._terms)

    def _look_up(self, term: str, partition: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for group in self._terms.groups_between(partition, schema.TERM, term, term):
            rows = self._terms.read(partition, group, schema.INDEX_TERM.names)
            at = pc.index(rows.column(schema.TERM), term).as_py()
            if at >= 0:
                yield partition, rows.slice(at, 1).to_pylist()[0]

    def _bounds(self, term: str, partition: int, where: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        """First and last document, impacts and place of each block."""
        for group in range(where["row_group"], where["row_group"] + where["row_groups"]):
            rows = self._postings.read(partition, group, _BOUNDS)
            mine = np.flatnonzero(pc.equal(rows.column(schema.TERM), term).to_numpy(zero_copy_only=False))
            firsts, lasts, frequencies, lengths = (rows.column(name) for name in _BOUNDS[1:])
            for row in mine.tolist():
                yield (
                    firsts[row].as_py(),
                    lasts[row].as_py(),
                    frequencies[row].values.to_numpy(),
                    lengths[row].values.to_numpy(),
                    (partition, group, row),
                )

    def _load(self, term: Term, place: tuple[int, int, int], positions: bool) -> None:
        """Reads the row group of a block, and keeps the term's blocks that it has."""
        columns = (*_POSTINGS, schema.POSITIONS.name) if positions else _POSTINGS
        rows = self._postings.read(*place[:2], columns)
        for other in term.places:
            if other[:2] == place[:2] and other != place:
                self._keep(rows, other, positions)
        self._keep(rows, place, positions)

    def _keep(self, rows: pa.RecordBatch, place: tuple[int, int, int], positions: bool) -> None:
        documents, frequencies, *places = (
            column[place[2]].values.to_numpy().copy()
            for column in rows.columns  # not to hold the row group
        )
        found = Postings(documents, frequencies)
        if positions:
            edges = np.concatenate([[0], np.cumsum(frequencies, dtype=np.int64)])
            found = Postings(documents, frequencies, places[0], edges)
        key = (*place, positions)
        self._read[key] = found
        if len(self._read) > HELD_BLOCKS:
            self._read.popitem(last=False)

    def _partition(self, files: TableFiles, term: str | None, part: int) -> int:
        row = [pa.array([term], pa.string()), pa.array([part], pa.uint32())]
        return int(hash_rows(row)[0] % np.uint64(files.partitions))


def _open(folder: str) -> Manifest:
    current = index_in(folder)
    about = current.about[ABOUT]
    if about.get("words") not in RULES:
        raise InputError(
            f"{folder}: words by the rule {about.get('words')!r}; this code has {', '.join(RULES)}."
        )
    if about.get("unicode") != UNICODE_VERSION:
        raise InputError(
            f"{folder}: words of Unicode {about.get('unicode')}, this code has {UNICODE_VERSION}. Build it anew."
        )
    missing = [name for name in STATISTICS if name not in about]
    if missing:
        raise DatasetError(f"{folder}: an index whose manifest has no {missing[0]}. Build it anew.")
    return current
