"""What a launcher looks at before a job starts: whether some of the files have what the job needs."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import pyarrow as pa

from beam_etl.io.careful import carefully, looked_at
from beam_etl.io.columns import ALL, Columns, check_condition, resolve
from beam_etl.io.errors import InputError, is_content_error, one_line
from beam_etl.io.formats import FileEntry, Format
from beam_etl.io.stored_types import widest

LOOKED_AT = 8
"""How many files are looked at: the first, the last, and some between."""

ALL_LOOKED_AT = 1000
"""Up to so many files are all looked at where every column is carried and the files tell theirs."""

Item = TypeVar("Item")


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` items: the first, the last, and some evenly between."""
    if len(items) <= most:
        return list(items)
    return [items[place * (len(items) - 1) // (most - 1)] for place in range(most)]


def check_files(
    files: Sequence[FileEntry], known: Format, columns: Columns, tolerated: float = 0.0
) -> pa.Schema:
    """The stored columns of the input, as some of its files tell, when they have what `columns` asks for.

    Empty and damaged files are passed over, because the job rejects what it can't read; when all are empty,
    the result has no column. So are files that lack a column, or have it of another type, where they are few enough.

    Args:
      files: the input.
      known: their format.
      columns: what is asked for.
      tolerated: part of the bytes of the files that are looked at, 0 to 1, that may be of files without it.

    Raises:
      InputError: a column is absent or can't be read, or one has types that don't go together; or all files
        that were looked at are damaged, or of another format.
    """
    filled = [file for file in files if file.bytes]
    all_tell = columns.carry == ALL and not known.inferred and len(filled) <= ALL_LOOKED_AT
    looked_at = filled if all_tell else evenly(filled, LOOKED_AT)
    schemas, misfits = _stored_schemas(looked_at, known)
    common, _ = _merge(schemas)
    needed: set[str] = set()
    alone = replace(columns, where=None)  # a condition is on the columns of all files
    for path, stored in list(schemas.items()):
        if stored or not known.inferred:  # else there is no record that tells
            try:
                reading = resolve(alone, _completed(stored, common) if known.inferred else stored, path)
                needed.update(name for source in reading.sources for name in source.names)
            except InputError as error:
                misfits[path] = error
                del schemas[path]
    _judge_misfits(misfits, looked_at, tolerated if schemas else 0.0)
    common, conflicts = _merge(schemas)
    if any(schemas.values()):
        check_condition(columns.where, common, next(path for path, stored in schemas.items() if stored))
    for name, conflict in conflicts.items():
        if known.inferred and name in needed:
            raise InputError(
                f"{conflict}: column {name!r} can't be read as both. Read these files one by one."
            )
        if columns.carry == ALL or name in columns.carry:
            raise InputError(f"{conflict}: column {name!r} can't be carried along")
    return common


def _judge_misfits(misfits: Mapping[str, InputError], files: Sequence[FileEntry], tolerated: float) -> None:
    """Raises what is wrong with the first file that doesn't fit, where there are too many."""
    size = sum(file.bytes for file in files if file.path in misfits)
    if size > tolerated * sum(file.bytes for file in files):
        raise next(iter(misfits.values()))
    for error in misfits.values():
        logging.getLogger(__name__).warning("%s: the file will be rejected", error)


def _stored_schemas(
    files: Sequence[FileEntry], known: Format
) -> tuple[dict[str, pa.Schema], dict[str, InputError]]:
    """The stored columns of those files that can be read, by path; and what the user can change of others."""
    schemas: dict[str, pa.Schema] = {}
    damaged: dict[str, str] = {}
    misfits: dict[str, InputError] = {}
    for file in files:
        try:
            look = partial(_schema, known, file.path)
            (schemas[file.path],) = carefully(looked_at(file), known.limits.record_seconds, look)
        except InputError as error:
            misfits[file.path] = error
        except Exception as error:
            if not is_content_error(error):
                raise
            damaged[file.path] = one_line(error)
    if damaged and not schemas and not misfits:
        path, reason = next(iter(damaged.items()))
        others = f", nor can {len(damaged) - 1} others that were looked at" if len(damaged) > 1 else ""
        raise InputError(
            f"{path} can't be read as {known.name} ({reason}){others}. "
            "Check what the files are, and use --format=NAME for another format."
        )
    for path, reason in damaged.items():
        logging.getLogger(__name__).warning("%s can't be read (%s): it will be rejected", path, reason)
    return schemas, misfits


def _schema(known: Format, path: str) -> Iterator[pa.Schema]:
    yield known.schema(path)


def _completed(stored: pa.Schema, common: pa.Schema) -> pa.Schema:
    """The columns of all files, with the types that one file has: its records may lack some at first."""
    own = {found.name: found for found in stored}
    return pa.schema([own.get(found.name, found) for found in common])


def _merge(schemas: dict[str, pa.Schema]) -> tuple[pa.Schema, dict[str, str]]:
    """All columns, in the order in which files have them, and which have types that don't go together."""
    fields: dict[str, tuple[str, pa.Field]] = {}
    conflicts: dict[str, str] = {}
    for path, stored in schemas.items():
        for found in stored:
            first, known = fields.setdefault(found.name, (path, found))
            type_ = widest(known.type, found.type)
            if type_ is None:
                conflicts[found.name] = f"{path} has {found.type}, {first} has {known.type}"
            elif type_ != known.type:
                fields[found.name] = first, known.with_type(type_)
    return pa.schema([known for _, known in fields.values()]), conflicts
