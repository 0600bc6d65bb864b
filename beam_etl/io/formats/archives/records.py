"""The records of an archive, one after another, and what is none: the same from wherever one of them begins.

What a record's length says is believed where a record, or the end, follows. Where it isn't so, and a record begins
inside of it, the length is wrong: the record is a reject, and reading goes on at that one.
"""

from collections.abc import Iterator
from typing import Any

from beam_etl.io.errors import one_line
from beam_etl.io.formats.archives.alone import records_alone
from beam_etl.io.formats.archives.bytes import Passed, RecordBytes
from beam_etl.io.formats.archives.heads import (
    FIRST_HEAD_BYTES,
    MAX_HEAD_BYTES,
    Head,
    Record,
    head_end,
    warc_head,
)
from beam_etl.io.formats.archives.members import PlainFile, open_members
from beam_etl.io.formats.archives.starts import ARC_LINE, START_BYTES, next_start, starts_at
from beam_etl.io.formats.base import Limits, Split
from beam_etl.io.rejects import Reject, reject_record, reject_rest

ARC_HEADER = "arc_header"
"""The type of the record that an ARC file begins with."""


def read_records(file: Any, split: Split, limits: Limits) -> Iterator[Record | Reject]:
    """The records of a split, whose first byte is one's, and rejects of what is damaged in it."""
    return iter(_Reading(file, split, limits))


def record_places(file: Any, split: Split, limits: Limits) -> Iterator[int]:
    """Where in a split another one may begin, ascending: so that records and rejects stay the same."""
    members = open_members(file, split.start)
    if isinstance(members, PlainFile):
        for found in read_records(file, split, limits):
            if isinstance(found, Record):
                yield found.position
        return
    held = RecordBytes(members, limits)
    while held.enter(split.stop):
        yield held.position
        held.pass_member()
        if held.damage is not None:
            held.recover(split.stop)


class _Reading:
    def __init__(self, file: Any, split: Split, limits: Limits) -> None:
        self._path, self._size, self._stop = split.file.path, split.file.bytes, split.stop
        self._most = limits.record_bytes
        self._members = open_members(file, split.start)
        self._bytes = RecordBytes(self._members, limits)
        self._alone = True
        self._arc = False

    def __iter__(self) -> Iterator[Record | Reject]:
        while True:
            if self._alone and self._bytes.goes_on():
                self._alone = yield from records_alone(self._members, self._stop, self._most)
            if not self._bytes.enter(self._stop):
                return
            yield from self._records()
            if self._bytes.damage is not None:
                yield self._damaged(self._bytes.damage)

    def _records(self) -> Iterator[Record | Reject]:
        """Up to the next member that begins with a record, to damage, or to the end."""
        held = self._bytes
        while held.skip_empty_lines():
            if held.begin() >= self._stop and not held.is_packed:  # of a member, `enter` tells
                held.leave()
                return
            held.need(START_BYTES)
            begins = starts_at(held.data, held.at)
            head = self._head() if begins else None
            if head is None:
                yield from self._garbage(begins)
            elif head.length > self._most:
                yield from self._too_long(head)
            else:
                yield from self._record(head)

    def _head(self) -> Head | None:
        held = self._bytes
        line = ARC_LINE.match(held.data, held.at)
        self._arc = line is not None
        if line is not None:
            kind = ARC_HEADER if line[1].startswith(b"filedesc:") else "response"
            return Head(kind, line[0], len(line[0]), int(line[10]))
        end = self._head_end()
        return None if end is None else warc_head(bytes(held.data[held.at : end]))

    def _head_end(self) -> int | None:
        """Behind the empty line after a head."""
        held, size = self._bytes, FIRST_HEAD_BYTES
        while True:
            more = held.need(size)
            found = head_end(held.data, held.at, held.at + size)
            if found is not None or not more or size > MAX_HEAD_BYTES:
                return found
            size *= 2

    def _record(self, head: Head) -> Iterator[Record | Reject]:
        held, whole = self._bytes, head.size + head.length
        there = held.need(whole)
        if not there and held.damage is not None:
            held.give_up()
            return
        landed = there and held.lands(whole)
        start, position = held.at, held.position
        if not landed:
            found = next_start(
                held.data, start + head.size - 1, min(start + whole, len(held.data)), self._arc
            )
            if found is not None or not there:
                reason = (
                    f"a record of {head.length} bytes: cut off"
                    if found is None
                    else f"a record of {head.length} bytes, as it says: the next one begins inside"
                )
                yield reject_record(
                    self._path, position, reason, held.take((found or len(held.data)) - start)
                )
                return
        raw = held.take(whole)
        yield Record(position, head.type, head.text, raw[head.size :])

    def _too_long(self, head: Head) -> Iterator[Reject]:
        reason = f"a record of {head.length} bytes: over the limit of {self._most}"
        yield from self._passed(reason, 1, self._bytes.pass_record(head.size + head.length, self._arc))

    def _garbage(self, begins: bool) -> Iterator[Reject]:
        """What is no record, up to the next one. `begins`: it begins as one."""
        reason = "a record without length or type" if begins else "no record, but other bytes"
        yield from self._passed(reason, int(begins) or None, self._bytes.pass_to_start(self._arc))

    def _passed(self, reason: str, rows: int | None, passed: Passed) -> Iterator[Reject]:
        if self._bytes.damage is None:  # which is told with all of its member
            yield Reject(self._path, self._bytes.position, reason, rows, *passed)

    def _damaged(self, error: Exception) -> Reject:
        """What can't be decompressed, up to where reading goes on."""
        start = self._members.start
        found = self._bytes.recover(self._stop)
        stop = self._size if found is None else found
        return reject_rest(self._path, start, stop, one_line(error), self._bytes.position)
