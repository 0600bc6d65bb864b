"""KeepC4Lines: texts without the lines that C4 drops."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.c4_lines import keep_lines
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.filters import FilteredDocuments, both, filtered

STAGE = "keep lines"
"""What rejects have in the column `stage`."""


@dataclass(eq=False, kw_only=True)
class KeepC4Lines(beam.PTransform):
    """Drops lines as kernels.c4_lines says, and documents of which none stays, or with a brace. No shuffle.

    Input: batches of documents with text. Output: FilteredDocuments, with a column `dropped_lines`.

    Args:
      id: the column that names documents in the removals.
    """

    id: str = schema.ID

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> FilteredDocuments:
        return filtered(documents, partial(_kept, id=self.id), STAGE)


def _kept(batch: pa.RecordBatch, id: str) -> Iterator[pa.RecordBatch]:
    return both(keep_lines(batch, id))
