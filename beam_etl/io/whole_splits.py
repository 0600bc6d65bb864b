"""Splits of an input, each of which has all that a stage makes of it in one file."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from beam_etl.io.changes import lasts
from beam_etl.io.formats import Split
from beam_etl.io.rejects import Reject
from beam_etl.io.spill_files import SPILL_BYTES, Spilled, SpillFile, split_path


class Here:
    """What a thread works on: the steps of its bundle, and the file of the split that runs through them."""

    def __init__(self) -> None:
        self.steps: set[int] = set()
        self.all_steps = 0
        self.file: SpillFile | None = None
        self.address = b""
        self.closed: list[Spilled] = []

    @property
    def has_all(self) -> bool:
        """Whether all steps are done by this thread: each batch of a split is with them before the split is read."""
        return 0 < len(self.steps) == self.all_steps

    def take_closed(self) -> list[Spilled]:
        """The streams of splits that are done, once."""
        closed, self.closed = self.closed, []
        return closed


_threads = threading.local()


def here_of(folder: str) -> Here:
    """What this thread works on, of what goes to a folder."""
    here: Here = _threads.__dict__.setdefault(folder, Here())
    return here


def leave(folder: str) -> None:
    """Forgets it: a step of the bundle is gone."""
    _threads.__dict__.pop(folder, None)


@dataclass(frozen=True)
class WholeSplits:
    """Has all that is made of a split put down in one file: what `FileSource.documents(around=...)` takes.

    So it is where reading and all that SpillTables has of it are one stage, as engines have it without a shuffle and a
    Flatten between. Elsewhere files are of bundles, and no later run takes them over one by one.

    Args:
      folder, spill_bytes: of SpillTables.
    """

    folder: str
    spill_bytes: int = SPILL_BYTES

    @contextmanager
    def __call__(self, split: Split) -> Iterator[Callable[[Any], Any]]:
        """While the split is read; gives what is to be shown all that is found in it."""
        here = here_of(self.folder)
        if not here.has_all:
            yield lambda found: found
            return
        file = here.file = SpillFile(split_path(self.folder, split), self.spill_bytes)
        here.address = str(split.address).encode()
        read = _Read()
        try:
            yield read.saw
            here.closed += file.close_split(split, read.documents, read.lasts)
        except BaseException:  # GeneratorExit, too: a bundle that failed is left where it was
            file.release()
            raise
        finally:
            here.file = None


class _Read:
    def __init__(self) -> None:
        self.documents = 0
        self.lasts = True

    def saw(self, found: Any) -> Any:
        if isinstance(found, pa.RecordBatch):
            self.documents += found.num_rows
        elif isinstance(found, Reject):
            self.lasts &= lasts(found.reason)
        return found
