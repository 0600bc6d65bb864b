"""Members that are a record each, as crawlers write them: read at once, several times as fast as with all care."""

from collections.abc import Iterator

from beam_etl.io.errors import is_content_error
from beam_etl.io.formats.archives.heads import FIRST_HEAD_BYTES, Record, head_end, warc_head
from beam_etl.io.formats.archives.members import Members
from beam_etl.io.formats.archives.starts import starts_at
from beam_etl.io.isolate import entering

ALONE_BYTES = 8 << 20
"""Most that a member is decompressed to at once."""


def records_alone(members: Members, stop: int, most: int) -> Iterator[Record]:
    """The records from where `members` goes next, up to what is odd in any way, or begins at `stop` or behind.

    `members` goes on with that next. A record is only given where the next member begins with one, or there is none:
    so whoever reads the rest with care finds what it would have found from the beginning.

    Args:
      most: bytes of a record's block.
    """
    found: Record | None = None
    while members.next():
        start = members.start
        data = None if found is None and start >= stop else _whole(members)
        if data is None or not starts_at(data, 0):
            members.go(start if found is None else found.position)
            return
        if found is not None:
            yield found
        found = _record(start, data, most) if start < stop else None
        if found is None:
            members.go(start)
            return
    if found is not None:
        yield found


def _whole(members: Members) -> bytes | None:
    """All of a member that was just gone to; None where it is too long, or can't be read."""
    try:
        entering("member", members.start, 0)
        data = members.read()
        while piece := members.read():
            data += piece
            if len(data) > ALONE_BYTES:
                return None
        return data
    except Exception as error:
        if not is_content_error(error):
            raise
        return None


def _record(start: int, data: bytes, most: int) -> Record | None:
    """The record that a member is; None where it is anything else."""
    end = head_end(data, 0, FIRST_HEAD_BYTES)
    head = warc_head(data[:end]) if end is not None and data[:4].upper() == b"WARC" else None
    if head is None or head.length > most:
        return None
    behind = head.size + head.length
    if behind > len(data) or data[behind:].strip(b"\r\n"):
        return None
    return Record(start, head.type, head.text, data[head.size : behind])
