"""What processes were reading when they ended: the next one reads it in a process of its own.

Each thread that reads has a small file, mapped into memory and locked as long as its process lives, that says what it
reads. Where nobody holds the lock and something stands there, that ended the process, or the process was ended
meanwhile: reading it with care costs time only.
"""

import atexit
import contextlib
import fcntl
import hashlib
import mmap
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from beam_etl.io.formats.base import Split

KEPT_SECONDS = 7 * 24 * 3600
"""After which what a process has left is removed: files are mended, and folders for temporary files are shared."""

_DIGEST_BYTES = 32
_NOTHING = bytes(_DIGEST_BYTES)

_lock = threading.Lock()
_known: set[bytes] = set()
"""What this process knows to be suspect."""
_idle: list[mmap.mmap] = []
_mine: set[str] = set()


class Note:
    """Says, while a thread reads a split, that it does. Made by `note_of`."""

    def __init__(self, digest: bytes, place: mmap.mmap | None) -> None:
        self._digest = digest
        self._place = place

    def put(self) -> None:
        """From here on this process may end by what it reads."""
        if self._place is not None:
            self._place[:] = self._digest

    def take(self) -> None:
        """It didn't."""
        if self._place is not None:
            self._place[:] = _NOTHING


@contextlib.contextmanager
def note_of(split: Split) -> Iterator[Note]:
    """A note about a split, for one thread."""
    with _lock:
        place = _idle.pop() if _idle else _new_place()
    note = Note(_digest(split), place)
    try:
        yield note
    finally:
        note.take()
        if place is not None:
            with _lock:
                _idle.append(place)


def is_suspect(split: Split) -> bool:
    """Whether reading a split may end this process."""
    digest = _digest(split)
    return digest in _known or any(found == digest for _, found in _left_behind())


def add(split: Split) -> None:
    """Has this process read a split with care from now on."""
    _known.add(_digest(split))


def clear(split: Split) -> None:
    """A split was read, and nothing in it has ended a process."""
    digest = _digest(split)
    _known.discard(digest)
    for path, found in _left_behind():
        if found == digest:
            with contextlib.suppress(OSError):
                os.unlink(path)


def left_behind(process: int | None = None) -> frozenset[bytes]:
    """What processes that have ended were reading, a digest for each; or what this one was."""
    return frozenset(
        found
        for path, found in _left_behind()
        if process is None or os.path.basename(path).startswith(_prefix(process))
    )


def folder() -> Path:
    """Where the files are: this user's own."""
    return Path(tempfile.gettempdir()) / f"beam_etl-reading-{os.getuid()}"


def _digest(split: Split) -> bytes:
    """Of the stored bytes that a split is: another one where the file was written anew."""
    told = (split.file.path, split.file.bytes, split.file.modified, split.start, split.stop, split.number < 0)
    return hashlib.sha256(repr(told).encode("utf-8", "surrogateescape")).digest()


def _prefix(process: int) -> str:
    """Of the names of a process's files."""
    return f"{process}-"


def _new_place() -> mmap.mmap | None:
    """A file of its own that is locked until this process ends; None where there can't be one."""
    try:
        folder().mkdir(mode=0o700, exist_ok=True)
        if folder().stat().st_uid != os.getuid():
            return None
        handle, path = tempfile.mkstemp(prefix=_prefix(os.getpid()), dir=folder())
    except OSError:
        return None
    _mine.add(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # until the handle is closed, which nobody does
        os.write(handle, _NOTHING)  # takes the room: where none is left, a hole's first use ends the process
        return mmap.mmap(handle, _DIGEST_BYTES)
    except OSError:
        os.close(handle)
        with contextlib.suppress(OSError):
            os.unlink(path)
        _mine.discard(path)
        return None


@atexit.register
def _leave() -> None:
    """Removes this process's files: it ends well."""
    for path in _mine:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _left_behind() -> Iterator[tuple[str, bytes]]:
    """The files of processes that have ended, and what stands there. Those that say nothing or are old go."""
    try:
        found = [entry for entry in os.scandir(folder()) if entry.path not in _mine]
    except OSError:
        return
    for entry in found:
        with contextlib.suppress(OSError), open(entry.path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            content = file.read()
            old = entry.stat().st_mtime < time.time() - KEPT_SECONDS
            if old or content == _NOTHING:
                os.unlink(entry.path)
            elif content:  # else it is being made
                yield entry.path, content
