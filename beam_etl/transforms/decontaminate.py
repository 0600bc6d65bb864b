"""Decontaminate: documents without what evaluation sets have."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.contamination import ACTIONS, REMOVE, Find, decontaminate
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.documents import REJECTS
from beam_etl.transforms.filters import MapWithOutputs

STAGE = "decontaminate"
"""What rejects have in the column `stage`."""

MATCHES, REMOVALS = "matches", "removals"
"""Tags of outputs."""


class DecontaminatedDocuments(NamedTuple):
    """What decontaminating gives."""

    documents: Batches
    """Those that stay, with all their columns."""
    matches: Batches
    """schema.CONTAMINATION: which document shares n-grams with which set, and where."""
    removals: Batches
    """schema.QUALITY_REMOVAL: documents that were removed, and for which sets and n-grams."""
    rejects: Batches
    """schema.REJECT."""


@dataclass(eq=False, kw_only=True)
class Decontaminate(beam.PTransform):
    """Documents without what evaluation sets have. No shuffle: each process holds the sets' n-grams.

    Input: batches of documents with text. Output: DecontaminatedDocuments.

    Args:
      find: kernels.contamination.find_shared with its sets; io.evaluations.evaluations_in makes one of files.
      action: `remove` documents that share an n-gram, or `mask` the words.
      id: the column that names documents in the tables.

    Raises:
      ValueError: there is no such action.
    """

    find: Find
    action: str = REMOVE
    id: str = schema.ID

    def __post_init__(self) -> None:
        super().__init__()
        if self.action not in ACTIONS:
            raise ValueError(f"action is {' or '.join(ACTIONS)}, got {self.action!r}")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> DecontaminatedDocuments:
        kernel = partial(decontaminate, find=self.find, action=self.action, id=self.id)
        tags = (MATCHES, REMOVALS)
        work = beam.ParDo(MapWithOutputs(kernel, STAGE, tags)).with_output_types(
            pa.RecordBatch, **dict.fromkeys((*tags, REJECTS), pa.RecordBatch)
        )
        done = documents | "Find" >> work.with_outputs(*tags, REJECTS, main="documents")
        return DecontaminatedDocuments(done["documents"], *(done[tag] for tag in (*tags, REJECTS)))
