"""JoinBuckets: two datasets that are partitioned alike, joined bucket by bucket where they lie."""

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl.io.formats import FileEntry, Split
from beam_etl.io.read import ReadDocuments, count_split, tag_rejects
from beam_etl.io.rejects import Reject
from beam_etl.io.splits import plan_splits, read_split
from beam_etl.kernels.hash_join import HeldSizeError, hash_join
from beam_etl.kernels.join_rule import JoinRule
from beam_etl.kernels.merge_join import OrderError, merge_join
from beam_etl.transforms.batches import Batches, split_batch
from beam_etl.transforms.metrics import ROWS_READ, StepMetrics
from beam_etl.transforms.shuffle import Distribute

REJECTS, FAILURES = "rejects", "failures"
"""Tags of outputs."""

PACKED = 100
"""Buckets of one element of a job's description."""


class Bucket(NamedTuple):
    """The files of both sides that have the rows of some keys."""

    number: int
    left: tuple[FileEntry, ...]
    right: tuple[FileEntry, ...]


class JoinedBuckets(NamedTuple):
    """What joining gives."""

    rows: Batches
    """Of `JoinRule.columns`."""
    rejects: Batches
    """schema.REJECT: what couldn't be read of either side."""
    failures: beam.PCollection[str]
    """Why the result must not be used, as text; none where it may."""


@dataclass(eq=False, kw_only=True)
class JoinBuckets(beam.PTransform):
    """Rows of two sides with equal keys, bucket by bucket. No shuffle: buckets are handed out.

    Input: the pipeline. Output: JoinedBuckets.

    Args:
      left, right: how the sides are read.
      rule: the join, of what they read.
      buckets: each key is in the files of one of them.
      is_sorted: the rows of each file ascend by `rule.on`, nulls last: files are merged, a few batches of each held.
        Otherwise the right side of a bucket is held, or a part of it at a time.
    """

    left: ReadDocuments
    right: ReadDocuments
    rule: JoinRule
    buckets: Sequence[Bucket]
    is_sorted: bool

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, pipeline: beam.Pipeline) -> JoinedBuckets:
        packed = [_pack(self.buckets[at : at + PACKED]) for at in range(0, len(self.buckets), PACKED)]
        work = _JoinBucket(_Read(self.left), _Read(self.right), self.rule, self.is_sorted)
        out = (
            pipeline
            | "Buckets" >> beam.Create(packed, reshuffle=False)
            | "Unpack" >> beam.FlatMap(_unpack).with_output_types(Bucket)
            | "Distribute buckets" >> Distribute()
            | "Join"
            >> beam.ParDo(work)
            .with_output_types(pa.RecordBatch, rejects=pa.RecordBatch, failures=str)
            .with_outputs(REJECTS, FAILURES, main="rows")
        )
        return JoinedBuckets(out.rows, out[REJECTS], out[FAILURES])


def _pack(buckets: Sequence[Bucket]) -> bytes:
    return zlib.compress(json.dumps(buckets).encode())


def _unpack(packed: bytes) -> Iterator[Bucket]:
    for number, *sides in json.loads(zlib.decompress(packed)):
        yield Bucket(number, *(tuple(FileEntry(*file) for file in side) for side in sides))


class _Read:
    """How a file of one side is read: what a worker needs of ReadDocuments."""

    def __init__(self, read: ReadDocuments) -> None:
        self.known = read.known
        self._how = (read.known, read.columns, read.stored_schema)
        self._split_bytes = read.split_bytes

    def splits(self, file: FileEntry) -> list[Split]:
        """The file's splits, in order."""
        return list(plan_splits(file, self.known, self._split_bytes))

    def rows(self, split: Split) -> Iterator[pa.RecordBatch | Reject]:
        """What `read_split` gives."""
        return read_split(split, *self._how)


class _JoinBucket(beam.DoFn):
    """Joins the files of a bucket."""

    def __init__(self, left: _Read, right: _Read, rule: JoinRule, is_sorted: bool) -> None:
        self._left = left
        self._right = right
        self._rule = rule
        self._is_sorted = is_sorted
        self._metrics = StepMetrics()

    def process(self, bucket: Bucket) -> Iterator[Any]:
        left = [_File(self._left, file, self._rule.of_left, self._metrics) for file in bucket.left]
        right = [_File(self._right, file, self._rule.of_right, self._metrics) for file in bucket.right]
        join = merge_join(left, right, self._rule) if self._is_sorted else self._hashed(left, right)
        try:
            for out in self._metrics.timed(join):
                for batch in split_batch(out):
                    self._metrics.gave_out(batch)
                    yield batch
        except HeldSizeError as error:
            yield beam.pvalue.TaggedOutput(FAILURES, f"{error}.")
        except OrderError as error:
            yield beam.pvalue.TaggedOutput(
                FAILURES, f"{error}. Use --way=shuffle, or write that dataset anew."
            )
        for file in (*left, *right):
            yield from file.rejects()

    def _hashed(self, left: "list[_File]", right: "list[_File]") -> Iterator[pa.RecordBatch]:
        return hash_join(_Files(left), _Files(right), self._rule)


class _File:
    """The rows of a file as they are joined, read anew each time that they are iterated over."""

    def __init__(
        self,
        read: _Read,
        file: FileEntry,
        joined: Callable[[pa.RecordBatch], pa.RecordBatch],
        metrics: StepMetrics,
    ) -> None:
        self._read = read
        self._splits = read.splits(file)
        self._joined = joined
        self._metrics = metrics
        self._seen = self._rejected = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        first, self._seen = not self._seen, True
        for split in self._splits:
            for found in self._read.rows(split):
                if isinstance(found, Reject):
                    self._rejected = True
                    continue
                if first:
                    self._metrics.took_in(found)
                    self._metrics.add(ROWS_READ, found.num_rows)
                yield self._joined(found)
            if first:
                count_split(split, self._metrics)

    def rejects(self) -> Iterator[beam.pvalue.TaggedOutput]:
        """What couldn't be read. They may be many, and too large to be held: so they are read once more."""
        if self._rejected:
            found = chain.from_iterable(map(self._read.rows, self._splits))
            yield from tag_rejects((item for item in found if isinstance(item, Reject)), self._metrics)


class _Files:
    """The rows of several files."""

    def __init__(self, files: Sequence[_File]) -> None:
        self._files = files

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return chain.from_iterable(self._files)
