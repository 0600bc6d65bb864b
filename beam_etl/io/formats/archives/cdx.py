"""Indexes of archives, CDX and CDXJ: at which offsets of which files records are that somebody chose."""

import json
import os
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from beam_etl.io.access import Stream
from beam_etl.io.errors import InputError, is_content_error, one_line
from beam_etl.io.formats.base import FileEntry, Split

Places = Mapping[str, Sequence[tuple[int, int]]]
"""Name of a file, without its folder -> offsets of records, ascending, and their stored bytes, 1 where not told."""

_TOLD = 3
"""Names of files that a message tells."""

_OFFSET, _SIZE, _FILE = "V", "S", "g"
"""Of the columns that the first line of a CDX file names by letters."""


_LEGEND = re.compile(r"\s?\W?CDX(?P<delimiter>[^\w\s]|\s)(?P<columns>.*)")
"""The first line of CDX, after the delimiter that all lines have between their columns."""

_AT = "warcfile:"
"""How OpenWayback's CDXJ tells a place: `warcfile:NAME#OFFSET`."""

_NOTE = "!"
"""What lines about a CDXJ file begin with, so that they are sorted to its start."""


class _Entry(NamedTuple):
    file: str
    offset: int
    size: int


def read_cdx(paths: Sequence[str], files: Sequence[FileEntry]) -> Places:
    """The records that indexes name of some files. No others are held: an index may be of a whole crawl.

    Args:
      paths: of indexes, plain, .gz or .zst: CDX with a first line that names its columns, or CDXJ.
      files: the input.

    Source: iipc/warc-specifications, CDX 2006 and 2015, OpenWayback CDXJ 1.0; pywb's fields of CDXJ.

    Raises:
      InputError: an index, or a line of it, can't be read, and the message names it; or they name none of the files.
    """
    found: dict[str, dict[int, int]] = {os.path.basename(file.path): {} for file in files}
    others: list[str] = []
    for path in paths:
        try:
            for entry in _entries(path):
                if (offsets := found.get(name := os.path.basename(entry.file))) is not None:
                    offsets[entry.offset] = max(entry.size, offsets.get(entry.offset, 0))
                elif len(others) < _TOLD and name not in others:
                    others.append(name)
        except InputError:
            raise
        except Exception as error:
            if not (isinstance(error, OSError) or is_content_error(error)):
                raise
            raise InputError(f"{path}: the index can't be read ({one_line(error)})") from error
    if not any(found.values()):
        raise InputError(
            f"the index names none of the input's files; it has {', '.join(others) or 'none'}. Names count without "
            "their folders."
        )
    return {file: sorted(offsets.items()) for file, offsets in found.items() if offsets}


def chosen_bytes(files: Sequence[FileEntry], places: Places) -> int:
    """Stored bytes of these records; of a file of which an index doesn't tell them all, those of the whole file."""
    total = 0
    for file in files:
        untold = any(size == 1 for _, size in _known(file, places))
        total += file.bytes if untold else sum(stop - start for start, stop in _spans(file, places))
    return total


def chosen_places(file: FileEntry, places: Places, start: int = 0, stop: int | None = None) -> int:
    """How many of the records are in a file, or at its offsets from `start` to below `stop`."""
    known = _known(file, places)
    ends = (start, file.bytes if stop is None else min(stop, file.bytes))
    first, last = (bisect_left(known, (end, 0)) for end in ends)
    return last - first


def chosen_splits(file: FileEntry, places: Places, split_bytes: int) -> Iterator[Split]:
    """Splits that have these records alone: one for each run of neighbours, of about `split_bytes` at most.

    One with a problem tells of places behind the end of the file.
    """
    start = stop = -1
    for offset, end in _spans(file, places):
        if start >= 0 and (offset != stop or stop - start >= split_bytes):
            yield Split(file, start, stop, start)
            start = -1
        if start < 0:
            start = offset
        stop = end
    if start >= 0:
        yield Split(file, start, stop, start)
    known = _known(file, places)
    if absent := known[chosen_places(file, places) :]:
        problem = f"the index names {len(absent)} records at or behind its end, the first at {absent[0][0]}"
        yield Split(file, file.bytes, file.bytes, file.bytes, problem=problem)


def chosen_end(split: Split, places: Places) -> int:
    """Where positions of other records begin: at the next place behind a split, or at the end of the file.

    Where an index doesn't tell the stored bytes of a member, the split ends behind the first one, and its records have
    positions behind that.
    """
    known = _known(split.file, places)
    behind = bisect_left(known, (split.stop, 0))
    return known[behind][0] if behind < len(known) else split.file.bytes


def _known(file: FileEntry, places: Places) -> Sequence[tuple[int, int]]:
    return places.get(os.path.basename(file.path), ())


def _spans(file: FileEntry, places: Places) -> Iterator[tuple[int, int]]:
    """Where records begin and end, ascending. None reaches into the next, where lengths are those of unpacked ones."""
    known = _known(file, places)
    there = chosen_places(file, places)
    nexts = (*(offset for offset, _ in known[1:there]), file.bytes)
    for (offset, size), behind in zip(known[:there], nexts, strict=False):
        yield offset, min(offset + size, behind)


def _entries(path: str) -> Iterator[_Entry]:
    legend: re.Match[str] | None = None
    for number, line in enumerate(_lines(path), 1):
        if number == 1 and (legend := _LEGEND.match(line)) is not None:
            continue
        if line.strip() and not line.startswith(_NOTE):
            try:
                yield _of_cdxj(line) if legend is None else _of_cdx(line, **legend.groupdict())
            except (ValueError, KeyError, TypeError) as error:
                what = "CDX, whose first line names its columns, or CDXJ"
                raise InputError(
                    f"{path}, line {number}: no {what} ({type(error).__name__}: {error})"
                ) from error


def _of_cdx(line: str, delimiter: str, columns: str) -> _Entry:
    told = dict(zip(_split(columns, delimiter), _split(line, delimiter), strict=True))
    size = told.get(_SIZE, "-")
    return _checked(_Entry(told[_FILE], int(told[_OFFSET]), int(size) if size.isdigit() else 0))


def _split(line: str, delimiter: str) -> list[str]:
    return line.split() if delimiter == " " else line.strip("\r\n").split(delimiter)


def _of_cdxj(line: str) -> _Entry:
    fields = json.loads(line[line.index("{") :])
    if "filename" not in fields and str(fields.get("ref")).startswith(_AT):
        file, _, offset = fields["ref"].removeprefix(_AT).rpartition("#")
        return _checked(_Entry(file, int(offset), int(fields.get("rle", 0))))
    return _checked(_Entry(fields["filename"], int(fields["offset"]), int(fields.get("length", 0))))


def _checked(entry: _Entry) -> _Entry:
    if entry.offset < 0 or entry.size < 0:
        raise ValueError(f"offset {entry.offset}, length {entry.size}")
    return entry._replace(size=entry.size or 1)


def _lines(path: str) -> Iterator[str]:
    rest = b""
    with Stream(path) as stream:
        while piece := stream.read(1 << 20):
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace")
