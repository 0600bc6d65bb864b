"""Compares an index with the documents it was built from: digests of all, then the first differing ones in full."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.io.errors import one_line
from beam_etl.io.index.check import IndexCheck
from beam_etl.io.index.files import DOCUMENTS, POSTINGS
from beam_etl.io.read import ReadDocuments
from beam_etl.io.verify import Unreadable
from beam_etl.kernels import forward
from beam_etl.kernels.findings import TOLD, Found, one
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.index_postings import Lists
from beam_etl.kernels.indexing import local_documents
from beam_etl.kernels.inverting import Inverted, invert
from beam_etl.kernels.provenance import POSITION
from beam_etl.kernels.split_terms import term_strings
from beam_etl.kernels.where_text import parse_where

AHEAD = 2
"""Batches of documents that wait for each thread."""

TOLD_TERMS = 3
"""Terms that are told of a document that differs."""

KIND = "documents"


def read_as_built(patterns: Sequence[str], config: Mapping[str, Any]) -> ReadDocuments:
    """The documents, with the columns, the format and the condition that the index was built with.

    Args:
      patterns: what to read.
      config: of the job that built it, as the manifest has it.

    Raises:
      InputError: as ReadDocuments.
    """
    named: dict[str, Any] = {
        name: config.get(f"{name}_column") for name in (schema.ID, schema.URL, schema.TEXT)
    }
    where = parse_where(config["where"]) if config.get("where") else None
    columns = Columns(needed=(schema.ID, schema.TEXT), optional=(schema.URL,), where=where, **named)
    return ReadDocuments(patterns=patterns, columns=columns, format=config.get("format"))


class Comparison:
    """The documents of an input against an index that was checked, with digests.

    The documents are read by one thread, and inverted by all: a batch and its postings are held by each, and AHEAD
    batches more. Memory is bounded otherwise by what the check holds.
    """

    def __init__(self, check: IndexCheck, read: ReadDocuments, threads: int) -> None:
        self._check, self._read, self._threads = check, read, threads
        self._report = check.report
        self._words, self._positions = str(check.about["words"]), check.positions
        self._lock = threading.Lock()
        self._left_out = 0

    def run(self) -> None:
        """Compares, and tells the first differences."""
        digests = self._check.held.digests
        if digests is None or not all(self._check.complete.values()):
            self._report.unchecked.append("the documents against the index, which can't be read as a whole")
            return
        try:
            self._compare(digests)
        except (OSError, BeamIOError) as error:
            self._report.add("input", one("unreadable file", one_line(error)))

    def _compare(self, digests: npt.NDArray[np.uint64]) -> None:
        found = self._subtract(digests)
        count = self._check.layout.documents
        problems = []
        if found != count:
            problems += one(KIND, f"{found:,} are in the input, {count:,} in the index")
        elif self._left_out != self._check.about["left_out"]:
            stated = self._check.about["left_out"]
            self._report.add(
                "manifest", one("statistics", f"left_out is {stated}, the texts give {self._left_out}")
            )
        wrong = np.flatnonzero(digests)
        if wrong.size:
            told = wrong[:TOLD].astype(np.uint32)
            problems.append(Found(KIND, wrong.size, tuple((-1, line) for line in self._explain(told))))
        self._report.add("input", problems)

    def _batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The documents in their order, each batch with the number of its first one."""
        start = 0
        for file in self._read.files:
            for batch in self._read.read_file(file):
                yield start, batch
                start += batch.num_rows
        yield start, pa.RecordBatch.from_pylist([], pa.schema([]))

    def _subtract(self, digests: npt.NDArray[np.uint64]) -> int:
        """Takes what the documents have from the digests of the index; how many documents there are."""
        waiting: deque[Future[None]] = deque()
        start = 0
        with ThreadPoolExecutor(self._threads, thread_name_prefix="compare") as pool:
            try:
                for start, batch in self._batches():
                    part = batch.slice(0, max(0, digests.size - start))
                    if part.num_rows:
                        waiting.append(pool.submit(self._subtract_batch, part, start, digests))
                    if len(waiting) > AHEAD * self._threads:
                        waiting.popleft().result()
                for each in waiting:
                    each.result()
            except BaseException:  # Ctrl-C
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return start

    def _subtract_batch(self, batch: pa.RecordBatch, start: int, digests: npt.NDArray[np.uint64]) -> None:
        inverted = self._invert(batch)
        terms = hash_values(term_strings(inverted))
        hashes = forward.posting_hashes(terms, inverted.edges, inverted.frequencies, inverted.positions)
        own = forward.document_hashes(local_documents(batch, inverted.lengths))
        numbers = np.arange(start, start + batch.num_rows, dtype=np.int64).astype(np.uint32)
        with self._lock:
            self._left_out += inverted.left_out
            forward.add(inverted.rows + np.uint32(start), np.negative(hashes), digests)
            forward.add(numbers, np.negative(own), digests)

    def _invert(self, batch: pa.RecordBatch) -> Inverted:
        return invert(batch.column(schema.TEXT), self._words, self._positions)

    def _explain(self, wanted: npt.NDArray[np.uint32]) -> list[str]:
        """In words how each of some documents differs, from a second look at both sides."""
        index, rows = self._indexed(wanted), self._rows(wanted)
        texts, read = self._texts(wanted)
        differences = {
            number: self._difference(
                index.get(number, {}), texts.get(number, {}), rows.get(number), read.get(number)
            )
            for number in wanted.tolist()
        }
        return [f"document {number:,}: {difference}" for number, difference in differences.items()]

    def _difference(
        self,
        index: dict[str, forward.Entry],
        text: dict[str, forward.Entry],
        row: Mapping[str, Any] | None,
        read: Mapping[str, Any] | None,
    ) -> str:
        if row is None or read is None:
            return "it isn't in the input" if read is None else "it isn't in the index"
        names = (*forward.OWN, schema.FILE)
        own = [
            f"{name} is {read[name]!r}, {row[name]!r} in the index"
            for name in names
            if read[name] != row[name]
        ]
        terms = forward.differences(index, text)
        more = [f"and {len(terms) - TOLD_TERMS:,} terms more"] if len(terms) > TOLD_TERMS else []
        where = f"{read[schema.FILE]}, position {read[POSITION]}"
        return f"{where}: {'; '.join([*own, *terms[:TOLD_TERMS], *more]) or 'it differs'}"

    def _indexed(self, wanted: npt.NDArray[np.uint32]) -> forward.Forward:
        table = self._check.tables[POSTINGS]
        found: forward.Forward = {}
        for file in self._check.current.table(POSTINGS):
            try:
                with table.open(file) as opened:
                    for _, _, batch in table.batches(file, opened):
                        self._entries(batch, wanted, found)
            except Unreadable:
                continue
        return found

    def _entries(self, batch: pa.RecordBatch, wanted: npt.NDArray[np.uint32], into: forward.Forward) -> None:
        documents, frequencies = Lists.of(batch, "documents"), Lists.of(batch, "frequencies")
        positions = Lists.of(batch, schema.POSITIONS.name).values if self._positions else None
        edges = documents.edges.astype(np.int64)
        term = batch.column(schema.TERM)
        forward.entries(term, edges, documents.values, frequencies.values, positions, wanted, into)

    def _rows(self, wanted: npt.NDArray[np.uint32]) -> dict[int, Mapping[str, Any]]:
        table = self._check.tables[DOCUMENTS]
        found: dict[int, Mapping[str, Any]] = {}
        for file in self._check.current.table(DOCUMENTS):
            try:
                with table.open(file) as opened:
                    for _, _, batch in table.batches(file, opened):
                        numbers = batch.column(schema.NUMBER).to_numpy()
                        for row in batch.filter(pa.array(np.isin(numbers, wanted))).to_pylist():
                            found[row[schema.NUMBER]] = _with_base_name(row)
            except Unreadable:
                continue
        return found

    def _texts(self, wanted: npt.NDArray[np.uint32]) -> tuple[forward.Forward, dict[int, Mapping[str, Any]]]:
        found: forward.Forward = {}
        rows: dict[int, Mapping[str, Any]] = {}
        for start, batch in self._batches():
            inside = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
            if not inside.size:
                if start > wanted[-1]:
                    break
                continue
            chosen = batch.take(pa.array(inside - np.uint32(start)))
            inverted = self._invert(chosen)
            own = local_documents(chosen.replace_schema_metadata(batch.schema.metadata), inverted.lengths)
            for number, row in zip(inside.tolist(), own.to_pylist(), strict=True):
                rows[number] = _with_base_name(row)
            forward.entries(
                term_strings(inverted),
                inverted.edges,
                inside[inverted.rows],
                inverted.frequencies,
                inverted.positions,
                inside,
                found,
            )
        return found, rows


def _with_base_name(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**row, schema.FILE: (row[schema.FILE] or "").rpartition("/")[2]}
