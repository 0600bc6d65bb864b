"""What a check of a dataset tells: what is wrong by kind, the first ones of each, and what it couldn't look at."""

import threading
from collections.abc import Iterable, Iterator

from beam_etl.kernels.findings import TOLD, Found


class Report:
    """Findings of several threads. What is told doesn't depend on which of them was first.

    Attributes:
      notes: what isn't wrong, but worth knowing.
      unchecked: what couldn't be looked at, because of what is wrong.
      bytes, files, rows, postings, documents: looked at so far.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._first: dict[str, list[tuple[str, int, str]]] = {}
        self.notes: list[str] = []
        self.unchecked: list[str] = []
        self.bytes = self.files = self.rows = self.postings = self.documents = 0

    def add(self, place: str, problems: Iterable[Found], offset: int = 0) -> bool:
        """Takes what was found in a file; whether it was anything.

        Args:
          place: path of the file, or what else it is about.
          problems: what was found.
          offset: the row of the file that row 0 of the findings is.
        """
        any_found = False
        with self._lock:
            for kind, total, first in problems:
                any_found = True
                self._counts[kind] = self._counts.get(kind, 0) + total
                told = self._first.setdefault(kind, [])
                told += [(place, row + offset if row >= 0 else -1, what) for row, what in first]
                told.sort()
                del told[TOLD:]
        return any_found

    def count(self, **more: int) -> None:
        """Adds to `bytes`, `files`, `rows`, `postings` or `documents`."""
        with self._lock:
            for name, value in more.items():
                setattr(self, name, getattr(self, name) + value)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self._counts

    @property
    def kinds(self) -> dict[str, int]:
        """How much of each kind is wrong."""
        return dict(self._counts)

    def lines(self) -> Iterator[str]:
        """The report in words."""
        for kind in sorted(self._counts):
            yield f"{kind}: {self._counts[kind]:,}"
            for place, row, what in self._first[kind]:
                yield f"  {place}{f', row {row:,}' if row >= 0 else ''}: {what}"
            if (more := self._counts[kind] - len(self._first[kind])) > 0:
                yield f"  and {more:,} more"
        yield from (f"not checked: {line}" for line in sorted(set(self.unchecked)))
        yield from (f"note: {line}" for line in self.notes)
