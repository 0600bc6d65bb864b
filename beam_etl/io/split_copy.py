"""One split read a second time: its kept rows into a file, and facts of the documents that a decision names."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from beam_etl import schema
from beam_etl.io import staging
from beam_etl.io.changes import CHANGED, Mark, change_of, mark_of
from beam_etl.io.columns import Columns, Reading, resolve
from beam_etl.io.convert import document_places, to_documents
from beam_etl.io.data_files import Finished, OpenFile
from beam_etl.io.dataset_input import DOCUMENTS_TABLE, folder_above
from beam_etl.io.errors import InputError, is_content_error
from beam_etl.io.formats import Copier, Format, Rows, Split, SplitReader
from beam_etl.io.formats.base import take_rows
from beam_etl.io.rejects import Reject, reject_record
from beam_etl.io.splits import SMALL_BYTES, bounded, open_split
from beam_etl.io.suspects import is_suspect
from beam_etl.io.watched import StuckError, watched
from beam_etl.kernels import stacking
from beam_etl.transforms.batches import merge_batches
from beam_etl.transforms.metrics import BYTES_IN, BYTES_OUT, ROWS_IN, ROWS_OUT, StepMetrics


@dataclass(frozen=True, kw_only=True)
class Copying:
    """What copying any split needs to know."""

    known: Format
    first: Columns
    """What the first read asked for: it decides which rows are documents."""
    wanted: Columns
    """What is wanted of the documents with a decision."""
    stored: pa.Schema
    output: str
    run: str
    file_digits: int
    split_digits: int
    levels: int = 0
    """Folders of the input's files that tell partitions: new files have them as well."""

    def path(self, split: Split) -> str:
        """Of a new file for a split, below the dataset."""
        name = staging.split_file_name(
            f"{split.file.number:0{self.file_digits}d}",
            f"{split.number:0{self.split_digits}d}",
            self.run,
            staging.new_attempt(),
            self.known.copy_suffix(split.file.path),
        )
        folders = f"{folder_above(split.file.path, self.levels)}/" if self.levels else ""
        return f"{DOCUMENTS_TABLE}/{folders}{name}"


class Decisions:
    """The decisions about documents of one split, stacked or not, taken in the order of their documents.

    Raises:
      ValueError: a node stands there twice.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], split: Split) -> None:
        held = [stacking.with_others(batch) for batch in batches]
        self._split = split
        self._done = 0
        self._nodes = np.zeros(0, np.uint64)
        if held:
            rows = merge_batches(held)
            of, nodes, _ = stacking.unstack(rows)
            order = np.argsort(nodes, kind="stable")
            self._nodes = nodes[order]
            bare = rows.drop_columns([stacking.OTHERS]).take(pa.array(of[order]))
            place, field = bare.schema.get_field_index(schema.NODE), bare.schema.field(schema.NODE)
            self._rows = bare.set_column(place, field, pa.array(self._nodes))
        if (self._nodes[1:] == self._nodes[:-1]).any():
            raise ValueError(f"{split.file.path}: two decisions about one document")

    def take(self, nodes: np.ndarray) -> tuple[pa.RecordBatch | None, np.ndarray]:
        """The decisions up to the last of the next documents, and at which of those they are.

        Args:
          nodes: uint64, ascending: all documents from the last call on.

        Returns:
          The rows, None where there is none, and int64 places in `nodes`.
        """
        first = self._done
        self._done = first + int(np.searchsorted(self._nodes[first:], nodes[-1:], side="right").sum())
        mine = self._nodes[first : self._done]
        places = np.searchsorted(nodes, mine)
        absent = np.flatnonzero(nodes[places] != mine)
        if len(absent):
            raise self._missing(int(mine[absent[0]]))
        return (self._rows.slice(first, len(mine)) if len(mine) else None), places

    def skip(self, stop: int) -> None:
        """Passes over the decisions about documents before a node, which can't be copied."""
        self._done += int(np.searchsorted(self._nodes[self._done :], np.uint64(stop)))

    def end(self) -> None:
        """There are no more documents.

        Raises:
          InputError: but there are decisions.
        """
        if self._done < len(self._nodes):
            raise self._missing(int(self._nodes[self._done]))

    def _missing(self, node: int) -> InputError:
        position = node & schema.MAX_POSITION
        return _changed(self._split, f"the document at position {position} is not there any more")


def copy_split(
    split: Split, decisions: Iterable[pa.RecordBatch], copying: Copying, metrics: StepMetrics
) -> Iterator[Finished | pa.RecordBatch | Reject]:
    """Copies a split without its removed documents. Holds its decisions and a few batches.

    Args:
      split: one that may have records.
      decisions: as RewriteDocuments takes them, all of this split, in any order.
      copying: the rest.
      metrics: counts the documents that go in and out.

    Returns:
      The file at last, where anything is kept; before it batches of what was found, and rejects of documents that
      can't be copied.

    Raises:
      InputError: a decision's document isn't there, or the file isn't, or was written since the job began.
    """
    if is_suspect(split):
        raise _apart(split)
    pending = Decisions(decisions, split)
    seen = mark_of(split.file)
    _check_unchanged(split, seen)
    try:
        reader, reading = open_split(split, copying.known, copying.first, copying.stored)
    except Exception as error:
        if not is_content_error(error):
            raise
        pending.end()  # the first read rejected all of it
        return
    copy = _Copy(split, copying, reader, reading, pending)
    try:
        yield from copy.run(metrics)
        _check_unchanged(split, seen)
    finally:
        copy.discard()


def _check_unchanged(split: Split, seen: Mark) -> None:
    if how := change_of(split.file, seen):
        raise _changed(split, how)


def _changed(split: Split, how: str) -> InputError:
    return InputError(f"{split.file.path}: {how}: {CHANGED}. Run again.")


def _apart(split: Split) -> InputError:
    return InputError(
        f"{split.file.path}: bytes {split.start} to {split.stop} can be read in a process of their own only (see "
        f"--max_record_seconds), and are read a second time to be copied, which takes one that can read all of it. "
        f"Leave the file out."
    )


class _Copy:
    def __init__(
        self, split: Split, copying: Copying, reader: SplitReader, reading: Reading, pending: Decisions
    ) -> None:
        self._split = split
        self._copying = copying
        self._reader = reader
        self._reading = reading
        self._pending = pending
        self._facts = resolve(copying.wanted, reader.schema, split.file.path, copying.stored)
        self._file: OpenFile | None = None
        self._kept = 0
        self._base = np.uint64(split.file.number << schema.POSITION_BITS)

    def run(self, metrics: StepMetrics) -> Iterator[Finished | pa.RecordBatch | Reject]:
        by_record = self._copying.known.by_record
        names = self._reading.names_in(self._reader.schema) if by_record else self._reader.schema.names
        found: list[pa.RecordBatch] = []
        lost: list[Reject] = []
        documents = 0
        for rows in self._rows(names):
            if not isinstance(rows, Reject):
                places = document_places(rows, self._reading, self._split.file)
                documents += rows.batch.num_rows if places is None else len(places)
                found += self._copy(rows, places)
            elif not by_record:
                lost.append(rows)
                self._pending.skip(_stop(rows, self._base))
            if sum(batch.nbytes for batch in found) >= SMALL_BYTES:
                yield from bounded(found)
                found = []
        yield from bounded(found)
        self._pending.end()
        if lost:
            yield from self._rejects(lost)
        metrics.add(ROWS_IN, documents)
        metrics.add(BYTES_IN, self._split.stop - self._split.start)
        metrics.add(ROWS_OUT, self._kept)
        if self._file is not None:
            finished = self._file.close(self._kept)
            metrics.add(BYTES_OUT, finished[0].bytes)
            yield finished

    def _rows(self, names: Sequence[str]) -> Iterator[Rows | Reject]:
        """The rows, which are copied as they are stored, so no other process can read them."""
        read = partial(self._reader.rows, names, self._reading.complete)
        try:
            yield from watched(read, self._copying.known.limits.record_seconds)
        except StuckError as error:
            raise _apart(self._split) from error

    def discard(self) -> None:
        """Closes what a failure left open."""
        if self._file is not None:
            self._file.discard()

    def _copy(self, rows: Rows, places: np.ndarray | None) -> Iterator[pa.RecordBatch]:
        """Writes the rows that stay; what was found of those with a decision."""
        positions = rows.positions if places is None else rows.positions[places]
        if not len(positions):
            return
        decisions, at = self._pending.take(positions.astype(np.uint64) | self._base)
        if decisions is not None:
            whole = np.arange(len(positions)) if places is None else places
            yield self._found(rows, whole[at], decisions)
            removed = at[is_removed(decisions)]
            if len(removed):
                places = np.delete(whole, removed)
        if places is None or len(places):
            self._kept += self._writer().write(rows, places)

    def _writer(self) -> Copier:
        if self._file is None:
            copier = partial(
                self._copying.known.copier, path=self._split.file.path, columns=self._reader.schema
            )
            path = self._copying.path(self._split)
            self._file = OpenFile(self._copying.output, self._copying.run, path, self._reader.schema, copier)
        return self._file.writer

    def _found(self, rows: Rows, places: np.ndarray, decisions: pa.RecordBatch) -> pa.RecordBatch:
        """The decisions, each with what is wanted of its document."""
        wanted = rows.batch.select(self._facts.names_in(rows.batch.schema))
        some = Rows(take_rows(wanted, places), rows.positions[places], rows.raw)
        documents, _ = to_documents(some, self._facts, self._split.file)
        for column in documents.schema.names[1:]:  # the first is the address
            decisions = decisions.append_column(documents.schema.field(column), documents.column(column))
        return decisions.replace_schema_metadata(documents.schema.metadata)

    def _rejects(self, lost: list[Reject]) -> Iterator[Reject]:
        """The documents in damaged parts, read again as the first read did."""
        reader, reading = open_split(
            self._split, self._copying.known, self._copying.first, self._copying.stored
        )
        for rows in reader.rows(reading.names_in(reader.schema), reading.complete):
            if isinstance(rows, Reject):
                continue
            places = document_places(rows, reading, self._split.file)
            for row in range(rows.batch.num_rows) if places is None else places.tolist():
                position = int(rows.positions[row])
                for part in lost:
                    if part.position is not None and part.position <= position < part.position + (
                        part.rows or 0
                    ):
                        reason = f"a column can't be copied: {part.reason}"
                        yield reject_record(self._split.file.path, position, reason, rows.raw(row))


def is_removed(decisions: pa.RecordBatch) -> np.ndarray:
    """bool[rows]: whether the document is removed for another."""
    if schema.SURVIVOR not in decisions.schema.names:
        return np.zeros(decisions.num_rows, bool)
    return decisions.column(schema.SURVIVOR).to_numpy() != decisions.column(schema.NODE).to_numpy()


def _stop(part: Reject, base: np.uint64) -> int:
    """The node behind a part of a file."""
    return int(base) + (part.position or 0) + (part.rows or 0)
