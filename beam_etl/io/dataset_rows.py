"""Some rows of a dataset's table, by their number or by what they hold: for looking at."""

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from os.path import splitext
from typing import Any

import pyarrow as pa

from beam_etl import schema
from beam_etl.io import manifest
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.errors import InputError
from beam_etl.io.formats import format_of
from beam_etl.io.read import ReadDocuments
from beam_etl.kernels.where import Both, Condition, Membership

Row = dict[str, Any]


class NoTableError(InputError):
    """A dataset has no such table. The message names those there are."""


class TableRows:
    """The rows of a table, in the order of its files.

    Attributes:
      rows: how many.
      config: of the job that wrote the dataset.

    Raises:
      InputError: there is no dataset.
      NoTableError: it has no such table.
    """

    def __init__(self, dataset: str, table: str) -> None:
        current = manifest.latest(dataset)
        if current is None:
            raise InputError(
                f"{dataset}: no dataset, since it has no manifest. Give a folder that a job wrote."
            )
        if table not in current.schemas:
            raise NoTableError(f"{dataset}: no table {table!r}; it has {', '.join(current.schemas)}")
        if kinds := {splitext(file.path)[1] for file in current.table(table) if not format_of(file.path)}:
            others = ", ".join(name for name in current.schemas if name != table)
            raise InputError(
                f"{dataset}: the table {table!r} has no rows to read, but {' and '.join(sorted(kinds))} files, "
                f"which are for loaders: see docs/tokenize.md. Other tables: {others}"
            )
        self._files = [(f"{dataset.rstrip('/')}/{file.path}", file.rows) for file in current.table(table)]
        self.rows = sum(rows for _, rows in self._files)
        self.config: dict[str, Any] = current.about.get("config", {})

    def numbered(self, numbers: Sequence[int]) -> Iterator[Row]:
        """The rows of these numbers, which ascend. Files without one aren't opened."""
        wanted, first = iter(numbers), 0
        number = next(wanted, None)
        for path, rows in self._files:
            start = first
            first += rows
            if number is None or number >= first:
                continue
            for batch in self._read(path):
                while number is not None and number < start + batch.num_rows:
                    yield from batch.slice(number - start, 1).to_pylist()
                    number = next(wanted, None)
                start += batch.num_rows
                if number is None or number >= first:
                    break

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows."""
        for path, _ in self._files:
            yield from self._read(path)

    def where(self, holds: Callable[[pa.RecordBatch], Sequence[bool | None]]) -> Iterator[int]:
        """Numbers of the rows for which `holds` is true, ascending. Everything is read, as far as it is asked for."""
        first = 0
        for path, _ in self._files:
            for batch in self._read(path):
                yield from (first + row for row, held in enumerate(holds(batch)) if held)
                first += batch.num_rows

    def of_documents(self, places: Collection[tuple[str, int]]) -> Iterator[Row]:
        """The rows about documents: those with one of these pairs of `file` and `position`."""
        files, positions = (tuple(sorted(map(str, set(each)))) for each in zip(*places, strict=True))
        condition = Both(Membership("file", files), Membership("position", positions))
        for path, _ in self._files:
            for batch in self._read(path, condition):
                yield from (row for row in batch.to_pylist() if (row["file"], row["position"]) in places)

    def _read(self, path: str, where: Condition | None = None) -> Iterator[pa.RecordBatch]:
        read = ReadDocuments(patterns=[path], columns=Columns(needed=(), carry=ALL, where=where))
        for batch in read.read_file(read.files[0]):
            yield batch.drop_columns([schema.ADDRESS])


def choose(numbers: Iterator[int] | range, count: int, seed: int | None) -> list[int]:
    """The first `count` of some numbers; with a seed, as many of them at random, ascending."""
    if seed is None:
        return list(islice(numbers, count))
    everything = numbers if isinstance(numbers, range) else list(numbers)
    return sorted(random.Random(seed).sample(everything, min(count, len(everything))))
