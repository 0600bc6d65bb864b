"""Documents of earlier runs, which this run's are compared with as well."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.earlier import answers, requests
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.shuffle import MapPartitions, Shuffle

MAX_FILES = 1 << 19
"""Files of a run that is compared with earlier ones: one bit of an address tells whose a document is."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """How workers read what earlier runs kept, a partition at a time. Each function is picklable."""

    partitions: int
    """How many of each table: this run's rows are shuffled to as many."""
    buckets: Callable[[int], Iterable[pa.RecordBatch]]
    """candidates.BUCKET_ROW of a partition by bucket."""
    facts: Callable[[int], Iterable[pa.RecordBatch]]
    """Node and low bytes of a partition by node."""
    places: Callable[[int], Iterable[tuple[str, pa.RecordBatch]]]
    """schema.SIGNATURE of a partition by document, each batch with the dataset that it is from."""


@dataclass(eq=False, kw_only=True)
class DescribeEarlier(beam.PTransform):
    """What is told of earlier documents that this run's are removed for. One shuffle, of 16 bytes for each of them.

    Input: decisions (see earlier.by_address). Output: batches of removals.FOUND.
    """

    earlier: Earlier

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, decisions: Batches) -> Batches:
        return (
            decisions
            | "Requests" >> MapBatches(requests)
            | "By document" >> Shuffle(by=(schema.NUMBER,), partitions=self.earlier.partitions)
            | "Answer" >> MapPartitions(kernel=partial(_answer, earlier=self.earlier), numbered=True)
        )


def _answer(number: int, asked: Iterable[pa.RecordBatch], earlier: Earlier) -> Iterator[pa.RecordBatch]:
    return answers(asked, earlier.places(number))
