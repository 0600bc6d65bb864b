"""TopK: the first rows in an order."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
import pyarrow as pa

from beam_etl.kernels.sorting import Order, first_rows
from beam_etl.transforms.batches import Batches, RecordBatchCoder, merge_batches, split_batch
from beam_etl.transforms.gathering import GatherBatches
from beam_etl.transforms.shuffle import Fold, Gather

HELD_BYTES = 32 << 20
"""Rows that wait before all but the first are dropped."""


@dataclass(eq=False, kw_only=True)
class TopK(beam.PTransform):
    """The first `k` rows in an order. No shuffle: `k` rows a bundle are gathered.

    Input: batches, in one window, with the columns of the order and its tie. Output: the same columns, in order, in
    one run of batches. All `k` are one element: their bytes are bounded by what an engine takes (shuffle.KEY_LIMIT).

    Args:
      k: how many, at least 1.
      order: of rows.
      few: there are hardly more: they are gathered at once, and not by way of several workers.
    """

    k: int
    order: Order
    few: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")

    def expand(self, batches: Batches) -> Batches:
        return (
            batches
            | "First" >> PackFirst(k=self.k, order=self.order, few=self.few)
            | "Batches" >> beam.FlatMap(unpack_rows).with_output_types(pa.RecordBatch)
        )


@dataclass(eq=False, kw_only=True)
class PackFirst(beam.PTransform):
    """The first `k` rows in an order as one element. No shuffle; as TopK but for what is given: see `pack_rows`."""

    k: int
    order: Order
    few: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, batches: Batches) -> beam.PCollection[bytes]:
        merge = partial(_merged, order=self.order, k=self.k)
        best = batches | "Best of bundle" >> beam.ParDo(_Best(self.order, self.k)).with_output_types(bytes)
        if not self.few:
            return best | "Best of all" >> Fold(merge=merge)
        return best | "Gather" >> Gather() | "Best of all" >> beam.Map(merge).with_output_types(bytes)


class _Best(GatherBatches):
    def __init__(self, order: Order, k: int) -> None:
        super().__init__(HELD_BYTES)
        self._order, self._k = order, k

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[bytes]:
        rows = first_rows(merge_batches(batches), self._order, self._k)
        self._metrics.gave_out(rows)
        yield pack_rows(rows)


def pack_rows(rows: pa.RecordBatch) -> bytes:
    """Rows as bytes; none as no bytes."""
    return RecordBatchCoder().encode(rows) if rows.num_rows else b""


def unpack_rows(packed: bytes) -> Iterator[pa.RecordBatch]:
    """What `pack_rows` packed, in bounded batches."""
    if packed:
        yield from split_batch(RecordBatchCoder().decode(packed))


def _merged(packed: list[bytes], order: Order, k: int) -> bytes:
    some = [RecordBatchCoder().decode(rows) for rows in packed if rows]
    return pack_rows(first_rows(merge_batches(some), order, k)) if some else b""
