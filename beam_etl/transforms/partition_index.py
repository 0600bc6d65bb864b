"""PartitionIndex: pieces of terms to the partitions of their terms, whoever made them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.indexing import put_in_ranges
from beam_etl.kernels.pieces import PACKED
from beam_etl.kernels.split_terms import split_terms, sum_costs
from beam_etl.transforms.aggregate import Aggregate
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.shuffle import Partition, Shuffle

KEY = (schema.TERM, schema.RANGE)
"""What postings are partitioned by."""

SPLIT_TERM_PARTITIONS = 8
"""Of the sample of terms, at least."""

PARTITIONS_A_SAMPLE = 32
"""Partitions of the index to one of the sample: 1 document in 64 gives some 2% of the bytes of all pieces, as each
bundle names its terms anew."""


class NumberedIndex(NamedTuple):
    """What PartitionIndex takes."""

    rows: Batches
    """pieces.NUMBERED_PIECE, and other batches of indexing.SHUFFLED_DOCUMENT."""
    sample: Batches
    """split_terms.COSTS."""
    count: beam.PCollection[int]
    """One element: how many documents there are."""


class PartitionedIndex(NamedTuple):
    """What PartitionIndex gives."""

    partitions: beam.PCollection[Partition]
    """Batches of pieces.PIECE and of indexing.SHUFFLED_DOCUMENT, for blocks.merge_pieces and to be sorted."""
    split_terms: Batches
    """schema.SPLIT_TERM."""


@dataclass(eq=False, kw_only=True)
class PartitionIndex(beam.PTransform):
    """Pieces and documents to their partitions. One shuffle of both, and a small one of the sample.

    Input: NumberedIndex. Output: PartitionedIndex.

    Args:
      partitions, expected_bytes: as for Shuffle.
    """

    partitions: int | None = None
    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self._shuffle = Shuffle(by=KEY, partitions=self.partitions, expected_bytes=self.expected_bytes)

    @property
    def count(self) -> int:
        """How many partitions there are."""
        return self._shuffle.plan.partitions

    @property
    def sample_partitions(self) -> int:
        """How many partitions the sample has. They grow with the index: a key is bounded."""
        return max(SPLIT_TERM_PARTITIONS, self.count // PARTITIONS_A_SAMPLE)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam takes a tuple of PCollections for a mistake
    def expand(self, numbered: NumberedIndex) -> PartitionedIndex:
        split = (
            numbered.sample
            | "Sum sample" >> Aggregate(by=(schema.TERM,), merge=sum_costs, partitions=self.sample_partitions)
            | "Split terms"
            >> beam.FlatMap(_split, documents=beam.pvalue.AsSingleton(numbered.count)).with_output_types(
                pa.RecordBatch
            )
        )
        partitions: Any = (
            numbered.rows
            | "Ranges" >> beam.Map(_ranged, split=beam.pvalue.AsList(split)).with_output_types(pa.RecordBatch)
            | "Shuffle" >> self._shuffle
        )
        return PartitionedIndex(partitions, split)


def _ranged(rows: pa.RecordBatch, split: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return put_in_ranges(rows, split) if PACKED in rows.schema.names else rows


def _split(costs: pa.RecordBatch, documents: int) -> Iterator[pa.RecordBatch]:
    found = split_terms(costs, documents)
    if found.num_rows:
        yield found
