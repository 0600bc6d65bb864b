"""What the lines in front of a record's block say."""

import re
from collections.abc import Mapping
from typing import NamedTuple

FIRST_HEAD_BYTES = 4 << 10
"""Looked at first: most heads take a quarter of it."""

MAX_HEAD_BYTES = 256 << 10
"""Of the lines in front of a record's block."""

MAX_DIGITS = 18
"""Of a length: a longer one is no file's."""

_GAPS = (b"\r\n\r\n", b"\n\n", b"\n\r\n")
_FOLDED = re.compile(rb"\r?\n[ \t]+")


class Record(NamedTuple):
    """A record that was found whole."""

    position: int
    """See RecordBytes."""
    type: str
    """In lower case: response, request, ..., as the record says; ARC_HEADER."""
    head: bytes
    """Its lines, with the empty one, those that go on in the next one joined; of ARC, its only line."""
    block: bytes
    fields: Mapping[bytes, bytes] | None = None
    """See Head."""

    @property
    def raw(self) -> bytes:
        """For a reject."""
        return self.head + self.block


class Head(NamedTuple):
    """The lines of a record."""

    type: str
    text: bytes
    size: int
    """Bytes as they are stored."""
    length: int
    """Bytes of the block, as it says."""
    fields: Mapping[bytes, bytes] | None = None
    """Its lines by name, where it is regular: see RegularHeads."""


def head_end(data: bytes | bytearray, start: int, stop: int) -> int | None:
    """Behind the first empty line in [start, stop); None where there is none."""
    found = None
    for gap in _GAPS:
        at = data.find(gap, start, stop)
        if at >= 0:
            found = stop = at + len(gap)
    return found


def warc_head(stored: bytes) -> Head | None:
    """The head of a record of WARC, given its lines; None where they tell no length or no type."""
    text = _FOLDED.sub(b" ", stored) if b"\n " in stored or b"\n\t" in stored else stored
    lower = text.lower()
    length, told = _field(text, lower, b"\ncontent-length:"), _field(text, lower, b"\nwarc-type:")
    if not length.isdigit() or len(length) > MAX_DIGITS or not told:
        return None
    return Head(told.decode("latin-1").lower(), text, len(stored), int(length))


def _field(text: bytes, lower: bytes, name: bytes) -> bytes:
    """The first value of a field, in a head without folded lines and that in lower case; nothing for none."""
    at = lower.find(name)
    if at < 0:
        return b""
    start = at + len(name)
    return text[start : text.find(b"\n", start)].strip()
