"""Lines of a file, found natively, with the position of each: what JSONL and text have in common."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from beam_etl import schema
from beam_etl.io.access import Stream, compression
from beam_etl.io.errors import is_content_error
from beam_etl.io.formats.base import FileEntry, Limits, Split, even_bytes

BLOCK_BYTES = 8 << 20
"""Read and handled at once: as large as a batch."""

TAIL_BYTES = 64 << 10
"""Read at once behind the end of a split, where only the end of one line is wanted."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_NO_CONTENT = len(BYTE_ORDER_MARK) + 1
"""Bytes of a line that may turn out to be no content: a byte order mark, and the CR of a line end."""

_NEWLINE = 10
_RETURN = 13


class Lines(NamedTuple):
    """Whole lines: `data[starts[i]:stops[i]]` is the content of line i. All arrays are int64[lines]."""

    data: bytes
    base: int
    """Where `data` begins in the decompressed file."""
    begins: np.ndarray
    """Where each line begins in `data`, a byte order mark included."""
    starts: np.ndarray
    stops: np.ndarray
    ends: np.ndarray
    """Where the line's LF is, or the end of the file."""

    @property
    def positions(self) -> np.ndarray:
        """Where each line begins in the decompressed file."""
        return self.base + self.begins

    def record(self, line: int) -> bytes:
        """All bytes of a line up to its LF: what its reject is made of."""
        return self.data[self.begins[line] : self.ends[line]]

    def stored(self, which: np.ndarray | None) -> bytes:
        """All bytes of some lines, ascending, or of all, each with its line end where it has one. At least one."""
        begins, stops = self.begins, self.ends + 1
        if which is not None:
            begins, stops = begins[which], stops[which]
        cuts = np.flatnonzero(begins[1:] != stops[:-1]) + 1
        if not len(cuts):
            return self.data[begins[0] : stops[-1]]  # no copy where these are all lines
        view = memoryview(self.data)
        runs = zip(begins[np.append(0, cuts)].tolist(), stops[np.append(cuts - 1, -1)].tolist(), strict=True)
        return b"".join([view[begin:stop] for begin, stop in runs])

    def some(self, which: slice | np.ndarray) -> "Lines":
        """Some of the lines."""
        return Lines(self.data, self.base, *(bounds[which] for bounds in self[2:]))


Bytes: TypeAlias = bytes


class LongLine(NamedTuple):
    """A line over the limit, which was read past without being held. Its bytes are those up to its LF."""

    position: int
    bytes: int
    digest: Bytes
    payload: Bytes


class UnreadableError(Exception):
    """The rest of a file can't be decompressed."""

    def __init__(self, position: int, stored: int, cause: Exception) -> None:
        super().__init__(str(cause))
        self.position = position
        """Of the first line that is not whole, in the decompressed file."""
        self.stored = stored
        """Stored bytes before it, at least."""
        self.cause = cause


def line_splits(file: FileEntry, split_bytes: int) -> Iterator[Split]:
    """Byte ranges of an uncompressed file; one split of a compressed one."""
    if compression(file.path):
        yield Split(file, 0, file.bytes)
        return
    even = even_bytes(file.bytes, split_bytes)
    for start in range(0, file.bytes, even):
        yield Split(file, start, min(start + even, file.bytes), first=start)


def split_lines(split: Split, block_bytes: int, limits: Limits) -> Iterator[Lines | LongLine]:
    """All lines that begin in the split, in order.

    A line ends with LF or CR LF; the last one may end with the file. A byte order mark is no part of the
    first.

    Args:
      split: of `line_splits`.
      block_bytes: how much is read at once.
      limits: a longer line is a LongLine; what expands further is unreadable.

    Raises:
      UnreadableError: after the whole lines before the damage.
    """
    stop = split.stop if not compression(split.file.path) else schema.MAX_POSITION
    at = max(split.start - 1, 0)
    with Stream(split.file.path, at, limits.most_bytes) as stream:
        cutter = _Cutter(stream, at, stop, block_bytes, limits.record_bytes)
        if split.start > 0:
            cutter.skip_line()
        yield from cutter.lines()


class _Cutter:
    """Cuts a stream into runs of whole lines.

    `held` is the start of a line whose end was not read yet, `base` its position; `ahead` was read too early.
    """

    def __init__(self, stream: Stream, base: int, stop: int, block_bytes: int, limit: int) -> None:
        self._stream = stream
        self._base = base
        self._stop = stop
        self._block_bytes = block_bytes
        self._limit = limit
        self._held = bytearray()
        self._ahead = b""

    def _read(self, line: int) -> bytes:
        """The next bytes; `line` is where the first line begins that was not given out yet."""
        if self._ahead:
            piece, self._ahead = self._ahead, b""
            return piece
        left = self._stop - self._base - len(self._held)
        try:
            return self._stream.read(min(left, self._block_bytes) if left > 0 else TAIL_BYTES)
        except Exception as error:
            if not is_content_error(error):
                raise
            raise UnreadableError(line, self._stream.stored_position(), error) from error

    def skip_line(self) -> None:
        """Passes over everything up to the first line end, or to the end of the split."""
        while self._base < self._stop and (piece := self._read(self._base)):
            end = piece.find(b"\n") + 1
            self._base += end or len(piece)
            if end:
                self._ahead = piece[end:]
                return

    def lines(self) -> Iterator[Lines | LongLine]:
        """All lines from here on that begin before the end of the split."""
        more = True
        while more and self._base < self._stop:
            piece = self._read(self._base)
            more = bool(piece)
            end = self._whole(piece)
            if end or not more:
                base, data = self._base, b"".join((self._held, memoryview(piece)[:end]))
                self._base, self._held = base + len(data), bytearray(piece[end:])
                if data:
                    yield from _bounded(_cut(base, data), self._limit)
            else:
                self._held += piece
                if len(self._held) > self._limit + _NO_CONTENT:
                    yield self._long_line()

    def _whole(self, piece: bytes) -> int:
        """How many bytes of a piece belong to lines of this split that end in it."""
        last = max(0, self._stop - 1 - self._base - len(self._held))
        end = piece.find(b"\n", last) + 1 if last < len(piece) else 0
        return end or piece.rfind(b"\n") + 1

    def _long_line(self) -> LongLine:
        """Reads to the end of the line that is held, keeping its start only."""
        position, digest, payload = self._base, hashlib.sha256(), b""
        piece, self._held, end = bytes(self._held), bytearray(), -1
        while piece and end < 0:
            end = piece.find(b"\n")
            part = piece if end < 0 else piece[:end]
            digest.update(part)
            payload += part[: schema.PAYLOAD_BYTES - len(payload)]
            self._base += len(part)
            if end < 0:
                piece = self._read(position)
        size = self._base - position
        if end >= 0:
            self._base, self._ahead = self._base + 1, piece[end + 1 :]
        return LongLine(position, size, digest.digest(), payload)


def _bounded(lines: Lines, limit: int) -> Iterator[Lines | LongLine]:
    """The lines, without those over the limit, which are there when a block is larger than it."""
    done, count = 0, len(lines.starts)
    for long in np.flatnonzero(lines.stops - lines.starts > limit).tolist():
        if long > done:
            yield lines.some(slice(done, long))
        record = lines.record(long)
        digest = hashlib.sha256(record).digest()
        yield LongLine(int(lines.positions[long]), len(record), digest, record[: schema.PAYLOAD_BYTES])
        done = long + 1
    if done < count:
        yield lines.some(slice(done, count))


def _cut(base: int, data: bytes) -> Lines:
    view = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(view == _NEWLINE)
    if view[-1] != _NEWLINE:
        ends = np.append(ends, len(view))
    begins = np.zeros_like(ends)
    begins[1:] = ends[:-1] + 1
    starts = begins.copy()
    if base == 0 and data.startswith(BYTE_ORDER_MARK):
        starts[0] = len(BYTE_ORDER_MARK)
    returns = (ends > starts) & (view[ends - 1] == _RETURN)
    return Lines(data, base, begins, starts, ends - returns, ends)
