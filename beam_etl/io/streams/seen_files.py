"""Which files of a folder were read, in a bounded number of bytes.

A file is known by the hash of its path. Its stamp is when it came to its place: when it was last changed, renamed or
linked, as its filesystem tells, or uploaded. Only the newest are remembered one by one; of those that came long before
them, a set tells which were read.
"""

import base64
import hashlib
import zlib
from collections.abc import Mapping
from enum import Enum
from typing import Any

REMEMBERED = 2048
"""Files of a split that are remembered one by one, about 30 bytes each; more where more come at once."""

REMEMBERED_NANOSECONDS = 86_400 * 10**9
"""Files that came so much before the newest one are not."""

GRACE_NANOSECONDS = 60 * 10**9
"""A file that came so long before a listing was begun is in it."""

FILTER_BITS = 1 << 19
"""Of the set of forgotten files, 64 KiB: with 50,000 of them it takes one file in a hundred for one of them. It is
asked only about files that were changed before all that is remembered."""

PROBES = 4


class Verdict(Enum):
    """What is known of a file."""

    NEW = "new"
    DONE = "done"
    UNSURE = "unsure"
    """It may be one that was read, and was renamed or got other rights since; or one that was moved here and is old."""


class SeenFiles:
    """The files that were read, from `state` of `to_json` on."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        known = state or {"until": 0, "newest": 0, "files": [], "forgotten": ""}
        self._until: int = known["until"]
        self._newest: int = known["newest"]
        self._files: dict[int, int] = dict(known["files"])
        self._forgotten = bytearray(
            zlib.decompress(base64.b85decode(known["forgotten"])) if known["forgotten"] else FILTER_BITS // 8
        )
        self._encoded: str | None = known["forgotten"]

    def to_json(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        if self._encoded is None:
            self._encoded = base64.b85encode(zlib.compress(bytes(self._forgotten), 1)).decode()
        files = list(self._files.items())
        return {"until": self._until, "newest": self._newest, "files": files, "forgotten": self._encoded}

    def judge(self, name: int, stamp: int, modified: int) -> Verdict:
        """Whether a file that this process hasn't seen yet was read.

        Args:
          name: of `hash_name`.
          stamp: when it came to its place, in nanoseconds.
          modified: when its content was changed.
        """
        if name in self._files:
            return Verdict.DONE
        if stamp < self._until:  # a folder's move, or a link, brings old stamps
            return Verdict.DONE if self._may_be_forgotten(name) else Verdict.NEW
        if modified < self._until and self._may_be_forgotten(name):
            return Verdict.UNSURE
        return Verdict.NEW

    def read_at(self, name: int) -> int | None:
        """The stamp of a file when it was read; None where it isn't remembered."""
        return self._files.get(name)

    def add(self, name: int, stamp: int, listed: int | None) -> None:
        """A file that was read, or told.

        Args:
          name, stamp: as of `judge`.
          listed: when the listing was begun that is read from; None where files that came earlier still wait.
        """
        if stamp < self._until:
            self._mark_forgotten(name)
        else:
            self._files[name] = stamp
        if listed is None:
            return
        self._newest = max(self._newest, stamp)
        until = self._newest - REMEMBERED_NANOSECONDS
        if len(self._files) > REMEMBERED:
            stamps = sorted(self._files.values())
            until = max(until, stamps[len(stamps) // 2])
        until = min(until, self._newest, listed - GRACE_NANOSECONDS)
        if until > self._until:
            self._forget(until)

    def _forget(self, until: int) -> None:
        self._until = until
        for name in [name for name, stamp in self._files.items() if stamp < until]:
            del self._files[name]
            self._mark_forgotten(name)

    def _mark_forgotten(self, name: int) -> None:
        for bit in _probes(name):
            self._forgotten[bit >> 3] |= 1 << (bit & 7)
        self._encoded = None

    def _may_be_forgotten(self, name: int) -> bool:
        return all(self._forgotten[bit >> 3] & 1 << (bit & 7) for bit in _probes(name))


def hash_name(path: str) -> int:
    """63 bits of a path's BLAKE2b."""
    encoded = path.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "big") >> 1


def _probes(name: int) -> list[int]:
    step = (name >> 32) | 1
    return [(name + probe * step) % FILTER_BITS for probe in range(PROBES)]
