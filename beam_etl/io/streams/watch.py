"""Files that arrive in a folder as a stream: a file is of the split that its path's hash says."""

import heapq
import os
import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa

from beam_etl import schema
from beam_etl.io.files import NOT_UTF8, NothingFoundError, find_files, shown
from beam_etl.io.formats import format_named
from beam_etl.io.formats.base import SPLIT_BYTES, FileEntry, limited
from beam_etl.io.read import HELD_REJECTS
from beam_etl.io.rejects import Reject
from beam_etl.io.splits import plan_splits, read_split
from beam_etl.io.stores import is_local, store_of
from beam_etl.io.streams.cursors import Piece
from beam_etl.io.streams.seen_files import SeenFiles, Verdict, hash_name
from beam_etl.io.streams.source import StreamSource
from beam_etl.io.transient import retried

LANE = "files"
NANOSECONDS = 10**9

LISTING_SHARE = 10
"""A folder isn't listed more than a tenth of the time, however large it is."""

CHANGED = (
    "the file was changed after it was read: {} bytes now. What it has now isn't read; "
    "write a new file with what is new"
)
UNSURE = (
    "the file came here now, and was changed long before: it may be one that was read and has been renamed or touched. "
    "It isn't read; if it is new, copy it to another name"
)


@dataclass(frozen=True, kw_only=True)
class WatchSource(StreamSource):
    """The files that patterns match, now and later. A position has the file that is read and the files that were.

    Args:
      patterns: as of `match_files`.
      format: of all files.
      min_age: seconds that a file hasn't been changed for before it is read. None where `marker` says it.
      marker: a file is read when another one is beside it whose name is longer by this.
      poll: seconds between two listings.
    """

    patterns: tuple[str, ...]
    format: str
    min_age: float | None = 10.0
    marker: str = ""
    poll: float = 5.0

    def open(self, position: Any) -> "_WatchCursor":
        return _WatchCursor(self, position)

    def listings(self) -> Iterator[dict[str, tuple[int, int, str]]]:
        """One: what patterns match now."""
        found: dict[str, tuple[int, int, str]] = {}
        for pattern in self.patterns:
            with suppress(NothingFoundError):
                found |= find_files([pattern], self.format)
        yield found

    def is_own(self, name: int) -> bool:
        """Whether a file is of this split."""
        return name % self.splits == self.index


class _Found(NamedTuple):
    """A file to read; the first by order is read first."""

    stamp: int
    path: str
    bytes: int
    modified: int
    listed: int
    etag: str = ""


class _Notice(NamedTuple):
    """What is told of a file that isn't read. It is remembered when it was told."""

    reject: Reject
    name: int
    stamp: int
    listed: int


class _WatchCursor:
    finished = False

    def __init__(self, source: WatchSource, position: Any) -> None:
        state = position or {"seen": None, "file": None, "split": 0, "item": 0}
        self._source = source
        self._format = limited(format_named(source.format), source.columns.limits)
        self._seen = SeenFiles(state["seen"])
        self._known: dict[int, int] = {}
        """Files that this process has judged, and when each was changed then."""
        self._waiting: dict[int, _Found] = {}
        self._order: list[tuple[int, str, int]] = []
        """Stamp, path and name of all that wait, as a heap, and of some that do no more."""
        self._unready = False
        self._notices: deque[_Notice] = deque()
        self._list_at = 0.0
        self._file: _Found | None = None
        self._items: Iterator[tuple[int, Any]] = iter(())
        self._place = (0, 0)
        if state["file"] is not None:
            self._start(_Found(*state["file"]), state["split"], state["item"])

    def next(self) -> Piece | None:
        if time.monotonic() >= self._list_at:
            self._list()
        if self._notices:
            notice, waits = self._notices.popleft(), self._file or self._waiting
            self._seen.add(notice.name, notice.stamp, None if waits else notice.listed)
            return Piece(LANE, None, [notice.reject])
        while self._file is not None or self._waiting:
            if self._file is None:
                _, _, name = heapq.heappop(self._order)
                found = self._waiting.pop(name, None)
                if found is None:
                    continue
                if not _is_as_found(found):  # looked at again, it may be too young now
                    del self._known[name]
                    self._list_at = 0.0
                    continue
                self._start(found, 0, 0)
            piece = self._gather()
            if piece is not None:
                return piece
        return None

    def position(self) -> dict[str, Any]:
        file = None if self._file is None else list(self._file)
        return {"seen": self._seen.to_json(), "file": file, "split": self._place[0], "item": self._place[1]}

    def lanes(self) -> tuple[str]:
        return (LANE,)

    def at_end(self) -> Collection[str]:
        """Nothing waits, and nothing is still too young."""
        young = self._unready and self._source.min_age is not None
        return () if self._file or self._waiting or self._notices or young else (LANE,)

    def close(self) -> None:
        self._items = iter(())

    def _start(self, found: _Found, split: int, item: int) -> None:
        self._file, self._place = found, (split, item)
        self._known[hash_name(found.path)] = found.modified
        self._items = self._read(
            FileEntry(_number(found.path), found.path, found.bytes, found.modified, found.etag)
        )

    def _read(self, file: FileEntry) -> Iterator[tuple[int, Any]]:
        """What is left of a file, each item with the number of its split."""
        first, skipped = self._place
        for split in plan_splits(file, self._format, SPLIT_BYTES):
            if split.number >= first:
                items = read_split(split, self._format, self._source.columns, self._source.stored)
                for item in islice(items, skipped if split.number == first else 0, None):
                    yield split.number, item

    def _gather(self) -> Piece | None:
        """The next batch of the file, and what was rejected before it; None at its end."""
        assert self._file is not None
        rejects: list[Reject] = []
        documents: pa.RecordBatch | None = None
        for split, item in self._items:
            here, items = self._place
            self._place = (split, items + 1 if split == here else 1)
            if not isinstance(item, Reject):
                documents = item
                break
            rejects.append(item)
            if len(rejects) == HELD_REJECTS:
                break
        else:
            self._seen.add(hash_name(self._file.path), self._file.stamp, self._file.listed)
            self._file, self._place = None, (0, 0)
        return Piece(LANE, documents, rejects) if rejects or documents is not None else None

    def _list(self) -> None:
        """Looks for files that are new, and for changes of those that were read."""
        began, listed = time.monotonic(), time.time_ns()
        [found] = retried(self._source.listings)
        self._unready = False
        reading = None if self._file is None else hash_name(self._file.path)
        kept = {reading, *(notice.name for notice in self._notices)}
        for path, (size, modified, etag) in found.items():
            name = hash_name(path)
            if not self._source.is_own(name):
                continue
            kept.add(name)
            if name != reading and self._known.get(name) != modified:
                self._judge(name, _Found(0, path, size, modified, listed, etag))
        kept |= self._waiting.keys()
        self._known = {name: modified for name, modified in self._known.items() if name in kept}
        took = time.monotonic() - began
        self._list_at = time.monotonic() + max(self._source.poll, LISTING_SHARE * took)

    def _judge(self, name: int, found: _Found) -> None:
        """Whether a file is read that wasn't there before, or was changed since."""
        if self._waiting.pop(name, None) is not None:
            del self._known[name]
        stamp = self._ready(found)
        if stamp is None:
            self._unready = True
            return
        found, known = found._replace(stamp=stamp), name in self._known
        self._known[name] = found.modified
        read_at = self._seen.read_at(name)
        if known or (read_at is not None and found.modified > read_at):
            self._tell(name, found, CHANGED.format(found.bytes))
            return
        verdict = self._seen.judge(name, stamp, found.modified)
        if verdict is Verdict.UNSURE:
            self._tell(name, found, UNSURE)
        elif verdict is Verdict.NEW and shown(found.path) != found.path:
            self._tell(name, found, NOT_UTF8)
        elif verdict is Verdict.NEW:
            self._waiting[name] = found
            heapq.heappush(self._order, (stamp, found.path, name))

    def _ready(self, found: _Found) -> int | None:
        """The stamp of a file that can be read; None of one that is still being written."""
        stamp = _stamp(found.path, found.modified)
        if self._source.min_age is None:
            marker = found.path + self._source.marker
            if not store_of(marker).exists(marker):
                return None
            return max(stamp, _stamp(marker, 0))
        return stamp if stamp <= found.listed - self._source.min_age * NANOSECONDS else None

    def _tell(self, name: int, found: _Found, reason: str) -> None:
        reject = Reject(shown(found.path), None, reason, None, found.bytes, b"\0" * 32, b"")
        self._notices.append(_Notice(reject, name, found.stamp, found.listed))


def _stamp(path: str, modified: int) -> int:
    """When a file came to its place or was changed, in nanoseconds; of a remote one, when it was written."""
    try:
        return os.stat(path).st_ctime_ns if is_local(path) else modified
    except OSError:  # it is gone, which reading it tells
        return modified


def _is_as_found(found: _Found) -> bool:
    """Whether a local file is what the listing told; one that is gone, reading tells."""
    try:
        now = os.stat(found.path) if is_local(found.path) else None
    except OSError:
        return True
    return now is None or (now.st_size, now.st_mtime_ns) == (found.bytes, found.modified)


def _number(path: str) -> int:
    """A number for addresses. Two files may have the same."""
    return hash_name(path) & (schema.MAX_FILES - 1)
