"""How far a split was read for a sample, and a reader that ends where that is enough."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.formats.base import Coding, Rows, SplitReader
from beam_etl.io.rejects import Reject


class Seen:
    """Where the rows of a split are that were read, in its positions.

    Args:
      start: of all records, kept or not; None for the first row.
    """

    def __init__(self, start: int | None) -> None:
        self.rows = self.bytes = self.first = self.last = 0
        self._start = start

    def add(self, positions: np.ndarray, size: int) -> None:
        """Counts the rows at `positions`, int64[rows], which come next and are so many bytes."""
        if len(positions):
            self.first = self.first if self.rows else int(positions[0])
            self.last = int(positions[-1])
            self.rows += len(positions)
            self.bytes += size

    @property
    def before(self) -> int:
        """Up to the first row."""
        return 0 if self._start is None else self.first - self._start

    @property
    def since(self) -> float:
        """From there to behind the last row, which is taken to be as long as those before it; 0 of fewer than two."""
        return (self.last - self.first) * self.rows / max(self.rows - 1, 1)


def positions_of(batch: pa.RecordBatch) -> np.ndarray:
    """int64[rows]: the position of each row in its file."""
    addresses = batch.column(schema.ADDRESS).to_numpy(zero_copy_only=False)
    return (addresses & schema.MAX_POSITION).astype(np.int64)


class Ending:
    """A splits.Spare: the split ends where enough was seen, also where the rows that a condition leaves are no batch.

    Where another process reads the split it is read to its end: nobody would know here that it ended before.

    Args:
      seen: of no rows yet.
      is_enough: of what was seen.
    """

    def __init__(self, seen: Seen, is_enough: Callable[[Seen], bool]) -> None:
        self.ended = False
        self._seen = seen
        self._is_enough = is_enough

    def __call__(self, reader: SplitReader, common: pa.Schema | None) -> SplitReader:
        return _EndingReader(reader, self)

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        return _ending_nowhere, ()

    def ends(self, found: Rows) -> bool:
        """Counts rows: whether they are the last ones."""
        self._seen.add(found.positions, found.batch.nbytes)
        self.ended = self._is_enough(self._seen)
        return self.ended


def _ending_nowhere() -> Callable[[SplitReader, pa.Schema | None], SplitReader]:
    return _same


def _same(reader: SplitReader, common: pa.Schema | None) -> SplitReader:
    return reader


class _EndingReader:
    def __init__(self, reader: SplitReader, ending: Ending) -> None:
        self.schema = reader.schema
        self._reader = reader
        self._ending = ending

    def prefer(self, coded: Sequence[str], batch_rows: int) -> None:
        """As of Coding; nothing where the reader isn't."""
        if isinstance(self._reader, Coding):
            self._reader.prefer(coded, batch_rows)

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        """As of SplitReader."""
        for found in self._reader.rows(names, complete):
            yield found
            if isinstance(found, Rows) and self._ending.ends(found):
                return
