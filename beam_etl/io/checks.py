"""What a launcher looks at before a job starts: whether some of the files have what the job needs."""

import logging
from collections.abc import Sequence
from typing import TypeVar

import pyarrow as pa

from beam_etl.io.columns import ALL, Columns, resolve, widest
from beam_etl.io.errors import InputError, is_content_error, one_line
from beam_etl.io.formats import FileEntry, Format

LOOKED_AT = 8
"""How many files are looked at: the first, the last, and some between."""

Item = TypeVar("Item")


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` items: the first, the last, and some evenly between."""
    if len(items) <= most:
        return list(items)
    return [items[place * (len(items) - 1) // (most - 1)] for place in range(most)]


def check_files(files: Sequence[FileEntry], known: Format, columns: Columns) -> pa.Schema:
    """The stored columns of the input, as some of its files tell, when they have what `columns` asks for.

    Empty and damaged files are passed over, because the job rejects what it can't read; when there are no
    others, the result has no column.

    Raises:
      InputError: a column is absent or can't be read, or a carried column has types that don't go together.
    """
    schemas: dict[str, pa.Schema] = {}
    for file in evenly([file for file in files if file.bytes], LOOKED_AT):
        try:
            schemas[file.path] = known.schema(file.path)
        except InputError:
            raise
        except Exception as error:
            if not is_content_error(error):
                raise
            logging.getLogger(__name__).warning(
                "%s can't be read (%s): it will be rejected", file.path, one_line(error)
            )
    common, conflicts = _merge(schemas)
    for path, stored in schemas.items():
        if stored or not known.inferred:  # else there is no record that tells
            resolve(columns, common if known.inferred else stored, path)
    for name, conflict in conflicts.items():
        if columns.carry == ALL or name in columns.carry:
            raise InputError(f"{conflict}: column {name!r} can't be carried along")
    return common


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
