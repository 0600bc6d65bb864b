"""LeaveOut: what is known of documents, without those that were removed meanwhile."""

from dataclasses import dataclass

import apache_beam as beam
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.leaving_out import removed_nodes, without_removed
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.shuffle import Shuffle


@dataclass(eq=False, kw_only=True)
class LeaveOut(beam.PTransform):
    """Rows about documents that decisions don't remove. One shuffle, of the rows and 8 bytes a removed document.

    Input: {"rows": batches with schema.NODE and at least one column more, "decisions": schema.DECISION}. Output: the
    rows whose node isn't removed.

    Args:
      expected_bytes: of the rows.
    """

    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for a dict of PCollections
    def expand(self, inputs: dict[str, Batches]) -> Batches:
        removed = inputs["decisions"] | "Removed" >> MapBatches(removed_nodes)
        kept: Batches = (
            (inputs["rows"], removed)
            | "Rows and removed" >> beam.Flatten()
            | "By node" >> Shuffle(by=(schema.NODE,), expected_bytes=self.expected_bytes)
            | "Without removed" >> MapPartitions(kernel=without_removed)
        )
        return kept
