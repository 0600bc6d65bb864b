"""The process of `sandbox` that reads for another one: orders on its standard input, items on its standard output."""

import pickle
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from beam_etl.child_process import limit_memory, limit_seconds, pipes, read_frame, write_frame
from beam_etl.io import isolate
from beam_etl.io.counting import Counts, counting
from beam_etl.io.isolate import FatalError, Place
from beam_etl.io.sandbox import BATCH, DONE, ENTERING, ERROR, FULL, ITEM, MEMORY_BYTES
from beam_etl.kernels.ipc import encode


def main() -> None:
    """Works on orders until there are no more, or one ends it."""
    limit_memory(_held_bytes() + MEMORY_BYTES)
    orders, answers = pipes()
    while (order := read_frame(orders)) is not None:
        counts = Counts()
        try:
            with counting(counts):
                for item in _made(order[1], answers):
                    write_frame(answers, *_told(item))
        except MemoryError:
            write_frame(answers, FULL)
        except Exception as error:  # noqa: BLE001 - the other process raises it
            write_frame(answers, ERROR, _told_error(error))
        else:
            write_frame(answers, DONE, pickle.dumps(counts))


def _made(order: bytes, answers: Any) -> Iterator[Any]:
    make, ends, given, seconds = pickle.loads(order)  # noqa: S301 - see sandbox

    def told(place: Place) -> None:
        write_frame(answers, ENTERING, pickle.dumps(place))
        if place in ends:
            raise FatalError(ends[place])
        limit_seconds(seconds)

    limit_seconds(seconds)
    isolate.listen(told)
    try:
        yield from islice(make(), given, None)
    finally:
        limit_seconds(0)  # the next order has limits of its own


def _held_bytes() -> int:
    """Of data, before it reads anything; 0 where the system doesn't tell."""
    if sys.platform != "linux":
        return 0
    import resource

    with open("/proc/self/statm", encoding="ascii") as told:
        return int(told.read().split()[5]) * resource.getpagesize()


def _told(item: Any) -> tuple[bytes, bytes]:
    return (BATCH, encode(item)) if isinstance(item, pa.RecordBatch) else (ITEM, pickle.dumps(item))


def _told_error(error: Exception) -> bytes:
    try:
        return pickle.dumps(error)
    except Exception:  # noqa: BLE001 - some of libraries don't pickle
        return pickle.dumps(ValueError(f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main()
