"""What a child process does: a kernel over rows, one by one, each within limits of time and memory.

It ends itself, by a signal that no code can hold up, where a row takes too long; its parent sees that, and goes on with
another one. Frames, both ways: a byte that says what it is, eight for its length, and its content. Those of many rows
are sent together, since each time that a parent wakes costs both some tenths of a millisecond; which row is worked on
stands in memory that both see.
"""

import mmap
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

import pyarrow as pa

BATCH, ERROR, MISSING, DONE = b"b", b"e", b"m", b"d"
"""A batch; why a row failed; what isn't installed; the end of a row."""

HELD_BYTES = 1 << 20
"""Of answers, which are sent then, or at the end of a batch."""

ROW_BYTES = 8
"""Of the memory that says which row of a batch is worked on."""

TIME_SIGNAL = signal.SIGPROF
"""What ends a child that has used up the processor's time for a row."""


def write_frame(out: IO[bytes], kind: bytes, content: bytes = b"") -> None:
    """Writes a frame."""
    out.write(kind + len(content).to_bytes(8, "little") + content)


def read_frame(source: IO[bytes]) -> tuple[bytes, bytes] | None:
    """Kind and content; None where the other side has ended."""
    head = source.read(9)
    if len(head) < 9:
        return None
    size = int.from_bytes(head[1:], "little")
    content = source.read(size)
    return (head[:1], content) if len(content) == size else None


def encode(batch: pa.RecordBatch) -> bytes:
    """A batch as an IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def decode(encoded: bytes) -> pa.RecordBatch:
    """The batch of an IPC stream."""
    with pa.ipc.open_stream(encoded) as reader:
        return reader.read_next_batch()


def main() -> None:
    """Works for the parent until it closes the pipe."""
    source, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=HELD_BYTES)
    place = mmap.mmap(int(sys.argv[1]), ROW_BYTES)
    os.dup2(2, 1)  # what a library prints is not for the parent
    first = read_frame(source)
    if first is None:
        return
    kernel, seconds, memory = pickle.loads(first[1])  # noqa: S301 - of our parent
    _limit_memory(memory)
    while (frame := read_frame(source)) is not None:
        batch = decode(frame[1])
        for row in range(batch.num_rows):
            place[:] = row.to_bytes(ROW_BYTES, "little")
            signal.setitimer(signal.ITIMER_PROF, seconds)
            made = list(_answers(kernel, batch.slice(row, 1)))
            signal.setitimer(signal.ITIMER_PROF, 0)
            for kind, content in made:
                write_frame(out, kind, content)
        out.flush()


def _answers(kernel: Callable[[pa.RecordBatch], Any], row: pa.RecordBatch) -> Iterator[tuple[bytes, bytes]]:
    try:
        made = kernel(row)
        for batch in [made] if isinstance(made, pa.RecordBatch) else made or ():
            yield BATCH, encode(batch)
    except ImportError as error:
        yield MISSING, str(error).encode()
    except Exception as error:  # noqa: BLE001 - told to the parent
        yield ERROR, f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace")
    yield DONE, b""


def _limit_memory(size: int) -> None:
    if sys.platform == "linux":  # elsewhere the limit isn't kept
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


if __name__ == "__main__":
    main()
