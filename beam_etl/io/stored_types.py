"""What a shared column can be read from: the types of stored columns, and what is said where one doesn't fit."""

from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa

from beam_etl import schema
from beam_etl.io.errors import InputError
from beam_etl.io.formats.base import NO_ARROW_TYPE
from beam_etl.io.times import is_number
from beam_etl.kernels.utf8 import is_byte_string


class Read(NamedTuple):
    """What a shared column can be read from."""

    accepts: Callable[[pa.DataType], bool]
    words: str
    """The same, for messages."""


def is_text(type_: pa.DataType) -> bool:
    """Strings, or bytes that have to be UTF-8; also in a dictionary, or never anything but null."""
    if pa.types.is_dictionary(type_):
        return is_text(type_.value_type)
    return is_byte_string(type_) or bool(pa.types.is_null(type_))


def _is_time(type_: pa.DataType) -> bool:
    return is_text(type_) or bool(pa.types.is_timestamp(type_))


_TEXT = Read(is_text, "text")
READS = {
    schema.ID: Read(
        lambda type_: is_text(type_) or bool(pa.types.is_integer(type_)), "text or whole numbers"
    ),
    schema.URL: _TEXT,
    schema.DOMAIN: _TEXT,
    schema.LANGUAGE: _TEXT,
    schema.DATE: Read(
        lambda type_: _is_time(type_) or bool(pa.types.is_date(type_)),
        "a date, a timestamp, or ISO 8601 text",
    ),
    schema.TIME: Read(
        lambda type_: _is_time(type_) or bool(pa.types.is_date(type_)) or is_number(type_),
        "a timestamp, a date, ISO 8601 text, or with --time_unit a number",
    ),
    schema.TEXT: _TEXT,
}
"""For each shared column, what it can be read from."""


def check_type(column: str, found: pa.Field, path: str, time_unit: str | None) -> None:
    """Raises an InputError where a shared column can't be read from a stored one."""
    check_readable(found, path)
    if column == schema.TIME and is_number(found.type) and time_unit is None:
        raise InputError(
            f"{path}: column {found.name!r} is {found.type}. "
            f"Say by --time_unit what it counts since 1970: s, ms, us or ns"
        )
    if not READS[column].accepts(found.type):
        raise InputError(
            f"{path}: column {found.name!r} is {found.type}; {column} is read from {READS[column].words}. "
            f"Use --{column}_column=NAME for another column."
        )


def check_readable(found: pa.Field, path: str) -> None:
    """Raises an InputError where Arrow has no type for what is stored."""
    if found.metadata and NO_ARROW_TYPE in found.metadata:
        raise InputError(
            f"{path}: column {found.name!r} can't be read: {found.metadata[NO_ARROW_TYPE].decode()}"
        )


def check_widens(found: pa.Field, type_: pa.DataType, path: str) -> None:
    """Raises an InputError where a column's type in one file doesn't fit into the type that it has in all."""
    if found.type != type_ and widest(found.type, type_) != type_:
        raise InputError(f"{path}: column {found.name!r} is {found.type}, in other files it is {type_}")


def widest(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """A type that holds the values of both; None if there is none."""
    try:
        return (
            pa.unify_schemas(
                [pa.schema([("", first)]), pa.schema([("", second)])], promote_options="permissive"
            )
            .field(0)
            .type
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return None
