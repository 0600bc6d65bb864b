"""The splits that a run takes over, listed in a file: steps that need them know its path, so that a job stays small."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from beam_etl.io.spill_files import Spilled, SplitFile, tell_streams, told_streams
from beam_etl.io.stores import store_of


@dataclass(frozen=True)
class TakenSplits:
    """A collection of their names, and their streams. The list is read where it is asked.

    Args:
      path: of the list; none where no split is taken over.
    """

    path: str = ""

    def __contains__(self, name: object) -> bool:
        return bool(self.path) and name in _names(self.path)

    def __iter__(self) -> Iterator[str]:
        return iter(_names(self.path) if self.path else ())

    def __len__(self) -> int:
        return len(_names(self.path)) if self.path else 0

    def streams(self) -> list[Spilled]:
        """What was made of all of them."""
        return told_streams(self.path)[0] if self.path else []


def list_taken(folder: str, run: str, files: Sequence[SplitFile]) -> TakenSplits:
    """Writes the list of a run.

    Args:
      folder, run: as of SpillTables.
      files: in the folder.
    """
    taken = TakenSplits(os.path.join(folder, f"taken-{run}.json"))
    store_of(folder).make_folder(folder)  # who published meanwhile has removed it: then the run is overtaken
    streams = [stream for file in files for stream in file.streams]
    tell_streams(taken.path, streams, splits=[file.split for file in files])
    return taken


@lru_cache(maxsize=4)
def _names(path: str) -> frozenset[str]:
    return frozenset(told_streams(path)[1]["splits"])
