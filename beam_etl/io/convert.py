"""Stored rows to documents: the shared columns in their types, and rejects of rows that can't be one."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.io.columns import Carried, Reading, Source
from beam_etl.io.errors import CONTENT_ERRORS, one_line
from beam_etl.io.formats.base import FileEntry, Rows, from_columns
from beam_etl.io.formats.nested import parts_of
from beam_etl.io.isolate import failures
from beam_etl.io.json_text import plain_value
from beam_etl.io.rejects import Reject, reject_record
from beam_etl.io.times import read_dates, read_times

NULL_TEXT = "null text"
NOT_UTF8 = "not UTF-8"

Bad = dict[int, str]
"""Rows of a batch that can't be documents, and why: the first reason found."""


def to_documents(rows: Rows, reading: Reading, file: FileEntry) -> tuple[pa.RecordBatch, list[Reject]]:
    """The documents among some rows of a file, and what the others are rejected for.

    Args:
      rows: the stored columns `reading.names`, or those of them that the file has.
      reading: of this file.
      file: where the rows are from.

    Returns:
      A batch as Columns describes it, whose schema metadata names the file; and a reject for each row left
      out: bytes in a text that are not UTF-8, null text where text is needed, a date or time that can't be
      read. A null date stays null, and an empty one becomes null.
    """
    stored, bad = _checked(rows.batch, reading)
    rejects: list[Reject] = []
    if bad:
        good, rejects = _part(rows, bad, file)
        stored = {name: values.take(pa.array(good)) for name, values in stored.items()}
        rows, bad = _some(rows, good), {}
    columns: dict[str, pa.Array] = {}
    if reading.addressed:
        columns[schema.ADDRESS] = _addresses(file.number, rows.positions)
    for source in reading.sources:
        columns[source.column] = _shared(source, stored, rows.positions, file, bad, reading.time_unit)
        if source.column == schema.TEXT and source.stored is not None:
            _check_text(columns[source.column], reading.limits.record_bytes, bad)
    for carried in reading.carried:
        is_there = carried.stored in stored
        values = stored[carried.stored] if is_there else pa.nulls(len(rows.positions), carried.type)
        columns[carried.column] = _widen(carried, values, bad)
    documents = from_columns(columns, len(rows.positions)).replace_schema_metadata(
        {schema.FILE_METADATA: file.path}
    )
    if not bad:
        return documents, rejects
    good, more = _part(rows, bad, file)
    return documents.take(pa.array(good)), rejects + more


def document_places(rows: Rows, reading: Reading, file: FileEntry) -> np.ndarray | None:
    """Which rows `to_documents` makes documents of, without making them.

    Args:
      rows: as of `to_documents`; columns that `reading` doesn't name are not looked at.
      reading, file: the same.

    Returns:
      int64, ascending: places in the batch; None for all of them.
    """
    wanted = rows.batch.select(reading.names_in(rows.batch.schema))
    stored, unreadable = _checked(wanted, reading)
    places = np.delete(np.arange(len(rows.positions)), list(unreadable))
    if unreadable:
        stored = {name: values.take(pa.array(places)) for name, values in stored.items()}
    bad: Bad = {}
    for source in reading.sources:
        if source.stored is None:
            continue
        if source.column == schema.TEXT:
            _check_text(stored[source.names[0]], reading.limits.record_bytes, bad)
        elif source.column in (schema.DATE, schema.TIME):
            _shared(source, stored, rows.positions[places], file, bad, reading.time_unit)
    for carried in reading.carried:
        if carried.stored in stored:
            _widen(carried, stored[carried.stored], bad)
    return np.delete(places, list(bad)) if unreadable or bad else None


def _checked(batch: pa.RecordBatch, reading: Reading) -> tuple[dict[str, pa.Array], Bad]:
    """The stored columns, those of shared ones as plain strings, and the rows that have bytes which are not UTF-8."""
    bad: Bad = {}
    stored = {name: batch.column(name) for name in batch.schema.names}
    for source in reading.sources:
        for name in source.names:
            stored[name] = _plain(stored[name])
    for name, values in stored.items():
        _check_unicode(name, values, bad)
    return stored, bad


def _plain(values: pa.Array) -> pa.Array:
    """Without a dictionary or views, and bytes as strings that are not checked yet."""
    if pa.types.is_dictionary(values.type):
        return _plain(values.dictionary_decode())
    if pa.types.is_binary(values.type):
        return values.view(pa.string())
    if pa.types.is_large_binary(values.type):
        return values.view(pa.large_string())
    if pa.types.is_binary_view(values.type) or pa.types.is_string_view(values.type):
        return values.cast(pa.large_binary()).view(pa.large_string())
    return values.cast(pa.string()) if pa.types.is_null(values.type) else values


def _check_unicode(name: str, values: pa.Array, bad: Bad) -> None:
    def check(start: int, stop: int) -> None:
        _validate(values.slice(start, stop - start))

    if _has_text(values.type):
        for row, _ in failures(check, 0, len(values)):
            bad.setdefault(row, f"column {name!r}: {NOT_UTF8}")


def _validate(values: pa.Array) -> None:
    """Raises where a text is not UTF-8. Part by part: of a nested slice Arrow checks what lies around it too."""
    if isinstance(values, pa.DictionaryArray):
        try:
            _validate(values.dictionary)
        except CONTENT_ERRORS:  # perhaps in a value that no row has
            _validate(values.dictionary.take(values.indices.unique()))
    elif parts := parts_of(values):
        for part in parts:
            _validate(part)
    else:
        values.validate(full=True)


def _has_text(type_: pa.DataType) -> bool:
    if isinstance(type_, pa.BaseExtensionType):
        return _has_text(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return _has_text(type_.value_type)
    if pa.types.is_nested(type_):
        return any(_has_text(type_.field(place).type) for place in range(type_.num_fields))
    return bool(
        pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    )


def _part(rows: Rows, bad: Bad, file: FileEntry) -> tuple[np.ndarray, list[Reject]]:
    """The places of the good rows, and the rejects of the bad ones."""
    good = np.delete(np.arange(len(rows.positions)), list(bad))
    rejects = [
        reject_record(file.path, int(rows.positions[row]), bad[row], rows.raw(row)) for row in sorted(bad)
    ]
    return good, rejects


def _some(rows: Rows, which: np.ndarray) -> Rows:
    """Some of the rows, for their positions and bytes."""
    return Rows(rows.batch, rows.positions[which], lambda row: rows.raw(int(which[row])))


def _addresses(number: int, positions: np.ndarray) -> pa.Array:
    return pa.array(positions.view(np.uint64) | np.uint64(number << schema.POSITION_BITS))


def _shared(
    source: Source,
    stored: dict[str, pa.Array],
    positions: np.ndarray,
    file: FileEntry,
    bad: Bad,
    time_unit: str | None,
) -> pa.Array:
    """A needed column in its type."""
    type_ = schema.DOCUMENT.field(source.column).type
    if source.column == schema.ID:
        made = pc.binary_join_element_wise(f"{file.path}#", pa.array(positions).cast(pa.string()), "")
        return made if source.stored is None else pc.coalesce(stored[source.stored].cast(type_), made)
    if source.stored is None:
        return pa.nulls(len(positions), type_)
    values = stored[source.names[0]]
    if source.others:
        values = pc.coalesce(*(stored[name].cast(type_) for name in source.names))
    if source.derived:
        from beam_etl.kernels.domains import registered_domain  # most jobs need no suffix list

        return registered_domain(values.cast(pa.string()), source.private_suffixes).cast(type_)
    if source.column in (schema.DATE, schema.TIME):
        result, unreadable = (
            read_dates(values) if source.column == schema.DATE else read_times(values, time_unit)
        )
        for row in () if source.optional else unreadable:
            bad.setdefault(row, f"column {source.stored!r}: no {source.column} in {_shown(values[row])}")
        return result
    return values.cast(type_)


def _check_text(values: pa.Array, most: int, bad: Bad) -> None:
    """Text is there, and no longer than a record may be."""
    if values.null_count:
        for row in np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)).tolist():
            bad.setdefault(row, NULL_TEXT)
    if values.nbytes > most:
        lengths = pc.fill_null(pc.binary_length(values), 0).to_numpy()
        for row in np.flatnonzero(lengths > most).tolist():
            reason = f"a text of {lengths[row]} bytes: over the limit of {most}"
            bad.setdefault(row, reason)


def _widen(carried: Carried, values: pa.Array, bad: Bad) -> pa.Array:
    """A carried column in the type that it has in the whole input."""
    if values.type == carried.type:
        return values
    if carried.coded:
        return _coded(values, carried.type)
    for row, error in failures(lambda i, j: values.slice(i, j - i).cast(carried.type), 0, len(values)):
        bad.setdefault(row, f"column {carried.stored!r}: {one_line(error)}")
    return values.cast(carried.type, safe=False)


def _coded(values: pa.Array, kind: pa.DictionaryType) -> pa.Array:
    """Values as a dictionary; what is one already isn't looked at row by row."""
    if not pa.types.is_dictionary(values.type):
        values = values.cast(kind.value_type).dictionary_encode()
    indices, texts = values.indices.cast(kind.index_type), values.dictionary.cast(kind.value_type)
    return pa.DictionaryArray.from_arrays(indices, texts, ordered=kind.ordered)


def _shown(value: pa.Scalar) -> str:
    text = str(plain_value(value))
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
