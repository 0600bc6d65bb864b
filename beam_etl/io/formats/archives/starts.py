"""How records of WARC and ARC begin, and where the next one does in bytes that are damaged."""

import re

START_BYTES = 8 << 10
"""A first line that is longer is no record's."""

_WARC = rb"(?i:WARC)/\d"

_ARC = (
    rb"([a-zA-Z][a-zA-Z0-9+.-]*:[^\r\n]*?) (\S+) (\d{14}|\d{12}|-) (\S+)"
    rb"(?: (\S+) (\S+) (\S+) (\S+) (\S+))? (\d{1,18})\r?\n"
)
"""URL, IP, date, content type; in version 2 status, checksum, location, offset, file; length, as MAX_DIGITS."""

_START = re.compile(rb"%s|%s" % (_WARC, _ARC))
_NEXT = re.compile(rb"\n(?=%s)" % _WARC)
_NEXT_ARC = re.compile(rb"\n(?=%s)" % _ARC)

ARC_LINE = re.compile(_ARC)


def is_start(data: bytes) -> bool:
    """Whether a record begins here, perhaps behind empty lines."""
    return _START.match(data[: 2 * START_BYTES].lstrip(b"\r\n")) is not None


def starts_at(data: bytes | bytearray, at: int) -> bool:
    """Whether a record begins at just this place."""
    return _START.match(data, at) is not None


def next_start(data: bytes | bytearray, start: int, stop: int, arc: bool) -> int | None:
    """The first place in [start, stop) at which a line begins a record; None for none.

    Args:
      data: some bytes.
      start, stop: where to look.
      arc: for records of ARC, which begin with a line that other text may have, too.
    """
    found = (_NEXT_ARC if arc else _NEXT).search(data, start, stop)
    return found.end() if found else None
