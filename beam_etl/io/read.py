"""ReadDocuments: files to batches of documents, and rejects for what could not be read."""

import json
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError
from apache_beam.typehints.decorators import no_annotations

from beam_etl.io.changes import CHANGED, change_of, mark_of
from beam_etl.io.checks import check_files
from beam_etl.io.columns import Columns
from beam_etl.io.dataset_input import DatasetInput
from beam_etl.io.errors import InputError, one_line
from beam_etl.io.files import input_format, match_files
from beam_etl.io.formats import FileEntry, Format, Split
from beam_etl.io.formats.base import SPLIT_BYTES, limited
from beam_etl.io.rejects import STAGE, Reject, reject_batches
from beam_etl.io.splits import Spare, plan_splits, read_split, tell_split
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.metrics import (
    BYTES_READ,
    BYTES_READ_AGAIN,
    FILES_READ,
    RECORDS_REJECTED,
    ROWS_READ,
    StepMetrics,
    count_live,
)
from beam_etl.transforms.shuffle import Distribute

GROUP_FILES = 1000
"""Files of one element of the first step: a million files are a thousand elements in a job's description."""

MAX_SPLITS = 1 << 22
"""Splits of an input grow so that there are about so many at most, and as many as there are files: 256 MiB each of a
petabyte. Where each begins is told to every worker, in 8 bytes."""

HELD_REJECTS = 1000
"""Rejects of a split that go out together: at most 4 MiB."""

REJECTS = "rejects"
"""Tag of the output."""

Around: TypeAlias = Callable[[Split], AbstractContextManager[Callable[[Any], Any]]]
"""What is entered while a split is read, and what is found in it worked on by all steps of the same stage. It gives a
function that is shown each batch and Reject, and gives it back."""


class Documents(NamedTuple):
    """What reading gives."""

    documents: Batches
    """Batches of the columns that were asked for (see Columns)."""
    rejects: Batches
    """Batches of schema.REJECT."""
    splits: beam.PCollection[Split] | None
    """What was read, part by part; None of a stream."""


@dataclass(eq=False, kw_only=True)
class ReadDocuments(beam.PTransform):
    """All documents of some files. No shuffle: splits of files are handed out.

    Input: the pipeline. Output: Documents. In each file, records started are documents and rejects together;
    what is unreadable as a whole is one reject. A row's address is its file's number in the sorted list and
    its position in the file, whatever the splits.

    Args:
      patterns: see `match_files`.
      columns: what is needed, and what the data calls it.
      format: of all files; None tells it from their suffixes.
      split_bytes: stored bytes that one worker reads at a time, about; more where there were over MAX_SPLITS.
      tolerated: as for `check_files`.

    Attributes:
      files: the numbered input.
      stored_schema: the columns of the input, as the files tell that were looked at.
      again: what is read was counted already.
      spare, tell_splits, around, skip: as for `FileSource.documents`.
      skipped_bytes: of files that are left out, since by their partitions no row fulfils `columns.where`.
      partitions: how the files are partitioned; None where they aren't those of one partitioned dataset.

    Raises:
      InputError: when it is made: no such files, several formats, or they lack what is needed. See
        `match_files`, `input_format` and `check_files`.
    """

    patterns: str | Sequence[str]
    columns: Columns = field(default_factory=Columns)
    format: str | None = None
    split_bytes: int = SPLIT_BYTES
    tolerated: float = 0.0

    def __post_init__(self) -> None:
        super().__init__()
        if self.split_bytes < 1:
            raise ValueError(f"split_bytes must be at least 1, got {self.split_bytes}")
        self.again = False
        self.spare: Spare | None = None
        self.tell_splits = False
        self.around: Around = nothing_around
        self.skip: Collection[str] = ()
        try:
            datasets = DatasetInput(self.columns.where)
            self.files = match_files(self.patterns, self.format, datasets)
            self.skipped_bytes, self.partitions = datasets.skipped_bytes, datasets.partitions(self.files)
            self.known = limited(input_format(self.files, self.format), self.columns.limits)
            self.stored_schema = check_files(self.files, self.known, self.columns, self.tolerated)
            self.split_bytes = max(self.split_bytes, sum(file.bytes for file in self.files) // MAX_SPLITS)
        except (OSError, BeamIOError) as error:
            raise InputError(
                f"the input can't be read: {one_line(error)}. Check that the path is right, that it is a file where "
                "a file is meant, and that you may read it and the folders above it."
            ) from error

    @no_annotations  # type: ignore[untyped-decorator]  # Beam takes a tuple of PCollections for a mistake
    def expand(self, pipeline: beam.Pipeline) -> Documents:
        work = _ReadSplit(
            self.known,
            self.columns,
            self.stored_schema,
            self.again,
            self.spare,
            self.tell_splits,
            self.around,
        )
        read = beam.ParDo(work).with_output_types(pa.RecordBatch, rejects=pa.RecordBatch)
        splits = (
            hand_out_files(pipeline, self.files)
            | "Plan splits"
            >> beam.FlatMap(_plan_splits, self.known, self.split_bytes, self.skip).with_output_types(Split)
            | "Distribute splits" >> Distribute()
        )
        found = splits | "Read" >> read.with_outputs(REJECTS, main="documents")
        return Documents(found.documents, found.rejects, splits)

    def read_file(self, file: FileEntry) -> Iterator[pa.RecordBatch]:
        """The documents of one file, read right here, without the rejects."""
        for split in plan_splits(file, self.known, self.split_bytes):
            yield from self.read_split(split)

    def read_split(self, split: Split) -> Iterator[pa.RecordBatch]:
        """The documents of one split, read right here, without the rejects."""
        for found in read_split(split, self.known, self.columns, self.stored_schema, self.spare):
            if isinstance(found, pa.RecordBatch):
                yield found


@no_annotations  # type: ignore[untyped-decorator]  # Beam can't compare a protocol
def _plan_splits(file: FileEntry, known: Format, split_bytes: int, skip: Collection[str]) -> Iterator[Split]:
    skipped = False
    for split in StepMetrics().timed(iter(plan_splits(file, known, split_bytes))):
        if split.problem and skip and _are_behind(split, skip):
            yield split._replace(problem=f"{CHANGED}: {split.problem}, and {_READ_BEFORE}")
        elif split.name in skip and not split.problem:
            skipped = True
            show_read(split)
        else:
            yield split
    if skipped and (how := change_of(file, mark_of(file))):  # else some of it might be planned by nobody
        yield Split(file, 0, file.bytes, problem=how)


_READ_BEFORE = (
    "what an earlier run has read of that is there. Run again, without --resume=true if it stays so."
)


def _are_behind(split: Split, names: Collection[str]) -> bool:
    """Whether some of the splits that have these names are where a split begins, or behind that in its file."""
    told = (name.split("-", 2) for name in names)
    return any(int(file) == split.file.number and int(number) >= split.number for file, number, _ in told)


def nothing_around(split: Split) -> AbstractContextManager[Callable[[Any], Any]]:
    """Changes nothing."""
    del split
    return nullcontext(_as_it_is)


def _as_it_is(found: Any) -> Any:
    return found


class _ReadSplit(beam.DoFn):
    def __init__(
        self,
        known: Format,
        columns: Columns,
        stored: pa.Schema,
        again: bool,
        spare: Spare | None,
        tell_splits: bool,
        around: Around,
    ) -> None:
        self._spare = spare
        self._around = around
        self._tell_splits = tell_splits
        self._known = known
        self._columns = columns
        self._stored = stored
        self._again = again
        self._metrics = StepMetrics()

    def process(self, split: Split) -> Iterator[Any]:
        read = self._metrics.timed(read_split(split, self._known, self._columns, self._stored, self._spare))
        with self._around(split) as shown:
            for found in tag_rejects(map(shown, read), self._metrics):
                if isinstance(found, pa.RecordBatch):
                    self._metrics.gave_out(found)
                    if not self._again:
                        self._metrics.add(ROWS_READ, found.num_rows)
                    yield tell_split(found, split.address) if self._tell_splits else found
                else:
                    yield found
        if self._again:
            count_live(BYTES_READ_AGAIN, split.stop - split.start)
        else:
            count_split(split, self._metrics)


def count_split(split: Split, metrics: StepMetrics) -> None:
    """Counts a split that has been read, for the run and for who watches it."""
    metrics.add(BYTES_READ, split.stop - split.start)
    show_read(split)


def show_read(split: Split) -> None:
    """Counts a split for who watches the run: it has been read, now or by an earlier run."""
    count_live(BYTES_READ, split.stop - split.start)
    count_live(FILES_READ, split.stop == split.file.bytes)


def tag_rejects(found: Iterable[Any], metrics: StepMetrics, stage: str = STAGE) -> Iterator[Any]:
    """What was found as it comes, its rejects counted and in batches for the output REJECTS."""
    held: list[Reject] = []
    for item in found:
        if not isinstance(item, Reject):
            yield item
            continue
        metrics.add(RECORDS_REJECTED, 1)
        held.append(item)
        if len(held) == HELD_REJECTS:
            yield from _tagged(held, stage)
            held = []
    yield from _tagged(held, stage)


def _tagged(rejects: list[Reject], stage: str) -> Iterator[beam.pvalue.TaggedOutput]:
    for batch in reject_batches(rejects, stage):
        yield beam.pvalue.TaggedOutput(REJECTS, batch)


def hand_out_files(pipeline: beam.Pipeline, files: Sequence[FileEntry]) -> beam.PCollection[FileEntry]:
    """The files, one by one. They are a part of the job's description, in groups of GROUP_FILES."""
    groups = [pack_files(files[at : at + GROUP_FILES]) for at in range(0, len(files), GROUP_FILES)]
    return (
        pipeline
        | "Files" >> beam.Create(groups, reshuffle=False)
        | "Unpack" >> beam.FlatMap(unpack_files).with_output_types(FileEntry)
        | "Distribute files" >> Distribute()
    )


def pack_files(files: Sequence[FileEntry]) -> bytes:
    """Files as one small element of a job's description."""
    return zlib.compress(json.dumps(files).encode())


def unpack_files(packed: bytes) -> list[FileEntry]:
    """What `pack_files` packed."""
    return [FileEntry(*file) for file in json.loads(zlib.decompress(packed))]
