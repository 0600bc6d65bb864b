"""Processes that work for this one: their start, frames on their pipes, their limits, and how their end is told.

A frame is a byte that says what it is, eight for its length, and its content.
"""

import atexit
import fcntl
import io
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Generic, TypeVar

TIME_SIGNAL = signal.SIGPROF
"""What ends a process that has used up its seconds."""

_HEAD = struct.Struct("<cQ")
_PIPE_BYTES = 1 << 20
"""Of a pipe: of one that holds less, one of its two processes wakes the other the more often."""
_READ_BYTES = 1 << 20
"""Most that is read of a frame at once: a broken head may tell any length."""


class Child:
    """A process that runs a module of this package, which answers on `pipes()`.

    Args:
      module: its name.
      arguments: what it finds in sys.argv.
      files: open ones that it has too.
    """

    def __init__(self, module: str, *arguments: str, files: Sequence[int] = ()) -> None:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
            bufsize=0,
            pass_fds=files,
        )
        for pipe in (self.process.stdin, self.process.stdout):
            _widen(self._pipe(pipe))

    def send(self, kind: bytes, content: bytes) -> None:
        """Sends it a frame; nothing where it has ended, which `receive` tells."""
        with suppress(BrokenPipeError):
            write_frame(self._pipe(self.process.stdin), kind, content)

    def receive(self) -> tuple[bytes, bytes] | None:
        """The next frame that it sends; None where it has ended."""
        return read_frame(self._pipe(self.process.stdout))

    def answers_within(self, seconds: float) -> bool:
        """Whether `receive` has something to read, or finds that it has ended, before so many seconds are over."""
        ready = select.poll()
        ready.register(self._pipe(self.process.stdout), select.POLLIN)
        return bool(ready.poll(1000 * seconds))

    @property
    def is_alive(self) -> bool:
        """Whether nobody has ended it meanwhile."""
        return self.process.poll() is None

    def wait(self) -> int:
        """Its exit code once it has ended, as subprocess tells it. It gets no more work, and nobody hears it."""
        for pipe in (self.process.stdin, self.process.stdout):
            self._pipe(pipe).close()
        return self.process.wait()

    def end(self) -> None:
        """Ends it."""
        self.process.kill()
        self.wait()

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


Kind = TypeVar("Kind", bound=Child)


class Waiting(Generic[Kind]):
    """Children that wait for work. They are ended with this process."""

    def __init__(self) -> None:
        self._children: defaultdict[bytes, list[Kind]] = defaultdict(list)
        self._lock = threading.Lock()
        atexit.register(self.end)

    def take(self, work: bytes = b"") -> Kind | None:
        """One that was put here for this work, if there is any that lives."""
        while True:
            with self._lock:
                if not self._children[work]:
                    return None
                child = self._children[work].pop()
            if child.is_alive:
                return child
            child.wait()

    def put(self, child: Kind, work: bytes = b"") -> None:
        """It waits from now on."""
        with self._lock:
            self._children[work].append(child)

    def end(self) -> None:
        """Ends those that wait."""
        with self._lock:
            children = [child for waiting in self._children.values() for child in waiting]
            self._children.clear()
        for child in children:
            child.end()


def _widen(pipe: IO[bytes]) -> None:
    """Lets a pipe hold more, where the system can and a user's pipes don't hold too much already."""
    if sys.platform == "linux" and hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def how_it_ended(code: int) -> str:
    """The signal, or the exit code, in words."""
    if code >= 0:
        return f"exit code {code}"
    named = -code in {number.value for number in signal.Signals}
    return signal.Signals(-code).name if named else f"signal {-code}"


def pipes(held_bytes: int = 0) -> tuple[IO[bytes], IO[bytes]]:
    """In a child: whence it reads frames, and where it writes them. What libraries print goes elsewhere.

    Args:
      held_bytes: so much of what is written is held back until it is flushed.
    """
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=held_bytes)
    os.dup2(2, 1)
    return orders, answers


def write_frame(out: IO[bytes], kind: bytes, content: bytes = b"") -> None:
    """Writes a frame whole."""
    for part in (_HEAD.pack(kind, len(content)), content):
        view = memoryview(part)
        while view:
            view = view[out.write(view) :]


def read_frame(source: IO[bytes]) -> tuple[bytes, bytes] | None:
    """Kind and content of the next frame; None where there is none, or not all of it."""
    head = _read(source, _HEAD.size)
    if head is None:
        return None
    kind, size = _HEAD.unpack(head)
    content = _read(source, size)
    return None if content is None else (kind, content)


def _read(source: IO[bytes], size: int) -> bytes | None:
    held = io.BytesIO()
    while held.tell() < size:
        piece = source.read(min(size - held.tell(), _READ_BYTES))
        if not piece:
            return None
        held.write(piece)
    return held.getvalue()


def limit_seconds(seconds: float) -> None:
    """The system ends this process when it takes so much more CPU, whatever it is doing; 0: it may take any."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def limit_memory(size: int) -> None:
    """From so many bytes of data on, this process can't take more. Kept on Linux."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
