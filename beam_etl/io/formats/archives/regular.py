"""Heads as nearly every writer makes them, read at once: no reader could take them for others."""

import re
from typing import NamedTuple

from beam_etl.io.formats.archives.heads import FIRST_HEAD_BYTES, MAX_DIGITS, Head

FIELDS = frozenset(
    (
        *(b"WARC-Type", b"WARC-Record-ID", b"WARC-Target-URI", b"WARC-Date", b"WARC-IP-Address"),
        *(b"WARC-Payload-Digest", b"WARC-Block-Digest", b"WARC-Truncated", b"Content-Type"),
        b"Content-Length",
    )
)
"""What is read of a head."""

MAX_SHAPES = 16
"""Heads of one crawl have a handful of shapes; each further one is tried for all records that have none of them."""

_LOWER_FIELDS = {name.lower(): name for name in FIELDS}
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_-]*")
_VALUE = rb": ([!-~]+(?: [!-~]+)*)\r\n"


class _Shape(NamedTuple):
    names: tuple[bytes, ...]
    pattern: re.Pattern[bytes]


class RegularHeads:
    """Reads regular heads, of up to FIRST_HEAD_BYTES, by the expressions that former ones gave: a crawl has few shapes.

    All lines of a regular head end by CR and LF, and are `Name: value` of ASCII without further spaces; no name comes
    twice, and those of FIELDS are written as there.
    """

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []

    def read(self, data: bytes) -> Head | None:
        """The head that `data` begins with, with its fields; None where it isn't regular."""
        for names, pattern in self._shapes:
            found = pattern.match(data, 0, FIRST_HEAD_BYTES)
            if found is not None:
                return _head(found, names)
        if len(self._shapes) == MAX_SHAPES or (shape := _shape(data)) is None:
            return None
        self._shapes.append(shape)
        found = shape.pattern.match(data, 0, FIRST_HEAD_BYTES)
        return None if found is None else _head(found, shape.names)


def _head(found: re.Match[bytes], names: tuple[bytes, ...]) -> Head | None:
    fields = dict(zip(names, found.groups()))  # noqa: B905 - a group a name
    length = fields[b"Content-Length"]
    if not length.isdigit() or len(length) > MAX_DIGITS:
        return None
    return Head(fields[b"WARC-Type"].decode().lower(), found[0], found.end(), int(length), fields)


def _shape(data: bytes) -> _Shape | None:
    """That of the head, if it is regular."""
    end = data.find(b"\r\n\r\n", 0, FIRST_HEAD_BYTES)
    names = tuple(line.partition(b":")[0] for line in data[: max(end, 0)].split(b"\r\n")[1:])
    if (
        len(set(names)) < len(names)
        or not {b"WARC-Type", b"Content-Length"} <= set(names)
        or not all(_NAME.fullmatch(name) and _LOWER_FIELDS.get(name.lower(), name) == name for name in names)
    ):
        return None
    lines = b"".join(re.escape(name) + _VALUE for name in names)
    return _Shape(names, re.compile(rb"WARC/1\.[01]\r\n" + lines + rb"\r\n"))
