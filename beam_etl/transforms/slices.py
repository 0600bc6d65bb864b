"""What a bundle holds, cut into slices: the elements that cross a shuffle."""

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

from beam_etl.kernels.partition import GATHER_BYTES, SLICE_BYTES, Numbers, split_by_number
from beam_etl.transforms.attached import signed_key
from beam_etl.transforms.batches import merge_batches, split_batch
from beam_etl.transforms.clock import encoded
from beam_etl.transforms.gathering import GatherBatches
from beam_etl.transforms.metrics import BYTES_CROSSED, ELEMENTS_OUT, ENCODE_MICROSECONDS

Slice = tuple[int, pa.RecordBatch]
"""A partition's number and some of its rows: the element that crosses."""

_IPC_OVERHEAD = 64 << 10
"""What encoding adds to a slice at most: schema, alignment, bitmaps."""


class CutSlices(GatherBatches):
    """Cuts what was gathered into one run of slices a partition."""

    def __init__(self, number: Callable[[pa.RecordBatch], Numbers]) -> None:
        super().__init__(GATHER_BYTES)
        self._number = number

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[Slice]:
        encoding = 0
        for alike in _by_columns(batches):
            for number, piece in self._cut(alike):
                self._metrics.gave_out(piece)
                self._metrics.add(ELEMENTS_OUT, 1)
                self._metrics.add(BYTES_CROSSED, piece.nbytes)
                before = encoded()
                yield number, piece
                encoding += encoded() - before  # the engine takes it at once
        self._metrics.add(ENCODE_MICROSECONDS, encoding // 1000)

    def _cut(self, batches: list[pa.RecordBatch]) -> Iterator[Slice]:
        rows = merge_batches(batches)
        for number, part in split_by_number(rows, self._number(rows)):
            for piece in split_batch(part, rows=part.num_rows, size=SLICE_BYTES - _IPC_OVERHEAD):
                yield signed_key(number), piece


def _by_columns(batches: list[pa.RecordBatch]) -> Iterable[list[pa.RecordBatch]]:
    """Batches with columns of the same names, in the order in which these first occur."""
    groups: dict[tuple[str, ...], list[pa.RecordBatch]] = {}
    for batch in batches:
        groups.setdefault(tuple(batch.schema.names), []).append(batch)
    return groups.values()
