"""Reading in a process of its own, which may end by what it reads: that is rejected, and the rest goes on.

Readers tell where they enter what could end a process (`isolate.entering`). When it ends, another is started that
fails at that place as at any content that can't be read, and gives the rest of what the first one would have given.
"""

import atexit
import contextlib
import io
import os
import pickle  # of orders and rejects between two processes of this run: nobody else writes to their pipes
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pyarrow as pa

from beam_etl.io.counting import count_all
from beam_etl.io.isolate import FatalError, Place

MEMORY_BYTES = 2 << 30
"""What a reader may take on top of what it has to begin with."""

MOST_ENDS = 30
"""Processes that one split may end: each costs a second or two, and the limit of time."""

WAITS, LEAST_WAIT_SECONDS = 10, 120
"""Times the limit of CPU that a reader may be silent without taking any, and at least how long: it may wait for a disk,
or for a core."""

HEAD = struct.Struct("<cQ")
"""What goes before each piece that crosses a pipe: its kind, and its bytes."""

ITEM, ENTERING, ERROR, DONE, FULL = b"i", b"e", b"x", b"d", b"m"
"""Kinds of what a reader says: an item; where it enters; what it raised; that it has done, and its counters; that
memory is used up."""


class EndedError(Exception):
    """The process ended, or had to be ended."""

    def __init__(self, place: Place, reason: str) -> None:
        super().__init__(reason)
        self.place = place
        self.reason = reason


def isolated(make: Callable[[], Iterator[Any]], seconds: int, given: int = 0) -> Generator[Any, None, int]:
    """The items of `make()`, made by another process.

    Args:
      make: a function of an importable module, or a partial of one, which pickles; its items do, or are record batches.
        Called again it gives the same ones.
      seconds: of CPU for what comes after each place that it enters.
      given: so many of the items are there already.

    Returns:
      How many processes have ended by it.

    Raises:
      FatalError: processes end again and again, or where nothing tells the place.
      Exception: what it raises.
    """
    ends: dict[Place, str] = {}
    while True:
        try:
            for item in _items((make, ends, given, seconds)):
                given += 1
                yield item
            return len(ends)
        except EndedError as ended:
            if not ended.place or ended.place in ends or len(ends) == MOST_ENDS:
                raise FatalError(ended.reason) from ended
            ends[ended.place] = ended.reason


def _items(order: tuple[Callable[[], Iterator[Any]], dict[Place, str], int, int]) -> Iterator[Any]:
    """What one process makes.

    Raises:
      EndedError: it ended.
      Exception: what `make` raises.
    """
    reader = _take()
    try:
        yield from reader.items(order, order[-1])
    except (EndedError, GeneratorExit):
        reader.end()
        raise
    except Exception:
        _idle.append(reader)
        raise
    _idle.append(reader)


class _Reader:
    """A process that reads for this one."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "beam_etl.io.sandboxed"]
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        environment = {**os.environ, "PYTHONPATH": paths}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
        )
        self._place: Place = ()

    def items(self, order: Any, seconds: int) -> Iterator[Any]:
        self._place = ()
        with contextlib.suppress(BrokenPipeError):  # then it tells by its end
            write_piece(self._process.stdin, ITEM, pickle.dumps(order))
        while True:
            kind, content = self._next(seconds)
            if kind == ENTERING:
                self._place = pickle.loads(content)  # noqa: S301
            elif kind == ITEM:
                yield unpacked(content)
            elif kind == ERROR:
                raise pickle.loads(content)  # noqa: S301
            elif kind == FULL:
                raise EndedError(self._place, f"reading it takes over {MEMORY_BYTES >> 30} GiB of memory")
            else:
                count_all(pickle.loads(content))  # noqa: S301
                return

    def _next(self, seconds: int) -> tuple[bytes, bytes]:
        out: Any = self._process.stdout
        most, spent = max(WAITS * seconds, LEAST_WAIT_SECONDS), self._ticks()
        while not select.select([out], [], [], most)[0]:
            before, spent = spent, self._ticks()
            if spent == before:  # else others take its cores: what it takes itself has a limit of its own
                raise EndedError(self._place, f"reading it stood still for {most} s")
        found = read_piece(out)
        if found is None:
            raise EndedError(self._place, _reason(self._process.wait(), seconds))
        return found

    def _ticks(self) -> int:
        """CPU that it took so far, of all threads; 0 where the system doesn't tell."""
        try:
            with open(f"/proc/{self._process.pid}/stat", "rb") as told:
                behind_name = told.read().rpartition(b")")[2].split()
            return int(behind_name[11]) + int(behind_name[12])
        except (OSError, ValueError, IndexError):
            return 0

    @property
    def is_alive(self) -> bool:
        """Whether nobody has ended it meanwhile."""
        return self._process.poll() is None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _reason(code: int, seconds: int) -> str:
    if -code == signal.SIGXCPU:
        return f"reading it takes over {seconds} s, which --max_record_seconds allows"
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"reading it ends the process ({how})"


_lock = threading.Lock()
_idle: list[_Reader] = []


def _take() -> _Reader:
    with _lock:
        while _idle:
            reader = _idle.pop()
            if reader.is_alive:
                return reader
            reader.end()
    return _Reader()


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().end()


def write_piece(pipe: Any, kind: bytes, content: bytes = b"") -> None:
    """Writes one piece whole."""
    view = memoryview(HEAD.pack(kind, len(content)) + content)
    while view:
        view = view[pipe.write(view) :]


def read_piece(pipe: Any) -> tuple[bytes, bytes] | None:
    """The next piece; None where there is none, or not all of it."""
    head = _read(pipe, HEAD.size)
    if head is None:
        return None
    kind, size = HEAD.unpack(head)
    content = _read(pipe, size)
    return None if content is None else (kind, content)


def _read(pipe: Any, size: int) -> bytes | None:
    pieces = io.BytesIO()
    while pieces.tell() < size:
        piece = pipe.read(min(size - pieces.tell(), 1 << 20))
        if not piece:
            return None
        pieces.write(piece)
    return pieces.getvalue()


def packed(item: Any) -> bytes:
    """An item as bytes: a batch as Arrow has it, since a pickled slice takes all of its parent along."""
    if not isinstance(item, pa.RecordBatch):
        return b"p" + pickle.dumps(item)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, item.schema) as writer:
        writer.write_batch(item)
    return b"b" + bytes(sink.getvalue())


def unpacked(content: bytes) -> Any:
    """What `packed` packed."""
    if content[:1] == b"p":
        return pickle.loads(content[1:])  # noqa: S301
    with pa.ipc.open_stream(pa.py_buffer(content).slice(1)) as reader:
        return reader.read_next_batch()
