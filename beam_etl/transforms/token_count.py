"""CountTokens: how much text there is, by group."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl.kernels.grouping import IS_TOTAL, only
from beam_etl.kernels.process import once_per_process
from beam_etl.kernels.token_counts import document_counter, finish_counts, sum_counts
from beam_etl.kernels.token_totals import partial_counts_with_totals
from beam_etl.kernels.vocabularies import WORDS, Vocabulary
from beam_etl.transforms.aggregate import Aggregate
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.documents import MapDocuments

STAGE = "count tokens"
"""What rejects have in the column `stage`."""


class TokenCounts(NamedTuple):
    """What CountTokens gives."""

    counts: Batches
    """A row a group: token_counts.token_count_schema."""
    totals: Batches
    """One row over everything, of the same columns without the group; none for no documents."""
    documents: Batches
    """The input with a column `token_count`. Costs nothing where it isn't used."""
    rejects: Batches
    """schema.REJECT: documents whose tokens can't be counted."""


@dataclass(eq=False, kw_only=True)
class CountTokens(beam.PTransform):
    """Documents, bytes, characters and tokens of each group. One shuffle, of a few rows a bundle.

    Input: batches of documents that have `text` and the columns `by`. Output: TokenCounts.

    Args:
      by: columns to group by; nulls are a group of their own.
      vocabulary: what a token is: words, or what `beam_etl.load_vocabulary` reads. It is loaded once a process.
      partitions, expected_bytes: as for Shuffle.
      keep_partition: as for Aggregate, of counts and totals.

    Raises:
      ValueError: no column to group by, or one twice.
    """

    by: tuple[str, ...]
    vocabulary: Vocabulary = WORDS
    partitions: int | None = None
    expected_bytes: int | None = None
    keep_partition: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        if not self.by or len(set(self.by)) < len(self.by):
            raise ValueError(f"by needs at least one column, and each once, got {self.by!r}")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> TokenCounts:
        counted, rejects = documents | "Count" >> MapDocuments(
            once_per_process(document_counter, self.vocabulary), stage=STAGE
        )
        keys = (*self.by, IS_TOTAL)
        groups = (
            counted
            | "Sum batch" >> MapBatches(partial(partial_counts_with_totals, by=self.by))
            | "Sum"
            >> Aggregate(
                by=keys,
                merge=partial(sum_counts, by=keys),
                finish=partial(finish_counts, by=keys),
                partitions=self.partitions,
                expected_bytes=self.expected_bytes,
                keep_partition=self.keep_partition,
            )
        )
        return TokenCounts(
            groups | "Groups" >> MapBatches(partial(only, total=False)),
            groups | "Totals" >> MapBatches(partial(_totals, by=self.by)),
            counted,
            rejects,
        )


def _totals(batch: pa.RecordBatch, by: tuple[str, ...]) -> pa.RecordBatch:
    return only(batch, total=True).drop_columns(list(by))
