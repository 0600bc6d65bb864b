"""Blocklists of hosts and URLs, of any size."""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.io.access import COMPRESSIONS, Stream, compression
from beam_etl.io.errors import CONTENT_ERRORS, InputError
from beam_etl.io.files import Found, find_files
from beam_etl.io.item_lists import COMMENT, FILE_MARK, read_items
from beam_etl.kernels.document_rules import DocumentRule, Listed, NotBlocked, NotListed
from beam_etl.kernels.hashing import Hashes, hash_values
from beam_etl.kernels.process import once_per_process

_log = logging.getLogger(__name__)

SMALL_BYTES = 1 << 20
"""Of a list that travels with the job. A larger one is read by each process, which holds 8 bytes an item."""

PIECE_BYTES = 4 << 20
"""Of a list, read and hashed at once."""

NEW_LINE = b"\n"
_URL = "://"
_NO_HOST = r"[/*?@\s]|^[^\[]*:|\]:"
"""What a host doesn't have: a path, a wildcard, a port."""
_LISTS = (".txt", ".csv", ".list", *COMPRESSIONS)
"""Suffixes that no host has."""
_ITEMS = "a host is written as a.example, a URL with its scheme, as https://a.example/page"


def blocklist_rules(given: Iterable[str]) -> tuple[DocumentRule, ...]:
    """Rules that a URL keeps which is on no list: none where nothing is listed.

    Args:
      given: hosts, each with those below it, and URLs, exact; or `@PATH`, a file with one a line, without empty ones
        and comments. One of over SMALL_BYTES, or compressed (.gz, .zst), has to be where all workers can read it.

    Raises:
      InputError: there is no such file, or it isn't UTF-8; or what isn't from a file is neither a host nor a URL.
    """
    given = tuple(given)
    files = {item: _file(item[1:]) for item in given if item.startswith(FILE_MARK)}
    large = {item: file for item, file in files.items() if compression(file[0]) or file[1] > SMALL_BYTES}
    small = tuple(name for item in given if item not in large for name in _checked(item))
    rules: list[DocumentRule] = []
    if small:
        urls = frozenset(item for item in small if _URL in item)
        rules.append(
            NotBlocked(frozenset(item.lower().strip(".") for item in small if _URL not in item), urls)
        )
    for path, *what_it_is in large.values():
        listed = once_per_process(read_listed, path, *what_it_is)
        listed.get()  # what is wrong with it is told before the job starts
        rules.append(NotListed(listed))
    return tuple(rules)


def read_listed(path: str, *what_it_is: int | str) -> Listed:
    """A file of hosts and URLs as hashes; in memory there are PIECE_BYTES of it at a time.

    Args:
      path: of the file.
      what_it_is: bytes, time and ETag as the launcher saw them, by which a process that has read it knows it from a
        later one; none where that doesn't matter.

    Raises:
      InputError: there is no such file, it can't be decompressed, isn't UTF-8, or isn't the one that the launcher saw.
    """
    hosts: list[Hashes] = [np.empty(0, np.uint64)]
    urls: list[Hashes] = [np.empty(0, np.uint64)]
    unlike = 0
    try:
        for lines in _lines(path):
            items = pc.utf8_trim_whitespace(lines)
            items = items.filter(pc.invert(pc.or_(pc.equal(items, ""), pc.starts_with(items, COMMENT))))
            is_url = pc.match_substring(items, _URL)
            urls.append(hash_values(items.filter(is_url)))
            names = items.filter(pc.invert(is_url))
            hosts.append(hash_values(pc.utf8_trim(pc.utf8_lower(names), ".")))
            unlike += pc.sum(pc.match_substring_regex(names, _NO_HOST)).as_py() or 0
    except (OSError, *CONTENT_ERRORS) as error:
        raise _no_list(path, error) from error
    if what_it_is and _file(path)[1:] != what_it_is:
        raise InputError(f"{path}: the list changed while the job ran. Run again.")
    _tell_unlike(path, unlike)
    return Listed(_ascending(hosts), _ascending(urls))


def _checked(given: str) -> tuple[str, ...]:
    """The items of one that is given."""
    items = read_items((given,))
    unlike = [item for item in items if _URL not in item and re.search(_NO_HOST, item)]
    if given.startswith(FILE_MARK):
        _tell_unlike(given.removeprefix(FILE_MARK), len(unlike))
    elif os.path.isfile(given):
        told = f"{given!r} is a file. Write @{given} to block what it lists."
        if not unlike and not given.lower().endswith(_LISTS):
            _log.warning("%s It is taken for a host.", told)
            return items
        raise InputError(told)
    elif unlike:
        raise InputError(f"{unlike[0]!r} would block nothing: {_ITEMS}")
    return items


@cache
def _tell_unlike(path: str, lines: int) -> None:
    """Once a process, which may read a list several times."""
    if lines:
        _log.warning("%s: %d of its lines block nothing: %s", path, lines, _ITEMS)


def _ascending(parts: list[Hashes]) -> Hashes:
    """All of them once. (np.unique of so many takes ten times as long.)"""
    hashes = np.concatenate(parts)
    hashes.sort()
    return hashes[np.concatenate([[True], hashes[1:] != hashes[:-1]])[: hashes.size]]


def _file(path: str) -> Found:
    """Its path wherever a worker runs, and what changes with its content.

    Raises:
      InputError: there is none, or it is a glob or folder, which would stand for several.
    """
    try:
        found = find_files((path,), "text")
    except InputError as error:
        raise _no_list(path, error) from error
    [(only, told), *others] = found.items()
    if others or only not in (path, os.path.abspath(path.removeprefix("file://"))):
        raise InputError(
            f"{path}: a list is one file, and this stands for {len(found)}, as {only}. Give each with its @."
        )
    return only, *told


def _no_list(path: str, error: Exception) -> InputError:
    return InputError(f"{path}: no list with an item a line ({error})")


def _lines(path: str) -> Iterator[pa.LargeStringArray]:
    """The lines of a file, each with what ends it.

    Raises:
      pa.ArrowInvalid: it isn't UTF-8.
    """
    with Stream(path) as stream:
        held = b""
        while piece := stream.read(PIECE_BYTES):
            whole, mark, rest = piece.rpartition(NEW_LINE)
            if mark:
                yield _cut(held + whole + mark)
                held = rest
            else:
                held += piece
        yield _cut(held)


def _cut(lines: bytes) -> pa.LargeStringArray:
    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == NEW_LINE[0]) + 1
    rest = [len(lines)] if not lines.endswith(NEW_LINE) else []
    edges = np.concatenate([[0], ends, rest]).astype(np.int64)
    found = pa.LargeStringArray.from_buffers(edges.size - 1, pa.py_buffer(edges), pa.py_buffer(lines))
    found.validate(full=True)
    return found
