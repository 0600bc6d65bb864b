"""The file formats, one module each, found by name or by the suffix of a path."""

from beam_etl.io.access import compression
from beam_etl.io.errors import InputError
from beam_etl.io.formats.avro import Avro
from beam_etl.io.formats.base import Copier, FileEntry, Format, Rows, Split, SplitReader, Writer
from beam_etl.io.formats.jsonl import JsonLines
from beam_etl.io.formats.parquet import Parquet
from beam_etl.io.formats.text import TextFiles, TextLines
from beam_etl.io.formats.warc import Warc, Wet

__all__ = [
    "FORMATS",
    "Copier",
    "FileEntry",
    "Format",
    "Rows",
    "Split",
    "SplitReader",
    "Writer",
    "format_named",
    "format_of",
    "known_suffixes",
]

FORMATS: tuple[Format, ...] = (Parquet(), Avro(), JsonLines(), TextLines(), TextFiles(), Warc(), Wet())

_BY_NAME = {known.name: known for known in FORMATS}
_BY_SUFFIX = {suffix: known for known in FORMATS for suffix in known.suffixes}


def format_named(name: str) -> Format:
    """The format that `--format` calls `name`.

    Raises:
      InputError: there is none. The message names those that there are.
    """
    if name not in _BY_NAME:
        raise InputError(f"no format {name!r}; there are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def format_of(path: str) -> Format | None:
    """The format that a path's suffix tells, in any case; None when it tells none."""
    name = path.rsplit("/", 1)[-1].lower()
    packed = compression(name)
    stem = name[: len(name) - len(packed)]
    dot = stem.rfind(".")
    found = _BY_SUFFIX.get(stem[dot:]) if dot >= 0 else None
    return None if found is None or (packed and not found.compressible) else found


def known_suffixes() -> str:
    """All suffixes, for messages."""
    return ", ".join(_BY_SUFFIX)
