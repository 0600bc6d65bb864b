"""Splits of files: planned, opened, and read as documents and rejects."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.io.careful import carefully, looked_at
from beam_etl.io.changes import change_of, mark_of, reject_changed
from beam_etl.io.choosing_rows import ChosenRows
from beam_etl.io.columns import Columns, Reading, resolve
from beam_etl.io.convert import to_documents
from beam_etl.io.errors import is_content_error, one_line
from beam_etl.io.formats import FileEntry, Format, Split, SplitReader
from beam_etl.io.formats.base import Coding
from beam_etl.io.isolate import FatalError, entering
from beam_etl.io.rejects import Reject, reject_record, reject_rest
from beam_etl.io.transient import retried
from beam_etl.transforms.batches import MAX_ROWS, merge_batches, split_batch

Spare: TypeAlias = Callable[[SplitReader, pa.Schema | None], SplitReader]
"""From a reader and the columns of the whole input: one that gives no others of the rows, in the same order."""

SMALL_BYTES = 1 << 20
"""Batches of one split are merged up to this: copying less costs less than handling it."""


@no_annotations  # type: ignore[untyped-decorator]  # Beam can't check a Protocol
def plan_splits(file: FileEntry, known: Format, split_bytes: int) -> Iterator[Split]:
    """The splits of a file, numbered; the rest of one that is gone, or ends processes, as one that has a problem."""
    plan = partial(
        carefully, looked_at(file), known.limits.record_seconds, partial(known.splits, file, split_bytes)
    )
    rest = Split(file, 0, file.bytes)
    try:
        for split in retried(plan):
            yield split._replace(number=rest.number)
            first = split.stop if split.rows is None else split.first + split.rows
            rest = rest._replace(start=split.stop, first=first, number=rest.number + 1)
        return
    except FileNotFoundError:
        problem = "it is gone"
    except FatalError as error:
        problem = str(error)
    if rest.number == 0 or rest.start < rest.stop:
        yield rest._replace(problem=problem)


def open_split(
    split: Split, known: Format, columns: Columns, stored: pa.Schema | None, spare: Spare | None = None
) -> tuple[SplitReader, Reading]:
    """A split ready to be read, and how its rows become documents.

    Args are those of `read_split`.

    Raises:
      Exception: one that `is_content_error` knows, when the file is damaged or has other columns.
    """
    path = split.file.path
    common = stored or (known.schema(path) or columns.as_stored() if known.inferred else None)
    return choose(known.open(split, common), columns, path, common, spare)


def choose(
    reader: SplitReader, columns: Columns, path: str, common: pa.Schema | None, spare: Spare | None = None
) -> tuple[SplitReader, Reading]:
    """A reader with the rows that `columns.where` and `spare` leave, and how they become documents.

    Args:
      reader, spare: as of `open_split`.
      columns, path, common: as of `resolve`.
    """
    reading = resolve(columns, reader.schema, path, common)
    if columns.where:
        reader = ChosenRows(reader, columns.where, common)
    if spare is not None:
        reader = spare(reader, common)
    if isinstance(reader, Coding):
        reader.prefer(reading.coded, reading.batch_rows)
    return reader, reading


def read_split(
    split: Split,
    known: Format,
    columns: Columns,
    stored: pa.Schema | None = None,
    spare: Spare | None = None,
) -> Iterator[pa.RecordBatch | Reject]:
    """The documents of one split in order, in bounded batches, and what is rejected.

    Where the file is gone or was written since the job began, the last item is a reject that speaks against the whole
    run (changes.CHANGED): what was read may be of either content.

    Args:
      split: of `plan_splits`.
      known: the file's format.
      columns: what is wanted.
      stored: the columns of the whole input, which carried columns are brought to; none or None: the file's.
      spare: what makes of a reader one that leaves out rows that nobody wants.

    Raises:
      OSError: the file can't be read, and that doesn't pass (see `transient`).
    """
    seen = mark_of(split.file)
    try:
        yield from _rejecting_what_ends(
            split, known, partial(_read_split, split, known, columns, stored, spare)
        )
    except FileNotFoundError:
        yield reject_changed(split, "it is gone")
        return
    if how := change_of(split.file, seen):
        yield reject_changed(split, how)


def _rejecting_what_ends(
    split: Split, known: Format, read: Callable[[], Iterator[pa.RecordBatch | Reject]]
) -> Iterator[pa.RecordBatch | Reject]:
    """What `read` gives of a split; a reject for the rest where a process of its own can't read it, either.

    Its bytes are those of the split: where in them the rest begins, only a format knows. Its position is behind the
    last document that was given, where documents have addresses.
    """
    first, behind = split.first, ""
    try:
        for item in retried(partial(carefully, split, known.limits.record_seconds, read)):
            if isinstance(item, pa.RecordBatch) and item.num_rows and schema.ADDRESS in item.schema.names:
                last = int(item.column(schema.ADDRESS)[-1].as_py()) & schema.MAX_POSITION
                first, behind = last + 1, f"behind the document at {last}: "
            yield item
    except FatalError as error:
        yield reject_rest(split.file.path, split.start, split.stop, behind + one_line(error), first)


def _read_split(
    split: Split, known: Format, columns: Columns, stored: pa.Schema | None, spare: Spare | None
) -> Iterator[pa.RecordBatch | Reject]:
    path = split.file.path
    if split.problem:
        yield reject_rest(path, split.start, split.stop, split.problem, split.first)
        return
    try:
        entering("open")
        reader, reading = open_split(split, known, columns, stored, spare)
    except Exception as error:
        if not is_content_error(error):
            raise
        reason = one_line(error).removeprefix(f"{path}: ")
        yield reject_rest(path, split.start, split.stop, reason, split.first, split.rows)
        return
    yield from read_rows(reader, reading, split.file)


def read_rows(reader: SplitReader, reading: Reading, file: FileEntry) -> Iterator[pa.RecordBatch | Reject]:
    """The documents of an opened split, or of whatever gives rows as one, and what is rejected.

    Args:
      reader, reading: of `open_split`.
      file: where the rows are from.
    """
    held: list[pa.RecordBatch] = []
    for found in reader.rows(reading.names_in(reader.schema), reading.complete):
        if isinstance(found, Reject):
            yield found
            continue
        try:
            entering("documents", *found.positions[:1].tolist())
            batch, rejects = to_documents(found, reading, file)
        except FatalError as error:
            records = map(found.raw, range(len(found.positions)))
            pairs = zip(found.positions.tolist(), records, strict=True)
            yield from (reject_record(file.path, position, str(error), record) for position, record in pairs)
            continue
        yield from rejects
        held.append(batch)
        if (
            sum(small.nbytes for small in held) >= SMALL_BYTES
            or sum(small.num_rows for small in held) >= reading.batch_rows
        ):
            yield from bounded(held, reading.batch_rows)
            held = []
    yield from bounded(held, reading.batch_rows)


def tell_split(batch: pa.RecordBatch, address: int) -> pa.RecordBatch:
    """The batch, which tells the address of the split that it is of; see schema.SPLIT_METADATA."""
    told = {**(batch.schema.metadata or {}), schema.SPLIT_METADATA: str(address)}
    return batch.replace_schema_metadata(told)


def bounded(batches: list[pa.RecordBatch], rows: int = MAX_ROWS) -> Iterator[pa.RecordBatch]:
    """Small batches of one split merged; large ones cut."""
    if batches:
        merged = merge_batches(batches)
        yield from split_batch(merged.replace_schema_metadata(batches[0].schema.metadata), rows)
