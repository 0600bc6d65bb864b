"""Opening files of our stores and of Beam's filesystems: as stored, or as a stream of decompressed bytes."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_etl.io.errors import is_content_error
from beam_etl.io.inflate import QUICK_ERROR, inflater, quick_inflater
from beam_etl.io.isolate import entering
from beam_etl.io.stores import is_local, is_object, store_of

COMPRESSIONS = (".gz", ".zst")
"""Suffixes of files that are decompressed as they are read."""

STORED_BYTES = 64 << 10
"""How much of a compressed file is read at once, by Arrow too."""

PIECE_BYTES = 1 << 20
"""Decompressed bytes made at once: a file that expands a thousandfold takes no more memory."""

SIP_BYTES = 1 << 10
"""How much of a compressed file is read at once to see how it expands: what is read but not used yet is no more."""


def open_file(path: str) -> Any:
    """A file as it is stored: a seekable pyarrow NativeFile, to be used as a context manager.

    Raises:
      OSError: it is absent or can't be opened.
    """
    path = path.removeprefix("file://")
    if is_local(path) or is_object(path):
        return store_of(path).open_file(path)
    return pa.PythonFile(FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED), mode="r")


def create_file(path: str) -> Any:
    """A new file for what a run makes on its way, as `open_file` opens it: a pyarrow NativeFile to write into."""
    if is_local(path):
        return pa.OSFile(path, "wb")
    return pa.PythonFile(store_of(path).open_new(path), mode="w")


class StoreFiles:
    """Files of a run for transforms that write and read some themselves."""

    def create(self, path: str) -> Any:
        return create_file(path)

    def open(self, path: str) -> Any:
        return open_file(path)


def compression(path: str) -> str:
    """The suffix of COMPRESSIONS that a path has, or none."""
    return next((suffix for suffix in COMPRESSIONS if path.lower().endswith(suffix)), "")


class Stream:
    """The decompressed bytes of a file; of an uncompressed one from `at` on.

    What comes before damage is handed out first: the error is raised by the read after it. So it is where a compressed
    file of n bytes has over `most(n)`.
    """

    def __init__(
        self, path: str, at: int = 0, most: Callable[[int], int] = lambda stored: sys.maxsize
    ) -> None:
        self._file = open_file(path)
        self._pieces = _PIECES[compression(path)]
        self._error: Exception | None = None
        if self._pieces is None:
            self._file.seek(at)
        else:
            self._made = self._pieces(self._file)
            self._left = most(int(self._file.size()))

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """About `size` bytes, as soon as there are that many; none at the end.

        Raises:
          Exception: one that `is_content_error` knows, when the compressed data is damaged or ends early.
        """
        if self._pieces is None:
            return bytes(self._file.read(size))
        if self._error is not None:
            raise self._error
        gathered, held = [], 0
        try:
            while held < size:
                piece = next(self._made, b"")
                if not piece:
                    break
                gathered.append(piece)
                held += len(piece)
                self._left -= len(piece)
                if self._left < 0:
                    raise ValueError(f"the file {EXPANDS}")
        except Exception as error:
            if not gathered or not is_content_error(error):
                raise
            self._error = error
        return b"".join(gathered)

    def stored_position(self) -> int:
        """Where the next bytes are stored; of a compressed file to within STORED_BYTES, from below."""
        here = int(self._file.tell())
        return here if self._pieces is None else max(0, here - STORED_BYTES)


def expansion(path: str, most: int) -> float:
    """How many times larger the first `most` decompressed bytes of a compressed file are, about, than what is stored.

    Args:
      path: of a file that has a `compression`.
      most: at least 1.

    Raises:
      Exception: one that `is_content_error` knows, when the compressed data is damaged or ends early, or is nothing.
    """
    made = 0
    with open_file(path) as file:
        sips = _Sips(file)
        for piece in _PIECES[compression(path)](pa.PythonFile(sips, mode="r")):
            made += len(piece)
            if made >= most:
                break
        if not made:
            raise EOFError("there is no data")
        return made / sips.at


class _Sips:
    """A file that gives SIP_BYTES at once, whatever is asked for, and reads STORED_BYTES for that."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self._held, self._used, self.at = b"", 0, 0

    def read(self, size: int) -> bytes:
        if self._used >= len(self._held):
            self._held, self._used = bytes(self._file.read(STORED_BYTES)), 0
        found = self._held[self._used : self._used + min(size, SIP_BYTES)]
        self._used += len(found)
        self.at += len(found)
        return found

    def seek(self, at: int, whence: int = 0) -> int:
        self._held, self._used, self.at = b"", 0, int(self._file.seek(at, whence))
        return self.at

    def tell(self) -> int:
        return self.at

    def close(self) -> None:
        """The file belongs to others."""


EXPANDS = "expands to more times its bytes than --max_expansion allows"


def _gunzip(file: Any) -> Iterator[bytes]:
    """The content of all members, which is what `gzip -d` gives; zeros behind the last one are padding."""
    start = given = 0
    try:
        for member, piece in _members(file, 0, quick_inflater):
            given = len(piece) + (given if member == start else 0)
            start = member
            yield piece
    except (QUICK_ERROR, EOFError):
        yield from _with_care(file, start, given)


def _with_care(file: Any, start: int, given: int) -> Iterator[bytes]:
    """What is behind the first `given` bytes of a damaged member: zlib gives some more, and tells what is wrong."""
    for number, (_, piece) in enumerate(_members(file, start, lambda head: inflater())):
        entering("gzip", start, number)  # nothing is given for long, which is no fault of one record
        if len(piece) > given:
            yield piece[given:]
        given = max(0, given - len(piece))


def _members(file: Any, at: int, inflate_from: Callable[[bytes], Any]) -> Iterator[tuple[int, bytes]]:
    """Where a member begins and a piece of its content, from the one that begins at `at` on."""
    file.seek(at - at % STORED_BYTES)  # then pieces are the same wherever it begins
    held = file.read(STORED_BYTES)[at % STORED_BYTES :]
    inflate = inflate_from(held) if held else None
    while held:
        if inflate is None:
            held = held.lstrip(b"\0")
            if held:
                at, inflate = file.tell() - len(held), inflate_from(held)
        if inflate is not None:
            piece = inflate.decompress(held, PIECE_BYTES)
            if piece:
                yield at, piece
            held = inflate.unconsumed_tail
            if inflate.eof:
                held, inflate = inflate.unused_data, None
        held = held or file.read(STORED_BYTES)
    if inflate is not None:
        raise EOFError("the gzip data ends early")


def _unzstd(file: Any) -> Iterator[bytes]:
    return iter(partial(pa.CompressedInputStream(file, "zstd").read, STORED_BYTES), b"")


_PIECES: dict[str, Any] = {"": None, ".gz": _gunzip, ".zst": _unzstd}
