"""What a format is: how its files are looked at, split, read and written."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.rejects import Reject
from beam_etl.kernels.where import Fact
from beam_etl.transforms.batches import merge_batches

SPLIT_BYTES = 16 << 20
"""Stored bytes of a split: seconds of work, so that one file of 10 GB feeds 160 workers."""

MIN_EXPANDED_BYTES = 128 << 20
"""What expands to less is no attack, however small it was: a million copies of a page."""


class Limits(NamedTuple):
    """What a file may ask for. What is beyond is rejected."""

    record_bytes: int = 64 << 20
    """Of a record, and of a text: engines fail at elements of about this size."""
    expansion: int = 200
    """Times that compressed bytes may expand, beyond MIN_EXPANDED_BYTES: ten to twenty times is much for text."""
    nesting: int = 64
    """Of an Avro schema, which its reader follows on the process's stack."""
    record_seconds: int = 30
    """Of CPU that reading a record may take, with those that are read with it: 16 MiB of sound ones take one."""

    def most_bytes(self, stored: int) -> int:
        """That `stored` bytes may expand to."""
        return max(MIN_EXPANDED_BYTES, self.expansion * stored)


EXPANSION = 4
"""Bytes of text in a byte of zstd, gzip or Parquet, where nobody has counted: web text has 3 to 5."""

NO_ARROW_TYPE = b"beam_etl.no_arrow_type"
"""Metadata key of a stored column that can't be read, and why."""


def even_bytes(size: int, split_bytes: int) -> int:
    """Bytes of each split of a file of `size` bytes, at most `split_bytes`.

    If a file's last split were a small rest, workers that take turns would have unequal shares.
    """
    return -(-size // max(-(-size // split_bytes), 1)) or 1


class FileEntry(NamedTuple):
    """One input file. Numbers count the sorted list of a run."""

    number: int
    path: str
    bytes: int
    modified: int = 0
    """When, in nanoseconds; 0 where that isn't known."""
    etag: str = ""
    """Of an object: what changes with its content; nothing where that isn't known."""


class Split(NamedTuple):
    """A part of a file that one worker reads: small, and the same for everybody who plans it."""

    file: FileEntry
    start: int
    """First stored byte."""
    stop: int
    """Behind the last byte. A record, block or row group belongs to the split that its first byte is in."""
    first: int = 0
    """Position of its first record: exact where positions are row numbers, else a bound from below."""
    rows: int | None = None
    """Its records, where the file tells their number."""
    problem: str = ""
    """Why these stored bytes can't be read at all, when that shows while planning: they become a reject."""
    number: int = 0
    """Its place among the splits of its file."""

    @property
    def name(self) -> str:
        """What it is called in this input: the numbers of its file, and of it in the file, and its bounds."""
        return f"{self.file.number}-{self.number}-{self.start}-{self.stop}"

    @property
    def address(self) -> int:
        """The address of its first record, or one below it: distinct for splits that have records."""
        return self.file.number << schema.POSITION_BITS | self.first


def no_records(places: np.ndarray | None) -> bytes:
    """Of a file that stores columns."""
    raise TypeError("rows that are not stored record by record")


class Rows(NamedTuple):
    """Some rows of a file, as they are stored."""

    batch: pa.RecordBatch
    """The stored columns that were asked for."""
    positions: np.ndarray
    """int64[rows], ascending: the position of each row in its file."""
    raw: Callable[[int], bytes]
    """All bytes of row i, for a reject. Computed only when asked."""
    stored: Callable[[np.ndarray | None], bytes] = no_records
    """The records of the rows at these places, ascending, or of all, as their file has them one behind another;
    only of a format that is `by_record`."""


class SplitReader(Protocol):
    """An opened split."""

    @property
    def schema(self) -> pa.Schema:
        """The file's stored columns."""

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        """The columns `names` of all rows in order, and what could not be read. Can be called once.

        Args:
          names: some of `schema`.
          complete: the caller wants every column: where they are only inferred, a record with others is a
            reject.
        """


LIMITS = Limits()
"""Where nobody asked for others."""

Known = TypeVar("Known", bound="Format")

Facts = Mapping[str, Sequence[Fact]]
"""What is known of columns in a part of a file."""


@runtime_checkable
class Skipping(Protocol):
    """A SplitReader whose file tells what parts of it have."""

    def skip(self, names: Sequence[str], can_hold: Callable[[Facts], bool]) -> int:
        """Leaves out the parts of the split for which `can_hold` is false; their stored bytes.

        Args:
          names: columns that it asks about.
          can_hold: whether a part with these facts is wanted.
        """


@runtime_checkable
class Seeking(Protocol):
    """A SplitReader whose file is read where rows are wanted."""

    def seek(self, positions: np.ndarray) -> None:
        """`rows` is to give these rows alone, and what could not be read before the last of them.

        Args:
          positions: int64, ascending.
        """


@runtime_checkable
class Coding(Protocol):
    """A SplitReader whose file stores texts as dictionaries, and rows in large runs."""

    def prefer(self, coded: Sequence[str], batch_rows: int) -> None:
        """What `rows` is to give: these columns as dictionaries, and batches of so many rows at most."""


class Writer(Protocol):
    """A file that is being written."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds rows."""

    def close(self) -> None:
        """Writes what is left, and the end of the file. The sink stays open."""


class Copier(Protocol):
    """A file that is being written with rows of another one, as they are stored there."""

    def write(self, rows: Rows, kept: np.ndarray | None) -> int:
        """Adds the rows at the places `kept`, ascending, all where it is None; how many."""

    def close(self) -> None:
        """As of Writer."""


class BatchCopier:
    """Copies rows as batches of all stored columns."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def write(self, rows: Rows, kept: np.ndarray | None) -> int:
        batch = rows.batch if kept is None else take_rows(rows.batch, kept)
        self._writer.write(batch)
        return batch.num_rows

    def close(self) -> None:
        self._writer.close()


class Format(Protocol):
    """One way to store documents. Stateless, picklable, the same everywhere."""

    @property
    def name(self) -> str:
        """What `--format` calls it."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Lower case, with the dot. None when only `--format` chooses it."""

    @property
    def suffix(self) -> str:
        """Of written files."""

    @property
    def compressible(self) -> bool:
        """Whether .gz or .zst may follow the suffix."""

    @property
    def by_record(self) -> bool:
        """Whether records are stored one by one: they are copied as bytes, without reading their columns."""

    @property
    def inferred(self) -> bool:
        """Whether files don't tell their columns, so that those of the whole input are used for each."""

    @property
    def by_offset(self) -> bool:
        """Whether records are read one by one and positions are where they are stored, in compressed files too."""

    limits: Limits
    """What is read at most; see `limited`."""

    def schema(self, path: str) -> pa.Schema:
        """The stored columns; some formats infer them from the start of the file.

        Raises:
          InputError: the file is fine, but can't be read for a reason that the user can change.
          Exception: one that `is_content_error` knows, when the file is damaged.
        """

    def splits(self, file: FileEntry, split_bytes: int) -> Iterator[Split]:
        """Splits of about `split_bytes` that cover the file. What is damaged is a split with a problem."""

    def open(self, split: Split, stored: pa.Schema | None) -> SplitReader:
        """Opens a split.

        Args:
          split: one of `splits`.
          stored: columns of the whole input, for formats whose files don't tell; None to infer them.

        Raises:
          Exception: as `schema`.
        """

    def writer(self, sink: Any, columns: pa.Schema) -> Writer:
        """Writes a file into `sink`, which has write, flush, tell and closed.

        Raises:
          InputError: the format can't hold these columns.
        """

    def copy_suffix(self, path: str) -> str:
        """Of a file with rows of the file `path`."""

    def copier(self, sink: Any, path: str, columns: pa.Schema) -> Copier:
        """Writes rows of the file `path`, whose stored columns are `columns`, into `sink`, as `writer` does."""


def limited(known: Known, limits: Limits) -> Known:
    """The same format with other limits."""
    made = copy.copy(known)
    made.limits = limits
    return made


def from_columns(columns: Mapping[str, pa.Array], rows: int) -> pa.RecordBatch:
    """A batch of these columns, which has its rows also when there is no column."""
    if columns:
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


def take_rows(batch: pa.RecordBatch, places: np.ndarray) -> pa.RecordBatch:
    """The rows at these places. Arrow has no `take` of string views: they go through strings."""
    try:
        return batch.take(pa.array(places))
    except pa.ArrowNotImplementedError:
        return merge_batches([batch]).take(pa.array(places)).cast(batch.schema)
