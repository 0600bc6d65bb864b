"""The process of `sandbox` that reads for another one: orders on its standard input, items on its standard output."""

import os
import pickle
import resource
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from beam_etl.io import isolate
from beam_etl.io.counting import Counts, counting
from beam_etl.io.isolate import FatalError, Place
from beam_etl.io.sandbox import (
    DONE,
    ENTERING,
    ERROR,
    FULL,
    ITEM,
    MEMORY_BYTES,
    packed,
    read_piece,
    write_piece,
)


def main() -> None:
    """Works on orders until there are no more, or one ends it."""
    _limit_memory()
    with open(0, "rb", buffering=0) as orders, open(os.dup(1), "wb", buffering=0) as answers:
        os.dup2(2, 1)  # what libraries print is no answer
        _answer(orders, answers)


def _answer(orders: Any, answers: Any) -> None:
    while (order := read_piece(orders)) is not None:
        counts = Counts()
        try:
            with counting(counts):
                for item in _made(order[1], answers):
                    write_piece(answers, ITEM, packed(item))
        except MemoryError:
            write_piece(answers, FULL)
        except Exception as error:  # noqa: BLE001 - the other process raises it
            write_piece(answers, ERROR, _packed_error(error))
        else:
            write_piece(answers, DONE, pickle.dumps(counts))


def _made(order: bytes, answers: Any) -> Iterator[Any]:
    make, ends, given, seconds = pickle.loads(order)  # noqa: S301 - see sandbox

    def told(place: Place) -> None:
        write_piece(answers, ENTERING, pickle.dumps(place))
        if place in ends:
            raise FatalError(ends[place])
        _limit_seconds(seconds)

    _limit_seconds(seconds)
    isolate.listen(told)
    yield from islice(make(), given, None)


def _limit_seconds(seconds: int) -> None:
    """The system ends this process when it takes so much more CPU, whatever it is doing."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, most))


def _limit_memory() -> None:
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as told:
            held = int(told.read().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY_BYTES, held + MEMORY_BYTES))


def _packed_error(error: Exception) -> bytes:
    try:
        return pickle.dumps(error)
    except Exception:  # noqa: BLE001 - some of libraries don't pickle
        return pickle.dumps(ValueError(f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main()
