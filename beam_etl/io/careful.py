"""Reading where it runs, and what may end the process, or never ends, in a process of its own."""

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TypeVar

from apache_beam.metrics import Metrics

from beam_etl.io import suspects
from beam_etl.io.counting import Counts, count_all, counting
from beam_etl.io.formats.base import FileEntry, Split
from beam_etl.io.sandbox import isolated
from beam_etl.io.watched import StuckError, watched
from beam_etl.transforms.metrics import NAMESPACE, READ_APART

Item = TypeVar("Item")


def carefully(split: Split, seconds: int, make: Callable[[], Iterator[Item]]) -> Generator[Item, None, None]:
    """The items of `make()`, which reads a split.

    They are made here, by a thread of their own. A process of its own makes them where one ended while it read this
    split, and goes on where this thread takes too long, or memory isn't enough. See `sandbox`.

    Args:
      split: what is read. All that happens to it on this machine is remembered by it.
      seconds: of CPU that a record may take, with those that are read with it.
      make: as for `isolated`.

    What `make` counts is counted once, when all items were given.

    Raises:
      FatalError: it can't be read in a process of its own, either.
      Exception: what it raises.
    """
    given, counts = 0, Counts()
    if not suspects.is_suspect(split):
        try:
            for item in watched(partial(_noted, split, make, counts), seconds):
                given += 1
                yield item
            count_all(counts)
            return
        except (StuckError, MemoryError):
            suspects.add(split)
    Metrics.counter(NAMESPACE, READ_APART).inc()
    ended = yield from isolated(make, seconds, given)
    if not ended:
        suspects.clear(split)


def looked_at(file: FileEntry) -> Split:
    """What stands for a file whose start and end are looked at, or whose splits are planned."""
    return Split(file, 0, file.bytes, number=-1)


def _noted(split: Split, make: Callable[[], Iterator[Item]], counts: Counts) -> Iterator[Item]:
    with counting(counts), suspects.note_of(split) as note:
        note.put()
        for item in make():
            note.take()
            yield item
            note.put()
