"""Child processes that run a kernel which nobody can bound: parsers of what strangers wrote."""

import atexit
import mmap
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa

from beam_etl.kernels.compaction import compact
from beam_etl.transforms.child import (
    BATCH,
    DONE,
    ERROR,
    MISSING,
    ROW_BYTES,
    TIME_SIGNAL,
    decode,
    encode,
    read_frame,
    write_frame,
)

_START = "from beam_etl.transforms.child import main; main()"

_idle: dict[bytes, list["_Child"]] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Guarded:
    """A kernel that runs in child processes, a row at a time.

    Args:
      kernel: a function of a module, or a `functools.partial` of one: it is pickled.
      seconds: of the processor's time for a row.
      memory_bytes: that a child may hold; kept on Linux.
    """

    kernel: Callable[[pa.RecordBatch], object]
    seconds: float
    memory_bytes: int

    def rows(self, batch: pa.RecordBatch) -> Iterator[list[pa.RecordBatch] | str]:
        """For each row what the kernel makes of it, or why it failed.

        A row on which a child dies costs a new child, of half a second, and perhaps the rows before it once more.

        Raises:
          ImportError: the kernel needs what isn't installed.
        """
        order, at = pickle.dumps((self.kernel, self.seconds, self.memory_bytes)), 0
        reasons: dict[int, str] = {}
        while at < batch.num_rows:
            if at in reasons:
                yield reasons.pop(at)
                at += 1
                continue
            child, first = _take(order), at
            for found in child.rows(batch.slice(at, min(reasons, default=batch.num_rows) - at)):
                yield found
                at += 1
            if child.ended is None:
                _give_back(order, child)
            else:  # answers of rows before may have been lost
                reasons = {max(first + child.row, at): self._why(child.ended)}

    def _why(self, code: int) -> str:
        if code == -TIME_SIGNAL:
            return f"it takes over {self.seconds:g} s of the processor"
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"it ended its process ({how}), which may hold {self.memory_bytes} bytes"


class _Child:
    def __init__(self, order: bytes) -> None:
        paths = os.pathsep.join(filter(None, sys.path))
        with tempfile.TemporaryFile() as shared:
            # takes the room: where none is left, a hole's first use ends the process
            shared.write(bytes(ROW_BYTES))
            shared.flush()
            self._place = mmap.mmap(shared.fileno(), ROW_BYTES)
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", _START, str(shared.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": paths},
                pass_fds=(shared.fileno(),),
            )
        self.ended: int | None = None
        self._send(order)

    def rows(self, batch: pa.RecordBatch) -> Iterator[list[pa.RecordBatch] | str]:
        """As Guarded.rows, up to where it dies: `ended` tells then how, and `row` on which one. Answers may be lost."""
        self._place[:] = bytes(ROW_BYTES)
        self._send(encode(compact(batch)))
        for _ in range(batch.num_rows):
            found = self._answer()
            if found is None:
                self.close()
                return
            yield found

    def _answer(self) -> list[pa.RecordBatch] | str | None:
        made: list[pa.RecordBatch] = []
        reason = None
        assert self._process.stdout is not None
        while (frame := read_frame(self._process.stdout)) is not None:
            kind, content = frame
            if kind == DONE:
                return made if reason is None else reason
            if kind == MISSING:
                self.close()
                raise ImportError(content.decode())
            if kind == ERROR:
                reason = content.decode()
            if kind == BATCH:
                made.append(decode(content))
        return None

    def _send(self, content: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died; reading tells
            write_frame(self._process.stdin, BATCH, content)
            self._process.stdin.flush()

    @property
    def row(self) -> int:
        """That it worked on last, of a batch."""
        return int.from_bytes(self._place[:], "little")

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """Ends it, or waits for its end."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]
        self.ended = self._process.wait()


def _take(order: bytes) -> _Child:
    while True:
        with _lock:
            waiting = _idle.get(order)
            child = waiting.pop() if waiting else None
        if child is None:
            return _Child(order)
        if child.is_alive:
            return child
        child.close()  # it ended while it waited: no row is to blame


def _give_back(order: bytes, child: _Child) -> None:
    with _lock:
        _idle.setdefault(order, []).append(child)


def close_children() -> None:
    """Ends the children that wait for work."""
    with _lock:
        children = [child for waiting in _idle.values() for child in waiting]
        _idle.clear()
    for child in children:
        child.close()


atexit.register(close_children)
