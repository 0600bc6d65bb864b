"""What formats of lines share: how their files are split, read line by line, and copied."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from beam_etl.io.access import compression
from beam_etl.io.formats.base import LIMITS, Copier, FileEntry, Limits, Rows, Split
from beam_etl.io.formats.line_copies import LineCopier
from beam_etl.io.formats.lines import BLOCK_BYTES, Lines, LongLine, UnreadableError, line_splits, split_lines
from beam_etl.io.formats.rest import reject_long_line, reject_unreadable
from beam_etl.io.rejects import Reject


class LineFormat:
    """A format of lines, also as .gz and .zst. Position: byte offset of the line."""

    suffix: str
    compressible = True
    by_record = True
    by_offset = False
    limits = LIMITS

    def splits(self, file: FileEntry, split_bytes: int) -> Iterator[Split]:
        return line_splits(file, split_bytes)

    def copy_suffix(self, path: str) -> str:
        return self.suffix + compression(path)

    def copier(self, sink: Any, path: str, columns: pa.Schema) -> Copier:
        return LineCopier(sink, path)


class LineReader:
    """The lines of a split.

    Args:
      split: of `LineFormat.splits`.
      columns: there are.
      limits: of what is read.
      reading: given the columns that are asked for, and whether no others may be there, a function that makes rows of
        lines, and rejects.
    """

    def __init__(
        self,
        split: Split,
        columns: pa.Schema,
        limits: Limits,
        reading: Callable[[Sequence[str], bool], Callable[[Lines], Iterable[Rows | Reject]]],
    ) -> None:
        self._split = split
        self._limits = limits
        self._reading = reading
        self.schema = columns

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        read = self._reading(names, complete)
        try:
            for found in split_lines(self._split, BLOCK_BYTES, self._limits):
                if isinstance(found, LongLine):
                    yield reject_long_line(self._split.file.path, found, self._limits.record_bytes)
                else:
                    yield from read(found)
        except UnreadableError as error:
            yield reject_unreadable(self._split, error)
