"""Aggregate: combine within each bundle, shuffle what is left, combine again."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
import numpy as np
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.partition import GATHER_BYTES
from beam_etl.transforms.batches import Batches, MapBatches, split_batch
from beam_etl.transforms.gathering import GatherBatches, Merge, combine_all
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.shuffle import Shuffle
from beam_etl.transforms.windows import accumulates

SALT = "beam_etl.salt"
"""uint32: only while rows travel."""


@dataclass(eq=False, kw_only=True)
class Aggregate(beam.PTransform):
    """Rows of equal key combined into few. One shuffle, of what each bundle is left with; two where keys are salted.

    A bundle combines what it gathers, up to GATHER_BYTES of partial results: a hot key costs a row a bundle. It needs
    salts only where those rows of one key are together more than an engine holds (docs/skew.md says when).

    Input: batches of partial results. Output: batches of merged rows, each key in one partition.

    Args:
      by: key columns, as for Shuffle.
      merge: the merge kernel, over batches that hold any rows.
      finish: a kernel over all merged rows of a partition at once, so that it sees all rows of each key; None to
        give the merged rows as they are.
      partitions, expected_bytes: as for Shuffle.
      salts: so many parts of each key are combined apart first, behind a shuffle of their own, and then with each
        other; None for one shuffle.
      keep_partition: rows tell the partition that they come from (schema.PARTITION): a sink replaces one by one those
        of panes that accumulate.

    Raises:
      TypeError: merge can't be called.
      ValueError: fewer than 2 salts, or salts where panes accumulate.
    """

    by: tuple[str, ...]
    merge: Merge
    finish: Merge | None = None
    partitions: int | None = None
    expected_bytes: int | None = None
    salts: int | None = None
    keep_partition: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        if not callable(self.merge):
            raise TypeError(f"Aggregate needs a merge kernel, got {self.merge!r}")
        if self.salts is not None and self.salts < 2:
            raise ValueError(f"a key is spread over 2 salts at least, got {self.salts}")

    def expand(self, batches: Batches) -> Batches:
        combined = batches | "Combine in bundle" >> CombineInBundle(merge=self.merge)
        if self.salts is not None:
            if accumulates(batches):
                raise ValueError(
                    f"{self.label}: panes that accumulate are grouped once only, and salts={self.salts} groups twice: "
                    f"what the first time gave again would count again. Leave out salts, or use discarding panes."
                )
            combined = self._combine_salted(combined, self.salts)
        combine = partial(combine_all, merge=self.merge, finish=self.finish)
        return (
            combined
            | "Shuffle" >> Shuffle(by=self.by, partitions=self.partitions, expected_bytes=self.expected_bytes)
            | "Combine"
            >> MapPartitions(
                kernel=partial(_with_partition, combine=combine) if self.keep_partition else combine,
                numbered=self.keep_partition,
            )
        )

    def _combine_salted(self, batches: Batches, salts: int) -> Batches:
        return (
            batches
            | "Salt" >> MapBatches(partial(salted, salts=salts))
            | "Shuffle parts"
            >> Shuffle(by=(*self.by, SALT), partitions=self.partitions, expected_bytes=self.expected_bytes)
            | "Combine parts" >> MapPartitions(kernel=partial(_combine_parts, merge=self.merge))
        )


@dataclass(eq=False, kw_only=True)
class CombineInBundle(beam.PTransform):
    """What each bundle gathers, up to GATHER_BYTES, merged. No shuffle.

    Args:
      merge: as for Aggregate.
    """

    merge: Merge

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, batches: Batches) -> Batches:
        return batches | "Combine" >> beam.ParDo(_CombineInBundle(self.merge)).with_output_types(
            pa.RecordBatch
        )


def _with_partition(
    number: int, batches: Iterable[pa.RecordBatch], combine: Callable[..., Iterator[pa.RecordBatch]]
) -> Iterator[pa.RecordBatch]:
    for combined in combine(batches):
        yield add_partition(combined, number)


def add_partition(batch: pa.RecordBatch, number: int) -> pa.RecordBatch:
    """Rows that tell the partition that they come from, by schema.PARTITION."""
    numbers = pa.repeat(pa.scalar(number, pa.int64()), batch.num_rows)
    return batch.append_column(pa.field(schema.PARTITION, pa.int64(), nullable=False), numbers)


def salted(batch: pa.RecordBatch, salts: int) -> pa.RecordBatch:
    """With one salt for all rows, from what they are: each bundle's rows of a key have some other."""
    salt = np.full(batch.num_rows, zlib.crc32(batch.serialize()) % salts, np.uint32)
    return batch.append_column(pa.field(SALT, pa.uint32(), nullable=False), pa.array(salt))


def _combine_parts(batches: Iterable[pa.RecordBatch], merge: Merge) -> Iterator[pa.RecordBatch]:
    return combine_all((batch.drop_columns([SALT]) for batch in batches), merge)


class _CombineInBundle(GatherBatches):
    def __init__(self, merge: Merge) -> None:
        super().__init__(GATHER_BYTES)
        self._merge = merge

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for combined in combine_all(batches, self._merge):
            for batch in split_batch(combined):
                self._metrics.gave_out(batch)
                yield batch
