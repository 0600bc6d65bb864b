"""FileSource: the documents of some files as a pipeline's source, read again too, and samples of them."""

import copy
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.access import PIECE_BYTES, compression, expansion
from beam_etl.io.checks import LOOKED_AT, evenly
from beam_etl.io.columns import Columns
from beam_etl.io.errors import is_content_error
from beam_etl.io.formats import FileEntry, Format, Split
from beam_etl.io.formats.archives.cdx import Places, chosen_bytes, chosen_places
from beam_etl.io.formats.base import EXPANSION
from beam_etl.io.read import Around, Documents, ReadDocuments, nothing_around
from beam_etl.io.sampling import Ending, Seen, positions_of
from beam_etl.io.splits import Spare, plan_splits
from beam_etl.transforms.batches import MAX_ROWS, merge_batches

COUNTED_FILES = 64
"""So many tell their rows, of 1 ms each: with 8 of 16 files a count was 12% off."""

SAMPLED_ROWS = 1024
"""Of a batch of a sample, where files hold records one by one: so that few are read where columns are few."""

PASSED_BYTES = 16 << 20
"""Expanded, that a sample of few columns passes over, where files hold records one by one: some 3,000 documents of the
web, so that it shows keys that are rare."""

PASSED_FOR_CONDITION = 4
"""Times that, where a condition leaves rows out: they may be together anywhere in a file. It is a block of lines each
of LOOKED_AT places, so that most of it is read anyway."""

DENSE_BYTES = 16
"""Records whose positions are closer, on average, begin in one compressed member: then these aren't where they are."""


class Sample(NamedTuple):
    """Some documents of an input, for estimates."""

    batches: list[pa.RecordBatch]
    scale: float
    """How many times the sample's rows are in the input, about."""

    def expected(self, told: int | None) -> tuple[int, int]:
        """Rows of the input, as the files have `told` or by `scale`, and their bytes in memory."""
        sampled = sum(batch.num_rows for batch in self.batches)
        rows = told or round(sampled * self.scale)
        return rows, round(sum(batch.nbytes for batch in self.batches) / max(sampled, 1) * rows)


class FileSource:
    """The documents of some files as a pipeline's source.

    `documents()` may be called again for a second read. Args and errors are those of ReadDocuments.
    """

    replayable = True

    def __init__(
        self,
        pipeline: beam.Pipeline,
        patterns: str | Sequence[str],
        columns: Columns | None = None,
        format: str | None = None,
        label: str = "Read documents",
        tolerated: float = 0.0,
    ) -> None:
        self.pipeline = pipeline
        self._label = label
        self._read = ReadDocuments(
            patterns=patterns, columns=columns or Columns(), format=format, tolerated=tolerated
        )
        self._reads = 0
        self._places: Places | None = None
        self._chosen_bytes = 0
        self._splits: beam.PCollection[Split] | None = None

    @property
    def files(self) -> list[FileEntry]:
        """The numbered input."""
        return self._read.files

    @property
    def read(self) -> ReadDocuments:
        """How the files are read."""
        return self._read

    def narrow(self, known: Format, places: Places) -> None:
        """Reads with another format from now on: the same, of the records at some places only."""
        self._read.known = known
        self._places, self._chosen_bytes = places, chosen_bytes(self.files, places)

    @property
    def splits(self) -> beam.PCollection[Split]:
        """The splits that the first `documents()` planned.

        Raises:
          ValueError: it wasn't called yet.
        """
        if self._splits is None:
            raise ValueError("documents() comes first: it plans the splits")
        return self._splits

    @property
    def skipped_bytes(self) -> int:
        """As of ReadDocuments."""
        return self._read.skipped_bytes

    @property
    def input_bytes(self) -> int:
        """Stored bytes of all files, or of the records that are read of them."""
        if self._places is not None:
            return self._chosen_bytes
        return sum(file.bytes for file in self.files)

    @property
    def stored_schema(self) -> pa.Schema:
        """The columns of the input, as the files tell that were looked at."""
        return self._read.stored_schema

    def documents(
        self,
        columns: Columns | None = None,
        again: bool = False,
        spare: Spare | None = None,
        tell_splits: bool = False,
        around: Around = nothing_around,
        skip: Collection[str] = (),
    ) -> Documents:
        """Documents, rejects and splits; each call reads the files anew.

        Args:
          columns: others than the source's, needed ones only if it needs them too.
          again: they are counted for people elsewhere, as by the first call.
          spare: leaves out some that aren't wanted; see `splits.Spare`.
          tell_splits: batches say of which split they are; see schema.SPLIT_METADATA.
          around: what each split is read inside of.
          skip: names of splits that aren't read.
        """
        self._reads += 1
        label = self._label if self._reads == 1 else f"{self._label} {self._reads}"
        read = copy.copy(self._read)
        read.columns = columns or read.columns
        read.again = again or self._reads > 1
        read.spare = spare
        read.tell_splits = tell_splits
        read.around, read.skip = around, skip
        found: Documents = self.pipeline | label >> read
        self._splits = self._splits or found.splits
        return found

    def sample(self, max_bytes: int, places: int = LOOKED_AT, columns: Columns | None = None) -> Sample:
        """About `max_bytes` of documents from the start of some splits of some files, at least a batch of each.

        Args:
          max_bytes, places: how much, and from how many splits.
          columns: others than the source's, as for `documents`.
        """
        read = copy.copy(self._read)
        asked = columns or read.columns
        rows = SAMPLED_ROWS if self._has_records else MAX_ROWS
        read.columns = replace(asked, batch_rows=rows, addressed=True)
        files = evenly([file for file in self.files if self._size(file)], places)
        splits = evenly([split for file in files for split in self._plan(file)], places)
        batches: list[pa.RecordBatch] = []
        expected, size = 0.0, 0
        for split in splits:
            of_split, there = self._start(read, split, max_bytes // len(splits), PASSED_BYTES // len(splits))
            if self._has_records and of_split:  # a batch is a place, for who estimates by every other one
                told = of_split[0].schema.metadata  # which file it is
                of_split = [merge_batches(of_split).replace_schema_metadata(told)]
            batches += (
                of_split if asked.addressed else [batch.drop_columns([schema.ADDRESS]) for batch in of_split]
            )
            expected += there
            size += self._split_size(split)
        sampled = sum(batch.num_rows for batch in batches)
        part = expected / sampled if sampled else 1.0
        return Sample(batches, part * sum(map(self._size, self.files)) / max(size, 1))

    @property
    def _has_records(self) -> bool:
        """Whether files hold records one by one: to read one is to pass over all before it, whatever the columns."""
        return self._read.known.by_record or self._read.known.by_offset

    def _start(
        self, read: ReadDocuments, split: Split, most: int, passing: int
    ) -> tuple[list[pa.RecordBatch], float]:
        """Batches from the start of a split, and how many rows all of it gives, about.

        What comes behind is taken to be like what was passed over. In sorted files the rows that fulfil a condition are
        together: as much is read from the first one on as was before it, so that no few are taken for all there are.

        Args:
          read, split: how, and where.
          most: bytes of the batches, about.
          passing: expanded bytes that are read for them, about; few columns may be little of these.
        """
        chosen = read.columns.where is not None
        start = split.first if chosen or split.rows else None
        enough = partial(self._is_enough, split, chosen, most, passing)
        batches: list[pa.RecordBatch] = []
        seen, ending = Seen(start), Ending(Seen(start), enough)
        read.spare = ending if chosen else None
        for batch in read.read_split(split):
            if seen.bytes < most or not batches:
                batches.append(batch)
            seen.add(positions_of(batch), batch.nbytes)
            if enough(seen):
                return batches, seen.rows / self._share(split, seen)
        return batches, seen.rows / self._share(split, seen) if ending.ended else seen.rows

    def _is_enough(self, split: Split, chosen: bool, most: int, passing: int, seen: Seen) -> bool:
        """Whether a split was read far enough. `chosen`: a condition leaves rows out. Others are those of `_start`."""
        passed = self._expanded(split, seen)
        enough = seen.bytes >= most or (self._has_records and passed >= max(most, passing))
        if chosen:
            enough &= seen.since >= seen.before and passed >= passing * PASSED_FOR_CONDITION
        return enough and seen.rows > 0

    def _size(self, file: FileEntry) -> int:
        """Of what is read of a file: records where some are chosen, since an index may tell no bytes, else bytes."""
        return file.bytes if self._places is None else chosen_places(file, self._places)

    def _split_size(self, split: Split) -> int:
        """The same of a split."""
        if self._places is None:
            return split.stop - split.start
        return chosen_places(split.file, self._places, split.start, split.stop)

    def _passed(self, split: Split, seen: Seen) -> float:
        """Positions up to behind the last row, about; 0 where they don't tell how much that is."""
        if split.rows:
            return seen.last + 1 - split.first
        dense = self._read.known.by_offset and seen.since < DENSE_BYTES * seen.rows
        return seen.before + seen.since if self._has_records and not dense else 0.0

    def _expanded(self, split: Split, seen: Seen) -> float:
        """Bytes of the records up to the last row, about."""
        passed = self._passed(split, seen)
        if split.rows:
            return passed / split.rows * (split.stop - split.start) * EXPANSION
        return passed * (EXPANSION if self._is_packed_by_record(split.file) else 1) or seen.bytes

    def _share(self, split: Split, seen: Seen) -> float:
        """How much of a split gave some of its rows, up to 1."""
        if self._places is not None:
            found = chosen_places(split.file, self._places, split.start, seen.last + 1)
            return min(1.0, max(found, 1) / max(self._split_size(split), 1))
        passed = self._passed(split, seen)
        if split.rows:
            return max(passed, 1) / split.rows
        if not (passed and self._read.known.by_offset):
            passed = (passed or seen.bytes) / _expansion(split.file, passed or seen.bytes)
        return min(1.0, max(passed, 1.0) / (split.stop - split.start))

    def expected_documents(self, max_bytes: int) -> int:
        """How many documents there are, about: as some files tell, or a sample of about `max_bytes`."""
        told = self.told_documents()
        if told is None:
            sample = self.sample(max_bytes)
            return round(sum(batch.num_rows for batch in sample.batches) * sample.scale)
        return told

    def told_documents(self) -> int | None:
        """How many documents there are, as the files tell, or some of many; None where files don't tell.

        Nor do they tell how many rows fulfil a condition, or are chosen.
        """
        if self._read.columns.where is not None or self._places is not None:
            return None
        counted = evenly([file for file in self.files if file.bytes], COUNTED_FILES)
        rows = 0
        for split in (split for file in counted for split in self._plan(file)):
            if split.rows is None:
                return None
            rows += split.rows
        return round(rows * self.input_bytes / sum(file.bytes for file in counted)) if counted else None

    def _plan(self, file: FileEntry) -> Iterator[Split]:
        """To look at: compressed files as a whole, since finding their splits takes decompressing them."""
        whole = self._read.known.compressible and compression(file.path)
        return plan_splits(file, self._read.known, max(file.bytes, 1) if whole else self._read.split_bytes)

    def _is_packed_by_record(self, file: FileEntry) -> bool:
        return self._read.known.by_offset and bool(compression(file.path))


def _expansion(file: FileEntry, passed: float) -> float:
    """How many times larger the first decompressed bytes of a file of lines or texts are than what is stored of them.

    Args:
      passed: bytes that it is about.
    """
    if not compression(file.path):
        return 1.0
    try:
        return expansion(file.path, max(PIECE_BYTES, min(round(passed), PASSED_BYTES)))
    except Exception as error:
        if not is_content_error(error):
            raise
        return EXPANSION
