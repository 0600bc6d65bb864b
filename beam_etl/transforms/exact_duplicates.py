"""Finding exact duplicates: documents to decisions, by a hash of what has to be equal."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.typehints.decorators import no_annotations

from beam_etl.kernels.earlier import by_address
from beam_etl.kernels.exact import (
    CONTENT,
    ExactRule,
    choose_exact,
    exact_in_order,
    exact_rows,
    stack_equal,
)
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.partition import GATHER_BYTES
from beam_etl.kernels.window_memory import choose_after_others
from beam_etl.transforms.batches import Batches, MapBatches, merge_batches, split_batch
from beam_etl.transforms.decisions import EMPTY_DOCUMENTS, Decisions, bytes_of
from beam_etl.transforms.documents import FailForRejects, MapDocuments
from beam_etl.transforms.gathering import GatherBatches
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.memories import Memories
from beam_etl.transforms.metrics import NAMESPACE
from beam_etl.transforms.shuffle import Shuffle

HASHING = "hash"
"""What is tried with each document: for reasons why one can't be used."""


@dataclass(eq=False, kw_only=True)
class FindExactDuplicates(beam.PTransform):
    """Decisions over exact duplicates. One shuffle, of 36 bytes a document: all equal ones under one key.

    Equal ones of a bundle cross as one row, in which each further one takes a few bytes.

    Input: batches of documents that have an address and the columns of both rules. Output: Decisions.

    Args:
      rule: what makes two documents exact duplicates.
      keep: which one stays.
      expected_documents: how many there are, estimated, for partitions and the plan.
      earlier: documents of earlier windows, as of FindNearDuplicates.
    """

    rule: ExactRule = field(default_factory=ExactRule)
    keep: Keep = field(default_factory=Keep)
    expected_documents: int | None = None
    earlier: Memories | None = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> Decisions:
        order_by = None if self.earlier is None else self.earlier.id
        hashed, unhashed = documents | "Hash" >> MapDocuments(
            partial(_hash, rule=self.rule, keep=self.keep, order_by=order_by), stage=HASHING
        )
        shuffle = Shuffle(
            by=(CONTENT,),
            partitions=None if self.earlier is None else self.earlier.partitions,
            expected_bytes=bytes_of(self.expected_documents, 36),
        )
        partitions = (
            hashed
            | "Stack" >> beam.ParDo(_Stack()).with_output_types(pa.RecordBatch)
            | "By content" >> shuffle
        )
        failures = unhashed | "Unhashed" >> FailForRejects()
        if self.earlier is None:
            return Decisions(partitions | "Choose" >> MapPartitions(kernel=choose_exact), failures)
        chosen = partitions | "Choose" >> self.earlier.meet("contents", choose_after_others)
        return Decisions(
            chosen.batches | "By address" >> MapBatches(by_address),
            (failures, chosen.failures) | "All failures" >> beam.Flatten(),
        )


def _hash(batch: pa.RecordBatch, rule: ExactRule, keep: Keep, order_by: str | None) -> pa.RecordBatch:
    rows = exact_rows(batch, rule, keep) if order_by is None else exact_in_order(batch, rule, keep, order_by)
    Metrics.counter(NAMESPACE, EMPTY_DOCUMENTS).inc(batch.num_rows - rows.num_rows)
    return rows


class _Stack(GatherBatches):
    """Equal documents of a bundle as one row."""

    def __init__(self) -> None:
        super().__init__(GATHER_BYTES)

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in split_batch(stack_equal(merge_batches(batches))):
            self._metrics.gave_out(batch)
            yield batch
