"""The decompressed bytes of an archive with their positions, up to where a record may not go on."""

import hashlib
from typing import NamedTuple

from beam_etl import schema
from beam_etl.io.access import EXPANDS
from beam_etl.io.errors import is_content_error
from beam_etl.io.formats.archives.members import Members, PlainFile
from beam_etl.io.formats.archives.starts import START_BYTES, is_start, next_start, starts_at
from beam_etl.io.formats.base import Limits
from beam_etl.io.isolate import entering

_SPENT_BYTES = 4 << 20
"""Bytes that were read are dropped when they are so many."""


class Passed(NamedTuple):
    """Bytes that were read past, not held: what a reject tells of them."""

    size: int
    digest: bytes
    payload: bytes


class _Mark(NamedTuple):
    """Where a member begins."""

    at: int
    """In what is held; below 0 where that was dropped."""
    start: int
    """Its stored offset."""


class RecordBytes:
    """What the members of a file hold, from the place that was read to.

    A member that begins with a record ends what was before. One that doesn't goes on with it: archives are also
    compressed as a whole, or in blocks that know nothing of records.

    Attributes:
      data, at: what is held, and where reading is.
      position: of the record or garbage that was begun last. Its byte, where the file isn't compressed; else the offset
        of the member that it begins in, plus the number of those that begin in that member before it.
      damage: why the current member can't be read on; None while it can.
    """

    def __init__(self, members: Members, limits: Limits) -> None:
        self._members = members
        self._limits = limits
        self._plain = members if isinstance(members, PlainFile) else None
        self._waiting: bytes | None = None
        """Start of the next member, which begins with a record or can't be read."""
        self._waiting_damage: Exception | None = None
        self._ended = False
        self._made = self._begun = 0
        self._entered = self._dropped = 0
        """Where the member begins that was entered last; bytes that were dropped since."""
        self._is_doubted = False
        """Whether a long length in there was wrong."""
        self._marks: list[_Mark] = []
        self.data, self.at, self.position = bytearray(), 0, members.start
        self.damage: Exception | None = None

    @property
    def is_packed(self) -> bool:
        """Whether the file is compressed: then a record can't go on in a member that begins with one."""
        return self._plain is None

    def enter(self, stop: int) -> bool:
        """Goes to the next member; false where it begins at `stop` or behind, or there is none."""
        if self._ended or (self._waiting is None and not self._next_member()):
            return False
        start = self._members.start
        if start >= stop:
            return False
        self.data, self.at, self.position = bytearray(self._waiting or b""), 0, start
        self.damage, self._waiting, self._waiting_damage = self._waiting_damage, None, None
        self._marks, self._begun = [_Mark(0, start)], 0
        self._entered, self._dropped, self._is_doubted = start, 0, False
        return True

    def goes_on(self) -> bool:
        """Whether another may read the next member, to which `members` goes then: in files that are compressed."""
        if self._ended or self._plain is not None:
            return False
        if self._waiting is not None:
            self._members.go(self._members.start)
            self._waiting, self._waiting_damage = None, None
        return True

    def leave(self) -> None:
        """There is nothing more to read."""
        self._ended = True

    def begin(self) -> int:
        """Begins a record, or what is none, here; its position."""
        self._drop()
        if self._plain is not None:
            self.position = self._marks[0].start + self.at - self._marks[0].at
            return self.position
        while len(self._marks) > 1 and self._marks[1].at <= self.at:
            del self._marks[0]
            self._begun = 0
        self.position = self._marks[0].start + self._begun
        self._begun += 1
        return self.position

    def need(self, size: int) -> bool:
        """Holds `size` bytes from here on; false where a record can't go on so far."""
        while len(self.data) - self.at < size:
            if not self._more():
                return False
        return True

    def skip_empty_lines(self) -> bool:
        """False where there is nothing behind them."""
        while self.need(1):
            if self.data[self.at] not in b"\r\n":
                return True
            self.at += 1
        return False

    def lands(self, size: int) -> bool:
        """Whether behind `size` bytes, and empty lines, there is a record, or nothing more."""
        if self._plain is not None and size > _SPENT_BYTES:
            stop = self.position + size
            if stop >= self._plain.size:
                return stop == self._plain.size
            behind = self._plain.look(stop, START_BYTES).lstrip(b"\r\n")
            return starts_at(behind, 0) if behind else True
        self.need(size + START_BYTES)
        at = self.at + size
        while at < len(self.data) and self.data[at] in b"\r\n":
            at += 1
        return at == len(self.data) or starts_at(self.data, at)

    def take(self, size: int) -> bytes:
        """The next `size` bytes, which are held."""
        found = bytes(memoryview(self.data)[self.at : self.at + size])
        self.at += size
        return found

    def give_up(self) -> None:
        """Drops what is held of a member that is damaged."""
        self.at = len(self.data)

    def pass_record(self, size: int, arc: bool) -> Passed:
        """Reads past a record of `size` bytes that was begun here; where it doesn't land, to where the next one begins.

        In what is compressed that shows at its end only: the member is read once more then. So it is once: behind a
        wrong length no further one in it is believed.
        """
        if self._plain is not None:
            return self._pass_over(size) if self.lands(size) else self.pass_to_start(arc)
        if not self._is_doubted:
            at, position, begun = self._dropped + self.at, self.position, self._begun
            passed = self._pass_over(size)
            if self.damage is not None or (passed.size == size and self.lands(0)):
                return passed
            self._go_back(at)
            self.position, self._begun, self._is_doubted = position, begun, True
        return self.pass_to_start(arc)

    def _go_back(self, at: int) -> None:
        """To where so many bytes of the member, and those that go on with it, were read."""
        self._members.go(self._entered)
        self._ended, self._waiting, self._waiting_damage = False, None, None
        self.enter(self._entered + 1)
        self._pass_over(at)
        self.begin()

    def _pass_over(self, size: int) -> Passed:
        """Reads past `size` bytes, or as many as there are."""
        passing = _Passing()
        while passing.size < size and self.need(1):
            passing.add(self.take(min(size - passing.size, len(self.data) - self.at)))
            self._drop()
        return passing.passed()

    def pass_to_start(self, arc: bool) -> Passed:
        """Reads past what is no record, to where one begins, or to the end."""
        passing = _Passing()
        while self.need(1):
            found = next_start(self.data, self.at, len(self.data), arc)
            if found is not None:
                passing.add(self.take(found - self.at))
                break
            if self.need(len(self.data) - self.at + 1):  # more came, with which a line may be whole
                size = max(0, len(self.data) - self.at - _SPENT_BYTES - START_BYTES)
            else:
                size = len(self.data) - self.at
            passing.add(self.take(size))
            self._drop()
        return passing.passed()

    def pass_member(self) -> None:
        """Reads past all that is left before the next member that `enter` goes to."""
        while self._more():
            self.give_up()
            self._drop()

    def recover(self, stop: int) -> int | None:
        """Behind damage: where the next member begins that begins with a record, to which `enter` goes below `stop`."""
        found = self._members.find(self._members.start + 1)
        self.damage, self._ended = None, found is None or found >= stop
        return found

    def _more(self) -> bool:
        if self.damage is not None or self._waiting is not None or self._ended:
            return False
        try:
            piece = self._read()
        except Exception as error:
            if not is_content_error(error):
                raise
            self.damage = error
            return False
        while not piece and self._next_member():  # members without content are joined, too
            if self._waiting_damage is not None or is_start(self._waiting or b""):
                break
            self._marks.append(_Mark(len(self.data), self._members.start))
            piece, self._waiting = self._waiting or b"", None
        self.data += piece
        return bool(piece)

    def _next_member(self) -> bool:
        if not self._members.next():
            self._ended = True
            return False
        self._made, self._waiting = 0, b""
        try:
            while len(self._waiting) < START_BYTES and (piece := self._read()):
                self._waiting += piece
        except Exception as error:
            if not is_content_error(error):
                raise
            self._waiting, self._waiting_damage = b"", error
        return True

    def _read(self) -> bytes:
        entering("member", self._members.start, self._made)  # one of many gigabytes takes its time
        piece = self._members.read()
        self._made += len(piece)
        if self._plain is None and self._made > self._limits.most_bytes(self._members.stored):
            raise ValueError(f"a member that {EXPANDS}")
        return piece

    def _drop(self) -> None:
        """Drops what was read, where it is much."""
        if self.at > _SPENT_BYTES:
            del self.data[: self.at]
            self._dropped += self.at
            self._marks = [_Mark(mark.at - self.at, mark.start) for mark in self._marks]
            self.at = 0


class _Passing:
    def __init__(self) -> None:
        self.size, self._digest, self._payload = 0, hashlib.sha256(), b""

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self._digest.update(data)
        self._payload += data[: schema.PAYLOAD_BYTES - len(self._payload)]

    def passed(self) -> Passed:
        return Passed(self.size, self._digest.digest(), self._payload)
