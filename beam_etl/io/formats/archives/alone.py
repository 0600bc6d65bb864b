"""Members that are a record each, as crawlers write them: read at once, several times as fast as with all care."""

from collections.abc import Generator

from beam_etl.io.errors import is_content_error
from beam_etl.io.formats.archives.heads import FIRST_HEAD_BYTES, Head, Record, head_end, warc_head
from beam_etl.io.formats.archives.members import Members
from beam_etl.io.formats.archives.regular import RegularHeads
from beam_etl.io.formats.archives.starts import ARC_LINE, START_BYTES, starts_at
from beam_etl.io.inflate import QUICK_ERROR
from beam_etl.io.isolate import entering

ALONE_BYTES = 8 << 20
"""Most that a member is decompressed to at once."""

_BETWEEN = b"\r\n\r\n"
"""What a record ends with, behind its block."""


def records_alone(members: Members, stop: int, most: int) -> Generator[Record, None, bool]:
    """The records from where `members` goes next, up to what is odd in any way, or begins at `stop` or behind.

    `members` goes on with that next. A record is only given where the next member begins with one, or there is none:
    so whoever reads the rest with care finds what it would have found from the beginning.

    Args:
      most: bytes of a record's block.

    Returns:
      Whether there may be more such members behind; else to try it again is to decompress everything twice.
    """
    found: Record | None = None
    heads = RegularHeads()
    while members.next(quick=True):
        start = members.start
        data, whole = (b"", False) if found is None and start >= stop else _content(members)
        if not whole or not starts_at(data, 0):
            members.go(start if found is None else found.position)
            return not _is_shared(data)
        if found is not None:
            yield found
        found = _record(start, data, most, heads) if start < stop else None
        if found is None:
            members.go(start)
            return not _is_shared(data)
    if found is not None:
        yield found
    return True


def _content(members: Members) -> tuple[bytes, bool]:
    """What is in a member that was just gone to, and whether that is all: it isn't where there is much, or damage."""
    pieces, size = [], 0
    try:
        entering("member", members.start, 0)
        while piece := members.read():
            pieces.append(piece)
            size += len(piece)
            if size > ALONE_BYTES:
                return b"".join(pieces), False
        return b"".join(pieces), True
    except Exception as error:
        if not (isinstance(error, QUICK_ERROR) or is_content_error(error)):
            raise
        return b"", False


def _record(start: int, data: bytes, most: int, heads: RegularHeads) -> Record | None:
    """The record that a member is; None where it is anything else."""
    head = heads.read(data) or _head(data)
    if head is None or head.length > most:
        return None
    behind = head.size + head.length
    if behind > len(data) or data[behind:].strip(b"\r\n"):
        return None
    return Record(start, head.type, head.text, data[head.size : behind], head.fields)


def _head(data: bytes) -> Head | None:
    end = head_end(data, 0, FIRST_HEAD_BYTES)
    return warc_head(data[:end]) if end is not None and data[:4].upper() == b"WARC" else None


def _is_shared(data: bytes) -> bool:
    """Whether a member has several records, as then the others have, or is of an ARC file, which is read with care."""
    head = _head(data)
    if head is None:
        return ARC_LINE.match(data) is not None
    behind = data[head.size + head.length :][: len(_BETWEEN) + START_BYTES]
    return starts_at(behind.lstrip(_BETWEEN), 0)
