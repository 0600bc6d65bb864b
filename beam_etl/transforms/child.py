"""What a child process does: a kernel over rows, one by one, each within limits of time and memory.

It ends itself, by a signal that no code can hold up, where a row takes too long; its parent sees that, and goes on with
another one. Answers of many rows are sent together, since each time that a parent wakes costs both some tenths of a
millisecond; which row is worked on stands in memory that both see.
"""

import mmap
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from beam_etl.child_process import limit_memory, limit_seconds, pipes, read_frame, write_frame
from beam_etl.kernels.ipc import decode, encode

ORDER, BATCH, ERROR, MISSING, DONE = b"o", b"b", b"e", b"m", b"d"
"""A kernel and its limits; a batch; why a row failed; what isn't installed; the end of a row."""

HELD_BYTES = 1 << 20
"""Of answers, which are sent then, or at the end of a batch."""

ROW_BYTES = 8
"""Of the memory that says which row of a batch is worked on."""


def main() -> None:
    """Works for the parent until it closes the pipe."""
    orders, answers = pipes(HELD_BYTES)
    place = mmap.mmap(int(sys.argv[1]), ROW_BYTES)
    first = read_frame(orders)
    if first is None:
        return
    kernel, seconds, memory = pickle.loads(first[1])  # noqa: S301 - of our parent
    limit_memory(memory)
    while (frame := read_frame(orders)) is not None:
        batch = decode(frame[1])
        for row in range(batch.num_rows):
            place[:] = row.to_bytes(ROW_BYTES, "little")
            limit_seconds(seconds)
            made = list(_answers(kernel, batch.slice(row, 1)))
            limit_seconds(0)
            for kind, content in made:
                write_frame(answers, kind, content)
        answers.flush()


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


if __name__ == "__main__":
    main()
