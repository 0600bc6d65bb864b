"""SampleKeys: at most so many rows of each key."""

from dataclasses import dataclass
from functools import partial

import apache_beam as beam

from beam_etl.kernels.sampling import sample_partition, smallest_rows
from beam_etl.transforms.aggregate import CombineInBundle
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.shuffle import Shuffle


@dataclass(eq=False, kw_only=True)
class SampleKeys(beam.PTransform):
    """Of each key the rows with the smallest hashes, `most` at most. One shuffle, of at most `most` a key and bundle.

    The choice depends on the rows alone: it is the same however they are sharded, and a row that was chosen stays
    chosen when others are taken away.

    Input: batches. Output: batches of the rows that stay, each key in one partition, in no order.

    Args:
      by: key columns. Nulls are one key.
      sample_by: columns whose hash decides; rows that are equal in them go by their address, where they have one.
      most: rows that a key keeps.
      partitions, expected_bytes: as for Shuffle.

    Raises:
      ValueError: no column, or fewer than one row.
    """

    by: tuple[str, ...]
    sample_by: tuple[str, ...]
    most: int
    partitions: int | None = None
    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if not self.by or not self.sample_by or self.most < 1:
            raise ValueError(
                f"a sample needs columns of the key and to choose by, and at least one row of each key; "
                f"got by={self.by!r}, sample_by={self.sample_by!r}, most={self.most}"
            )

    def expand(self, batches: Batches) -> Batches:
        cut = partial(smallest_rows, by=self.by, sample_by=self.sample_by, most=self.most)
        last_cut = partial(sample_partition, by=self.by, sample_by=self.sample_by, most=self.most)
        return (
            batches
            | "Cut in bundle" >> CombineInBundle(merge=cut)
            | "Shuffle" >> Shuffle(by=self.by, partitions=self.partitions, expected_bytes=self.expected_bytes)
            | "Cut" >> MapPartitions(kernel=last_cut)
        )
