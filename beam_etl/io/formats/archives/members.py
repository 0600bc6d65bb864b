"""The members of a compressed archive: one after another, each with its offset, and where to go on behind damage.

Source: RFC 1952 (gzip), RFC 8878 (zstd), WARC 1.1 annex D and its draft for zstd (a member for each record).
"""

import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from beam_etl.io.access import PIECE_BYTES, STORED_BYTES
from beam_etl.io.errors import is_content_error
from beam_etl.io.formats.archives.starts import START_BYTES, is_start
from beam_etl.io.formats.archives.zstd_dictionaries import Dictionary, read_dictionary
from beam_etl.io.inflate import inflater, quick_inflater
from beam_etl.io.isolate import entering

GZIP_MAGIC = b"\x1f\x8b\x08"
_GZIP_HEAD = 10
_GZIP_LEVELS = (0, 2, 4)
"""What writers put behind the time: nothing, best, fastest."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
"""Behind a byte of 0x50 to 0x5f: a frame without content."""

_SEARCHED_BYTES = 1 << 20
"""Read at once to find where a file goes on."""

_FED_BYTES = 8 << 10
"""Stored bytes given to zlib at once: what is behind the end of a member it copies."""

_TRIED_BYTES = 16 << 10
"""Stored bytes that the start of a record takes at most."""


class Members(Protocol):
    """The decompressed bytes of a file, member by member."""

    start: int
    """Stored offset of the current member; of a file that isn't compressed, where reading began."""

    @property
    def stored(self) -> int:
        """Stored bytes of the current member that were read."""

    def next(self, quick: bool = False) -> bool:
        """Goes to the next member, which begins where the last one was read to; false at the end of the file.

        Args:
          quick: read it at speed, by what tells less of damage: then `read` may also raise `inflate.QUICK_ERROR`.
        """

    def go(self, at: int) -> None:
        """`next` goes to the member that begins there."""

    def read(self) -> bytes:
        """More of the current member; nothing at its end.

        Raises:
          Exception: one that `is_content_error` knows, where it is damaged.
        """

    def find(self, at: int) -> int | None:
        """Offset of the first member from `at` on that begins with a record; None where there is none.

        It may be called once a member is damaged: `next` goes on there then.
        """


def open_members(file: Any, start: int) -> Members:
    """The members of an opened file from `start` on, where one begins. The file's first bytes tell how it is packed."""
    file.seek(0)
    magic = file.read(4)
    if magic.startswith(GZIP_MAGIC[:2]):
        return GzipMembers(file, start)
    if magic == ZSTD_MAGIC or (magic[1:] == _SKIPPABLE and magic[0] >> 4 == 5):
        return ZstdMembers(file, start)
    return PlainFile(file, start)


class PlainFile:
    """A file that is not compressed: one member."""

    def __init__(self, file: Any, start: int) -> None:
        self._file = file
        self.size = int(file.size())
        self._begun = False
        self.go(start)

    stored = 0

    def next(self, quick: bool = False) -> bool:
        begun, self._begun = self._begun, True
        return not begun

    def go(self, at: int) -> None:
        self.start, self._begun = at, False
        self._file.seek(at)

    def read(self) -> bytes:
        return bytes(self._file.read(STORED_BYTES))

    def find(self, at: int) -> int | None:
        return None  # there is no damage but that of records

    def look(self, at: int, size: int) -> bytes:
        """Bytes at any place."""
        here = self._file.tell()
        self._file.seek(at)
        found = bytes(self._file.read(size))
        self._file.seek(here)
        return found


class _Stored:
    """Stored bytes from a place on."""

    def __init__(self, file: Any, at: int) -> None:
        self._file = file
        self.go(at)

    def go(self, at: int) -> None:
        self._file.seek(at)
        self._held, self._used, self.at = b"", 0, at
        self._seen = b""

    def look(self) -> bytes:
        """Some of what comes next; nothing at the end of the file."""
        if not self._seen:
            if self._used == len(self._held):
                self._held, self._used = bytes(self._file.read(STORED_BYTES)), 0
            self._seen = self._held[self._used : self._used + _FED_BYTES]
        return self._seen

    def use(self, size: int) -> None:
        """So much of it is done with."""
        if size:
            self._used += size
            self.at += size
            self._seen = b""


class GzipMembers:
    """Members of gzip. Zeros between them are padding."""

    def __init__(self, file: Any, start: int) -> None:
        self._file = file
        self._stored = _Stored(file, start)
        self._inflate = inflater()
        self.start = start

    @property
    def stored(self) -> int:
        return self._stored.at - self.start

    def next(self, quick: bool = False) -> bool:
        stored = self._stored
        while found := stored.look():
            rest = found.lstrip(b"\0")
            stored.use(len(found) - len(rest))
            if rest:
                self.start = stored.at
                self._inflate = quick_inflater(rest) if quick else inflater()
                return True
        return False

    def go(self, at: int) -> None:
        self._stored.go(at)

    def read(self) -> bytes:
        inflate, stored = self._inflate, self._stored
        while not inflate.eof:
            found = stored.look()
            if not found:
                raise EOFError("the gzip data ends early")
            piece = inflate.decompress(found, PIECE_BYTES)
            stored.use(len(found) - len(inflate.unused_data if inflate.eof else inflate.unconsumed_tail))
            if piece:
                return piece
        return b""

    def find(self, at: int) -> int | None:
        for found in _places(self._file, at, GZIP_MAGIC):
            self._file.seek(found)
            head = bytes(self._file.read(_TRIED_BYTES))
            if len(head) < _GZIP_HEAD or head[3] & 0xE0 or head[8] not in _GZIP_LEVELS:
                continue  # which is much faster than to try
            try:
                start = inflater().decompress(head, START_BYTES)
            except zlib.error:
                continue
            if is_start(start):
                self.go(found)
                return found
        return None


class ZstdMembers:
    """Frames of zstd. Their blocks tell their sizes, so the next one is found without decompressing."""

    def __init__(self, file: Any, start: int) -> None:
        self._file = file
        self._made: Any = None
        self._dictionary = _dictionary(file)
        self.start = self._stop = start

    @property
    def stored(self) -> int:
        return self._stop - self.start

    def next(self, quick: bool = False) -> bool:
        while True:
            self.start = self._stop
            self._file.seek(self.start)
            if not self._file.read(1):
                return False
            try:
                frame = _zstd_frame(self._file, self.start)
            except (EOFError, ValueError) as error:
                self._made = error
                return True
            self._stop = frame.stop
            if frame.has_content:
                self._made = self._opened(frame)
                return True

    def _opened(self, frame: "_Frame") -> Any:
        """What reads a frame, or why it can't be read."""
        window = _Window(self._file, self.start, frame.stop)
        if isinstance(self._dictionary, Dictionary):
            return self._dictionary.open(window)
        if frame.needs_dictionary:
            return self._dictionary or ValueError(
                "it needs a zstd dictionary, which the file doesn't begin with"
            )
        return pa.CompressedInputStream(pa.PythonFile(window, mode="r"), "zstd")

    def go(self, at: int) -> None:
        self._stop = at

    def read(self) -> bytes:
        if isinstance(self._made, Exception):
            raise self._made
        return bytes(self._made.read(PIECE_BYTES))

    def find(self, at: int) -> int | None:
        for found in _places(self._file, at, ZSTD_MAGIC):
            self.go(found)
            try:
                if self.next() and is_start(self.read()):
                    self.go(found)
                    return found
            except Exception as error:
                if not is_content_error(error):
                    raise
        return None


def _dictionary(file: Any) -> Dictionary | Exception | None:
    """The file's, or why it can't be used; None where it has none."""
    try:
        found = read_dictionary(file)
        return None if found is None else Dictionary(found)
    except (EOFError, ValueError) as error:
        return error


class _Frame(NamedTuple):
    stop: int
    has_content: bool
    needs_dictionary: bool


def _zstd_frame(file: Any, start: int) -> _Frame:
    """Where the frame at `start` ends.

    Raises:
      EOFError: the file ends before.
      ValueError: there is no frame.
    """
    head = _exactly(file, start, 5)
    if head[1:4] == _SKIPPABLE and head[0] >> 4 == 5:
        stop = start + 8 + int.from_bytes(_exactly(file, start + 4, 4), "little")
        _exactly(file, stop - 1, 1)
        return _Frame(stop, False, False)
    if head[:4] != ZSTD_MAGIC:
        raise ValueError("no zstd frame")
    flags = head[4]
    single, size = flags >> 5 & 1, flags >> 6
    at = start + 5 + (not single) + (0, 1, 2, 4)[flags & 3] + ((1 if single else 0), 2, 4, 8)[size]
    last = 0
    while not last:
        block = int.from_bytes(_exactly(file, at, 3), "little")
        last, kind, length = block & 1, block >> 1 & 3, block >> 3
        at += 3 + (1 if kind == 1 else length)  # a repeated byte is stored once
    stop = at + 4 * (flags >> 2 & 1)  # a checksum
    _exactly(file, stop - 1, 1)
    return _Frame(stop, True, flags & 3 > 0)


def _exactly(file: Any, at: int, size: int) -> bytes:
    file.seek(at)
    found = bytes(file.read(size))
    if len(found) < size:
        raise EOFError("the zstd data ends early")
    return found


class _Window:
    """A part of a file, as a file for a decompressor. The part may be read while others read the file."""

    closed = False

    def __init__(self, file: Any, start: int, stop: int) -> None:
        self._file, self._at, self._stop = file, start, stop

    def read(self, size: int) -> bytes:
        self._file.seek(self._at)
        found = bytes(self._file.read(min(size, self._stop - self._at)))
        self._at += len(found)
        return found

    def close(self) -> None:
        """The file belongs to others."""


def _places(file: Any, at: int, magic: bytes) -> Iterator[int]:
    """Where `magic` stands in a file from `at` on, ascending. The file may be moved meanwhile."""
    held = b""
    while True:
        entering("search", at)
        file.seek(at + len(held))
        more = bytes(file.read(_SEARCHED_BYTES))
        if not more:
            return
        held += more
        found = held.find(magic)
        while found >= 0:
            yield at + found
            found = held.find(magic, found + 1)
        cut = len(held) - len(magic) + 1
        at, held = at + cut, held[cut:]
