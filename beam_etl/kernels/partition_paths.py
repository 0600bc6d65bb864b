"""Folders of partitions, as Hive names them: `date=2026-01-01/url_bucket=00003`. Whatever the value, one safe folder.

DuckDB, Polars and Spark decode what is escaped here, and read NULL of a partition called NULL_PARTITION.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

from beam_etl.kernels.partitioning import Level, Partitioning

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""The folder of rows whose value is null."""

NUMBER_DIGITS = 5
"""Of bucket and range numbers at least, so that names sort as numbers do."""

MAX_FOLDER_BYTES = 255
"""Of a folder's name, on usual filesystems."""

_PLAIN = re.compile(rb"[A-Za-z0-9._~-]")


class PartitionNameError(ValueError):
    """A value is too long to name a folder."""


def escape(text: str) -> str:
    """Percent-encoded UTF-8, but for ASCII letters, digits and `-._~`."""
    return "".join(
        chr(byte) if _PLAIN.match(bytes((byte,))) else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogatepass")
    )


def unescape(text: str) -> str:
    """What `escape` was given, of what it or Hive gave."""
    return unquote(text, errors="surrogatepass")


def number_text(number: int) -> str:
    """The value of a bucket or a range."""
    return f"{number:0{NUMBER_DIGITS}d}"


def folder_of(partitioning: Partitioning, values: Sequence[str | None]) -> str:
    """The folders of a partition below its table's, one a level.

    Args:
      partitioning: names the levels.
      values: of each level, as text; None for null.

    Raises:
      PartitionNameError: a name would be longer than filesystems allow.
    """
    return "/".join(_folder(level, value) for level, value in zip(partitioning.by, values, strict=True))


def _folder(level: Level, value: str | None) -> str:
    if value is None:
        text = NULL_PARTITION
    elif value == NULL_PARTITION:
        text = f"%5F{value[1:]}"
    else:
        text = escape(value)
    name = escape(level.name)
    folder = f"{f'%5F{name[1:]}' if name[0] == '_' else name}={text}"
    if len(folder) > MAX_FOLDER_BYTES:
        raise PartitionNameError(
            f"{level.name}: a value of {len(value or '')} characters, {value or '':.40}..., makes a folder's name of "
            f"{len(folder)} bytes; {MAX_FOLDER_BYTES} are allowed. Partition by hash of this column."
        )
    return folder


def values_of(partitioning: Partitioning, path: str) -> tuple[str | None, ...]:
    """The values of the partition that a file belongs to: what `folder_of` was given.

    Args:
      partitioning: of its table.
      path: of the file below the dataset's folder. A table by one number may have no folders: then the file's name is
        `part-NUMBER-...`.

    Raises:
      ValueError: the path isn't one of these.
    """
    folders = path.split("/")[1:-1]
    if not folders and len(partitioning.by) == 1 and partitioning.by[0].numbered:
        return (number_text(int(path.rpartition("/")[2].split("-")[1])),)
    if len(folders) != len(partitioning.by):
        raise ValueError(f"{path}: no partition by {', '.join(partitioning.names)}")
    return tuple(_value(level, folder) for level, folder in zip(partitioning.by, folders, strict=True))


def _value(level: Level, folder: str) -> str | None:
    name, found, text = folder.partition("=")
    if not found or unescape(name) != level.name:
        raise ValueError(f"{folder}: no partition by {level.name}")
    return None if text == NULL_PARTITION else unescape(text)
