"""Files of a dataset's tables, read row group by row group: footers are kept, and what is read is counted."""

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl.io.access import open_file
from beam_etl.io.errors import CONTENT_ERRORS, one_line
from beam_etl.io.manifest import DatasetError, Manifest

FOOTER_BYTES = 8 << 10
"""Read at once from the end of a file. Most footers are smaller; pyarrow would read 64 KiB."""

HELD_BYTES = 32 << 20
"""Decoded bytes of row groups that are held of a table: some dozens. Terms of a query often lie in the same."""

_MAGIC = b"PAR1"
_LENGTH = 4


class Counter:
    """Bytes that were read of some files."""

    def __init__(self) -> None:
        self.bytes = 0


class _CountedFile:
    """An open file that says how much is read of it. What pyarrow asks of a Python file."""

    def __init__(self, path: str, counter: Counter) -> None:
        self._file, self._counter = open_file(path), counter

    def read(self, size: int | None = None) -> bytes:
        found: bytes = self._file.read(size)
        self._counter.bytes += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False


class TableFiles:
    """The files of one table, which has one a partition or is small.

    Args:
      folder: of the dataset.
      current: its manifest.
      table: name.
      counter: of what is read.
    """

    def __init__(self, folder: str, current: Manifest, table: str, counter: Counter) -> None:
        self._counter = counter
        partitioning = current.partitioned(table)
        self.partitions = partitioning.by[0].partitions or 1 if partitioning else 1
        self._paths = {
            _number(file.path) if partitioning else place: f"{folder.rstrip('/')}/{file.path}"
            for place, file in enumerate(current.table(table))
        }
        self._footers: dict[int, pq.FileMetaData] = {}
        self._bounds: dict[tuple[int, str], list[tuple[Any, Any]]] = {}
        self._held: OrderedDict[tuple[int, int, tuple[str, ...]], pa.RecordBatch] = OrderedDict()
        self._held_bytes = 0

    def __contains__(self, partition: int) -> bool:
        return partition in self._paths

    def read(self, partition: int, group: int, columns: Sequence[str], hold: bool = True) -> pa.RecordBatch:
        """Columns of a row group. Those that were read last are held, HELD_BYTES of them, unless nobody asks again.

        Raises:
          DatasetError: the file is gone or damaged.
        """
        if not hold:
            return self._read(partition, group, columns)
        key = (partition, group, tuple(columns))
        if key not in self._held:
            self._held[key] = self._read(partition, group, columns)
            self._held_bytes += self._held[key].nbytes
            while self._held_bytes > HELD_BYTES and len(self._held) > 1:
                self._held_bytes -= self._held.popitem(last=False)[1].nbytes
        self._held.move_to_end(key)
        return self._held[key]

    def _read(self, partition: int, group: int, columns: Sequence[str]) -> pa.RecordBatch:
        footer = self._footer(partition)
        with (
            self._opened(partition) as opened,
            pq.ParquetFile(opened, metadata=footer, page_checksum_verification=True) as file,
        ):
            if missing := set(columns) - set(file.schema_arrow.names):
                raise ValueError(f"no column {min(missing)!r}")
            batches = file.read_row_group(group, columns=list(columns), use_threads=False).combine_chunks()
            found = batches.to_batches()
        return found[0] if found else pa.RecordBatch.from_pylist([], batches.schema)

    def all_rows(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Columns of the whole table, which is small."""
        for partition in sorted(self._paths):
            for group in range(self._footer(partition).num_row_groups):
                yield self._read(partition, group, columns)

    def groups_between(self, partition: int, column: str, low: Any, high: Any) -> list[int]:
        """Row groups that may hold a value from `low` to `high`, by their statistics.

        Args:
          partition: one that has a file.
          column: its name.
          low, high: numbers, or strings, which are compared by their bytes.
        """
        key = (partition, column)
        if key not in self._bounds:
            footer = self._footer(partition)
            groups = map(footer.row_group, range(footer.num_row_groups))
            places = {footer.schema.column(place).path: place for place in range(footer.num_columns)}
            self._bounds[key] = [_bounds(group, places.get(column)) for group in groups]
        low, high = _comparable(low), _comparable(high)
        return [
            number
            for number, (least, most) in enumerate(self._bounds[key])
            if type(least) is not type(low) or (least <= high and low <= most)  # else reading it tells
        ]

    def _footer(self, partition: int) -> pq.FileMetaData:
        if partition not in self._footers:
            with self._opened(partition) as file:
                self._footers[partition] = _read_footer(file)
        return self._footers[partition]

    @contextmanager
    def _opened(self, partition: int) -> Iterator[_CountedFile]:
        path = self._paths[partition]
        try:
            counted = _CountedFile(path, self._counter)
            yield counted
            counted.close()
        except FileNotFoundError as error:
            raise DatasetError(f"{path}: it is gone. The dataset was replaced; open it again.") from error
        except CONTENT_ERRORS as error:
            raise DatasetError(f"{path}: {one_line(error)}. check_index tells what is damaged.") from error


def _read_footer(file: _CountedFile) -> pq.FileMetaData:
    """The footer of an open file, and little more."""
    size = file.seek(0, os.SEEK_END)
    read = min(size, FOOTER_BYTES)
    file.seek(size - read)
    end = file.read(read)
    wanted = int.from_bytes(end[-len(_MAGIC) - _LENGTH : -len(_MAGIC)], "little") + _LENGTH + len(_MAGIC)
    if read < wanted <= size:
        file.seek(size - wanted)
        end = file.read(wanted - read) + end
    # What stands before the footer isn't looked at.
    return pq.read_metadata(pa.BufferReader(_MAGIC + end[-wanted:]))


def _number(path: str) -> int:
    return int(path.rpartition("/")[2].split("-")[1])


def _bounds(group: pq.RowGroupMetaData, place: int | None) -> tuple[Any, Any]:
    if place is None:  # some other file, whose statistics may end the process: reading it tells
        return None, None
    column = group.column(place)
    if not column.is_stats_set or not column.statistics.has_min_max:
        return None, None
    return _comparable(column.statistics.min), _comparable(column.statistics.max)


def _comparable(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value
