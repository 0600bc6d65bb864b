"""MapPartitions: work on what a shuffle has brought together."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from beam_etl.transforms.batches import Batches, split_batch
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import Partition


@dataclass(eq=False, kw_only=True)
class MapPartitions(beam.PTransform):
    """`kernel` over each partition of a Shuffle: its batches in, an iterator of batches out. No shuffle.

    The kernel may iterate over the batches again: they are decoded anew, and counted once. A `numbered` one takes the
    partition's number before them, and where there is a `side` its value behind them.
    """

    kernel: Callable[..., Iterable[pa.RecordBatch]]
    numbered: bool = False
    side: beam.pvalue.AsSideInput | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, partitions: beam.PCollection[Partition]) -> Batches:
        sides = () if self.side is None else (self.side,)
        work = beam.ParDo(MapPartition(self.kernel, self.numbered), *sides)
        return partitions | "Map" >> work.with_output_types(pa.RecordBatch)


class MapPartition(beam.DoFn):
    """What MapPartitions does."""

    def __init__(self, kernel: Callable[..., Iterable[pa.RecordBatch]], numbered: bool) -> None:
        self._kernel = kernel
        self._numbered = numbered
        self._metrics = StepMetrics()

    def process(self, partition: Partition, *side: Any) -> Iterator[pa.RecordBatch]:
        first = partition[:1] if self._numbered else ()
        batches = _Counted(partition[1], self._metrics)
        for out in self._metrics.timed(iter(self._kernel(*first, batches, *side))):
            for bounded in split_batch(out):
                self._metrics.gave_out(bounded)
                yield bounded


class _Counted:
    """The batches of a partition, counted when they are first iterated over."""

    def __init__(self, batches: Iterable[pa.RecordBatch], metrics: StepMetrics) -> None:
        self._batches = batches
        self._metrics = metrics
        self._seen = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        first, self._seen = not self._seen, True
        for batch in self._batches:
            if first:
                self._metrics.took_in(batch)
            yield batch
