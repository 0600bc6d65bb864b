"""Child processes that run a kernel which nobody can bound: parsers of what strangers wrote."""

import mmap
import pickle
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from beam_etl.child_process import TIME_SIGNAL, Child, Waiting, how_it_ended
from beam_etl.kernels.ipc import decode, encode
from beam_etl.transforms.child import BATCH, DONE, ERROR, MISSING, ORDER, ROW_BYTES


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
            child, first = _waiting.take(order) or _Child(order), at
            try:
                for found in child.rows(batch.slice(at, min(reasons, default=batch.num_rows) - at)):
                    yield found
                    at += 1
            except BaseException:  # nobody wants what it still does
                child.end()
                raise
            if child.ended is None:
                _waiting.put(child, order)
            else:  # answers of rows before may have been lost
                reasons = {max(first + child.row, at): self._why(child.ended)}

    def _why(self, code: int) -> str:
        if code == -TIME_SIGNAL:
            return f"it takes over {self.seconds:g} s of the processor"
        return f"it ended its process ({how_it_ended(code)}), which may hold {self.memory_bytes} bytes"


class _Child(Child):
    def __init__(self, order: bytes) -> None:
        with tempfile.TemporaryFile() as shared:
            # takes the room: where none is left, a hole's first use ends the process
            shared.write(bytes(ROW_BYTES))
            shared.flush()
            self._place = mmap.mmap(shared.fileno(), ROW_BYTES)
            super().__init__("beam_etl.transforms.child", str(shared.fileno()), files=[shared.fileno()])
        self.ended: int | None = None
        self.send(ORDER, order)

    def rows(self, batch: pa.RecordBatch) -> Iterator[list[pa.RecordBatch] | str]:
        """As Guarded.rows, up to where it dies: `ended` tells then how, and `row` on which one. Answers may be lost."""
        self._place[:] = bytes(ROW_BYTES)
        self.send(BATCH, encode(batch))
        for _ in range(batch.num_rows):
            found = self._answer()
            if found is None:
                self.ended = self.wait()
                return
            yield found

    def _answer(self) -> list[pa.RecordBatch] | str | None:
        made: list[pa.RecordBatch] = []
        reason = None
        while (frame := self.receive()) is not None:
            kind, content = frame
            if kind == DONE:
                return made if reason is None else reason
            if kind == MISSING:
                raise ImportError(content.decode())
            if kind == ERROR:
                reason = content.decode()
            if kind == BATCH:
                made.append(decode(content))
        return None

    @property
    def row(self) -> int:
        """That it worked on last, of a batch."""
        return int.from_bytes(self._place[:], "little")


_waiting: Waiting[_Child] = Waiting()


def close_children() -> None:
    """Ends the children that wait for work."""
    _waiting.end()
