"""FindBounds: where the ranges of a partitioning begin, from a sample of all rows."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa

from beam_etl.kernels.partition_bounds import is_open, sample_rows, with_bounds
from beam_etl.kernels.partitioning import Partitioning
from beam_etl.transforms.batches import Batches, RecordBatchCoder
from beam_etl.transforms.shuffle import Gather

SAMPLE_ROWS = 1 << 16
"""Rows of the sample, about: with 16 ranges each has some 4,000, so that they differ by some percent."""


@dataclass(eq=False, kw_only=True)
class FindBounds(beam.PTransform):
    """The partitioning with the bounds of its ranges: one element, its JSON. No shuffle: a sample is gathered.

    Input: batches with an address and the columns of the ranges. Which rows are in the sample is told by the hash of
    the address, so it doesn't depend on how they are spread.

    Args:
      partitioning: has levels of ranges without bounds.
      expected_rows: estimated.
    """

    partitioning: Partitioning
    expected_rows: int

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, batches: Batches) -> beam.PCollection[str]:
        columns = tuple(level.columns[0] for level in self.partitioning.by if is_open(level))
        part = SAMPLE_ROWS / max(self.expected_rows, 1)
        return (
            batches
            | "Sample" >> beam.FlatMap(_sampled, columns=columns, part=part).with_output_types(bytes)
            | "Gather" >> Gather()
            | "Bounds" >> beam.Map(_bounded, partitioning=self.partitioning).with_output_types(str)
        )


def _sampled(batch: pa.RecordBatch, columns: tuple[str, ...], part: float) -> Iterator[bytes]:
    rows = sample_rows(batch, columns, part)
    if rows.num_rows:
        yield RecordBatchCoder().encode(rows)


def _bounded(encoded: list[bytes], partitioning: Partitioning) -> str:
    samples = list(map(RecordBatchCoder().decode, encoded))
    return json.dumps(with_bounds(partitioning, samples).to_json())
