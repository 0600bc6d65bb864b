"""Reads all of an inverted index and tells what is wrong: with its files, its tables, and between them."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.io.errors import CONTENT_ERRORS
from beam_etl.io.index.files import ABOUT, DOCUMENTS, POSTINGS, SPLIT_TERMS, TERMS
from beam_etl.io.index.tables import (
    Table,
    by_partition,
    check_schemas,
    groups_of,
)
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.io.report import Report
from beam_etl.io.verify import Unreadable, leftovers, verify
from beam_etl.kernels.blocks import posting_schema
from beam_etl.kernels.findings import found, one, without_rows
from beam_etl.kernels.forward import add, document_hashes, posting_hashes
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.index_check import (
    CUTS,
    KEY,
    Blocks,
    Cuts,
    Layout,
    check_documents,
    check_partition,
    check_split_terms,
    check_terms,
    expected_terms,
)
from beam_etl.kernels.index_postings import Block, check_blocks
from beam_etl.kernels.indexing import LENGTH
from beam_etl.kernels.partitioning import hashed
from beam_etl.kernels.places import MAX_DOCUMENTS


class Held(NamedTuple):
    """What a check keeps in memory: 8 bytes a document, and 8 more for digests."""

    lengths: npt.NDArray[np.uint32]
    """As `documents` says."""
    sums: npt.NDArray[np.uint32]
    """Of the frequencies, modulo 2^32: their total is compared in full."""
    digests: npt.NDArray[np.uint64] | None
    """Of the forward index, see kernels/forward.py; None where nothing is compared with it."""


class IndexCheck:
    """The check of one index, with threads over partitions. A thread holds a row group, and a partition's terms.

    Args:
      folder: of the dataset.
      current: its manifest.
      report: gets what is found.
      threads: how many.
      digests: whether to keep digests of the forward index.
      cuts: what its rows are cut by.
    """

    def __init__(
        self,
        folder: str,
        current: Manifest,
        report: Report,
        threads: int,
        digests: bool = False,
        cuts: Cuts = CUTS,
    ) -> None:
        self.folder, self.report, self.current = folder, report, current
        self.about: Mapping[str, Any] = current.about[ABOUT]
        self.layout = Layout(
            partitions=self._partitions(),
            documents=min(current.rows(DOCUMENTS), MAX_DOCUMENTS),
            **asdict(cuts),
        )
        count = self.layout.documents
        kept = np.zeros(count, np.uint64) if digests else None
        self.held = Held(np.zeros(count, np.uint32), np.zeros(count, np.uint32), kept)
        self.positions = bool(self.about["positions"])
        self.stated = {
            POSTINGS: posting_schema(self.positions),
            TERMS: schema.INDEX_TERM,
            DOCUMENTS: schema.INDEXED_DOCUMENT,
            SPLIT_TERMS: schema.SPLIT_TERM,
        }
        self.tables = {name: Table(folder, columns, report) for name, columns in self.stated.items()}
        self.complete = {POSTINGS: True, DOCUMENTS: True, SPLIT_TERMS: True}
        self._threads, self._lock = threads, threading.Lock()
        self._occurrences = 0

    def _partitions(self) -> int:
        told = [self.current.partitioning.get(name) for name in (POSTINGS, TERMS, DOCUMENTS)]
        first = told[0] or {}
        found = next((level.get("partitions") for level in first.get("by", ())), None)
        number = found if isinstance(found, int) and found > 0 else 1
        if told != [hashed(KEY, number).to_json()] * len(told):
            self.report.add("manifest", one("partitioning", f"the tables are partitioned by {told}"))
        return number

    def run(self) -> None:
        """Looks at everything but the documents that were indexed."""
        self.report.notes += leftovers(self.folder, [self.current])
        check_schemas(self.current, self.stated, self.report)
        files = {
            name: by_partition(self.current.table(name), self.layout.partitions, self.report)
            for name in (POSTINGS, TERMS, DOCUMENTS)
        }
        for name in (POSTINGS, DOCUMENTS):
            self.complete[name] &= len(files[name]) == len(self.current.table(name))
        others = [file for file in self.current.files if file.table not in self.stated]
        self._all(self._other, [(file,) for file in others])
        self._all(self._documents, list(files[DOCUMENTS].items()))
        self._split = self._split_terms()
        self._present = np.zeros(self._split.num_rows, np.bool_)
        numbers = sorted(files[POSTINGS].keys() | files[TERMS].keys())
        self._all(
            self._partition, [(each, files[POSTINGS].get(each), files[TERMS].get(each)) for each in numbers]
        )
        self._totals()

    def _all(self, task: Callable[..., None], arguments: Iterable[Sequence[Any]]) -> None:
        """Calls a task with each of the arguments. Of a file that can't be read, the others aren't told less."""
        with ThreadPoolExecutor(self._threads, thread_name_prefix="check") as pool:
            try:
                for done in [pool.submit(task, *each) for each in arguments]:
                    done.result()
            except BaseException:  # Ctrl-C
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _other(self, file: DataFile) -> None:
        with contextlib.suppress(Unreadable):
            verify(self.folder, file, self.report)

    def _documents(self, number: int, file: DataFile) -> None:
        table = self.tables[DOCUMENTS]
        try:
            table.verify(file)
            with table.open(file) as opened:
                before = -1
                for _, row, batch in table.batches(file, opened):
                    self.report.add(file.path, check_documents(batch, before, number, self.layout), row)
                    before = batch.column(schema.NUMBER)[-1].as_py()
                    self._keep_documents(batch)
        except Unreadable:
            self.complete[DOCUMENTS] = False

    def _keep_documents(self, batch: pa.RecordBatch) -> None:
        self.report.count(documents=batch.num_rows)
        known = batch.column(schema.NUMBER).to_numpy() < self.layout.documents
        if not known.all():
            batch = batch.filter(pa.array(known))
        numbers = batch.column(schema.NUMBER).to_numpy()
        self.held.lengths[numbers] = batch.column(LENGTH).to_numpy()
        if self.held.digests is not None:
            hashes = document_hashes(batch)
            with self._lock:
                add(numbers, hashes, self.held.digests)

    def _split_terms(self) -> pa.RecordBatch:
        """All of them, by term; those of files that can't be read are missed."""
        table, batches = self.tables[SPLIT_TERMS], []
        for file in self.current.table(SPLIT_TERMS):
            try:
                table.verify(file)
                with table.open(file) as opened:
                    batches += [batch for _, _, batch in table.batches(file, opened)]
            except Unreadable:
                self.complete[SPLIT_TERMS] = False
        split = table.joined(batches).sort_by(schema.TERM)
        problems = check_split_terms(split, self.layout.granule_bits)
        self.report.add(SPLIT_TERMS, map(without_rows, problems))
        return split

    def _partition(self, number: int, postings: DataFile | None, terms: DataFile | None) -> None:
        if postings is None or terms is None:
            have = postings or terms
            assert have is not None
            other = TERMS if terms is None else POSTINGS
            self.report.add(have.path, one("absent file", f"{other} has no file of partition {number}"))
        expected = self._postings(number, postings) if postings else None
        if terms is None:
            return
        table = self.tables[TERMS]
        try:
            table.verify(terms)
            with table.open(terms) as opened:
                batches = [batch for _, _, batch in table.batches(terms, opened)]
            if expected is not None:
                self.report.add(terms.path, check_terms(table.joined(batches), expected))
            elif postings:
                self.report.unchecked.append(f"{terms.path} against its postings")
        except Unreadable:
            pass

    def _postings(self, number: int, file: DataFile) -> pa.RecordBatch | None:
        """INDEX_TERM as a file of postings gives it; None where it can't be read."""
        table = self.tables[POSTINGS]
        parts: list[Blocks] = []
        whole = True
        try:
            table.verify(file)
            with table.open(file) as opened:
                groups = groups_of(opened.metadata)
                for group, row, batch in table.batches(file, opened):
                    part = self._blocks(file, group, row, batch)
                    whole &= part is not None
                    parts += [part] if part is not None else []
            if whole and not parts:
                return pa.RecordBatch.from_pylist([], schema.INDEX_TERM)
            if whole:
                blocks = _joined(parts)
                self._note_split(blocks.term)
                if self.complete[SPLIT_TERMS]:
                    self.report.add(file.path, check_partition(blocks, number, self.layout, self._split))
                return expected_terms(blocks, groups)
        except Unreadable:
            whole = False
        except CONTENT_ERRORS as error:
            table.unreadable(file, error)
            whole = False
        if not whole:
            self.complete[POSTINGS] = False
        return None

    def _blocks(self, file: DataFile, group: int, row: int, batch: pa.RecordBatch) -> Blocks | None:
        lengths = self.held.lengths if self.complete[DOCUMENTS] else None
        block, problems = check_blocks(batch, self.layout.documents, lengths)
        self.report.add(file.path, problems, row)
        if block is None:
            return None
        self._keep_postings(batch.column(schema.TERM), block)
        width, at, first, last = (
            batch.column(name).to_numpy().astype(np.int64)
            for name in ("width", "block", "first_document", "last_document")
        )
        inside = np.full(batch.num_rows, group, np.int64)
        postings = block.documents.sizes
        return Blocks(batch.column(schema.TERM), postings, block.occurrences, width, at, first, last, inside)

    def _keep_postings(self, term: pa.StringArray, block: Block) -> None:
        documents, frequencies = block.documents.values, block.frequencies.values
        hashes = None
        if self.held.digests is not None:
            places = block.positions.values if block.positions is not None else None
            if places is None or places.size == int(block.occurrences.sum()):
                edges = block.documents.edges.astype(np.int64)
                hashes = posting_hashes(hash_values(term), edges, frequencies, places)
        with self._lock:
            self._occurrences += int(block.occurrences.sum())
            add(documents, frequencies, self.held.sums)
            if hashes is not None and self.held.digests is not None:
                add(documents, hashes, self.held.digests)
        self.report.count(postings=documents.size)

    def _note_split(self, term: pa.StringArray) -> None:
        if self._split.num_rows:
            here = np.asarray(pc.is_in(self._split.column(schema.TERM), value_set=term), np.bool_)
            with self._lock:
                self._present |= here

    def _totals(self) -> None:
        """What follows from all partitions together."""
        lengths, sums, stated = self.held.lengths, self.held.sums, self.about
        counted = {}
        if self.complete[DOCUMENTS]:
            tokens = int(lengths.sum(dtype=np.int64))
            rows = self.report.documents
            counted = {"documents": rows, "tokens": tokens, "average_length": tokens / max(rows, 1)}
        else:
            self.report.unchecked += ["impacts", "lengths of documents", "statistics"]
        problems = [
            each
            for name, value in counted.items()
            if stated[name] != value
            for each in one("statistics", f"{name} is {stated[name]}, the documents give {value}")
        ]
        self.report.add("manifest", problems)
        if not self.complete[SPLIT_TERMS]:
            self.report.unchecked.append("order, partitions and widths of postings: they need split_terms")
        if not self.complete[POSTINGS]:
            self.report.unchecked.append("sums of frequencies, and whether split terms have postings")
            return
        term = self._split.column(schema.TERM)
        absent = found(
            "split terms", ~self._present, lambda row: f"term {term[row].as_py()!r} has no postings"
        )
        self.report.add(SPLIT_TERMS, map(without_rows, absent))
        if self.complete[DOCUMENTS]:
            self._compare_lengths(lengths, sums)

    def _compare_lengths(self, lengths: npt.NDArray[Any], sums: npt.NDArray[Any]) -> None:
        tokens = int(lengths.sum(dtype=np.int64))
        wrong = found(
            "length of a document",
            lengths != sums,
            lambda row: f"document {row:,}: length {lengths[row]:,}, frequencies add up to {sums[row]:,}",
        )
        places = list(map(without_rows, wrong))
        if not wrong and tokens != self._occurrences:
            places = one("length of a document", f"{tokens:,} in all, {self._occurrences:,} in the postings")
        self.report.add(DOCUMENTS, places)


def _joined(parts: Sequence[Blocks]) -> Blocks:
    term = pa.concat_arrays([part.term for part in parts])
    numbers = [
        [getattr(part, each.name) for part in parts] for each in fields(Blocks) if each.name != schema.TERM
    ]
    return Blocks(term, *map(np.concatenate, numbers))
