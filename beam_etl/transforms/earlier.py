"""Documents of earlier runs, which this run's are compared with as well."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.earlier import answers, requests
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.component_rounds import typed
from beam_etl.transforms.map_partitions import MapPartition
from beam_etl.transforms.shuffle import Partition, Shuffle

MeetKernel: TypeAlias = Callable[
    [Iterable[pa.RecordBatch], Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]
]
"""Takes a partition's batches and those of earlier documents, which both can be iterated over twice."""

MAX_FILES = 1 << 19
"""Files of a run that is compared with earlier ones: one bit of an address tells whose a document is."""


class EarlierChangedError(Exception):
    """What an earlier run kept isn't there any more. The message names it."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """How workers read what earlier runs kept, a partition at a time. Each function is picklable.

    They raise EarlierChangedError.
    """

    partitions: int
    """How many of each table: this run's rows are shuffled to as many."""
    buckets: Callable[[int], Iterable[pa.RecordBatch]]
    """candidates.BUCKET_ROW of a partition by bucket."""
    facts: Callable[[int], Iterable[pa.RecordBatch]]
    """Node and low bytes of a partition by node."""
    places: Callable[[int], Iterable[tuple[str, pa.RecordBatch]]]
    """schema.SIGNATURE of a partition by document, each batch with the dataset that it is from."""

    def meet(self, table: str, kernel: MeetKernel) -> "MeetEarlier":
        """`kernel` over each partition and what `table`, which is buckets or facts, has of it."""
        return MeetEarlier(kernel=partial(_read_and_meet, kernel=kernel, read=getattr(self, table)))


def meet_nothing(kernel: MeetKernel) -> "MeetEarlier":
    """`kernel` over each partition, where there are no documents of earlier runs."""
    return MeetEarlier(kernel=partial(_read_and_meet, kernel=kernel, read=None))


class Met(NamedTuple):
    """What MeetEarlier gives."""

    batches: Batches
    failures: beam.PCollection[str]
    """Why they must not be used, where what an earlier run kept has changed meanwhile."""


@dataclass(eq=False, kw_only=True)
class MeetEarlier(beam.PTransform):
    """`kernel` over each partition, given its number and its batches, and over what earlier runs kept. No shuffle.

    Input: what Shuffle gives. Output: Met.
    """

    kernel: Callable[[int, Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, partitions: beam.PCollection[Partition]) -> Met:
        met = partitions | "Map" >> beam.ParDo(_Meet(self.kernel, numbered=True)).with_outputs(
            _FAILURES, main="batches"
        )
        return Met(typed(met.batches), met[_FAILURES])


_FAILURES = "failures"


def _read_and_meet(
    number: int,
    batches: Iterable[pa.RecordBatch],
    kernel: MeetKernel,
    read: Callable[[int], Iterable[pa.RecordBatch]] | None,
) -> Iterable[pa.RecordBatch]:
    return kernel(batches, () if read is None else _Read(partial(read, number)))


class _Read:
    """The rows of a partition that earlier runs kept, read anew each time."""

    def __init__(self, read: Callable[[], Iterable[pa.RecordBatch]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(self._read())


class _Meet(MapPartition):
    def process(self, partition: Partition) -> Iterator[Any]:
        try:
            yield from super().process(partition)
        except EarlierChangedError as error:  # raised, it would be tried again in vain
            yield beam.pvalue.TaggedOutput(_FAILURES, str(error))


@dataclass(eq=False, kw_only=True)
class DescribeEarlier(beam.PTransform):
    """What is told of earlier documents that this run's are removed for. One shuffle, of 16 bytes for each of them.

    Input: decisions (see earlier.by_address). Output: Met, batches of removals.FOUND.
    """

    earlier: Earlier

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]
    def expand(self, decisions: Batches) -> Met:
        found: Met = (
            decisions
            | "Requests" >> MapBatches(requests)
            | "By document" >> Shuffle(by=(schema.NUMBER,), partitions=self.earlier.partitions)
            | "Answer" >> MeetEarlier(kernel=partial(_answer, earlier=self.earlier))
        )
        return found


def _answer(number: int, asked: Iterable[pa.RecordBatch], earlier: Earlier) -> Iterator[pa.RecordBatch]:
    return answers(asked, earlier.places(number))
