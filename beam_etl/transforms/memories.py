"""Memories: what an input in windows remembers of its documents, table by table."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.candidates import BUCKET, BUCKET_ROW, NearRule
from beam_etl.kernels.earlier import answers, requests
from beam_etl.kernels.partition import hash_partition
from beam_etl.kernels.window_memory import (
    CONTENT_MEMORY,
    PLACE_MEMORY,
    facts_memory,
    keep_buckets,
    keep_contents,
    keep_facts,
    keep_places,
    place_rows,
    signature_rows,
    wanted_buckets,
    wanted_contents,
    wanted_facts,
    wanted_places,
)
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.earlier import Earlier, MeetKernel, Met
from beam_etl.transforms.remembering import MeetRemembered, Memory
from beam_etl.transforms.shuffle import Shuffle

PARTITIONS = 64
"""Of what is remembered: 8 million documents of 16 bands, at 16 bytes a band, until one has 32 MiB."""


@dataclass(frozen=True, kw_only=True)
class Memories:
    """How long documents of earlier windows are remembered, and of what.

    Args:
      rule: of near-duplicates; None for exact ones.
      remember: microseconds of event time.
      id: the column that names documents.
      shards: partitions of each table.
      start: what earlier runs kept, remembered for ever. It decides the partitions then.
    """

    rule: NearRule | None
    remember: int
    id: str = schema.ID
    shards: int = PARTITIONS
    start: Earlier | None = None

    @property
    def partitions(self) -> int:
        """Of each table, and of the shuffles that meet them."""
        return self.shards if self.start is None else self.start.partitions

    def meet(self, table: str, kernel: MeetKernel) -> MeetRemembered:
        """`kernel` over each window of a partition and what is left in a table: buckets, facts or contents."""
        return MeetRemembered(memory=self._memory(table), kernel=kernel, remember=self.remember)

    def _memory(self, table: str) -> Memory:
        if table == "contents" or self.rule is None:
            return Memory(key=BUCKET, columns=CONTENT_MEMORY, keep=keep_contents, wanted=wanted_contents)
        if table == "buckets":
            keep = partial(keep_buckets, verified=self.rule.threshold is not None)
            start = None if self.start is None else self.start.buckets
            return Memory(key=BUCKET, columns=BUCKET_ROW, keep=keep, wanted=wanted_buckets, start=start)
        return Memory(
            key=schema.NODE,
            columns=facts_memory(self.rule.num_perm),
            keep=partial(keep_facts, permutations=self.rule.num_perm),
            wanted=wanted_facts,
            start=None if self.start is None else partial(_facts, self.start.facts, self.rule.num_perm),
        )


def _facts(
    read: Callable[[int], Iterable[pa.RecordBatch]], permutations: int, number: int
) -> Iterator[pa.RecordBatch]:
    for batch in read(number):
        yield batch.cast(facts_memory(permutations))


class Asked(NamedTuple):
    """What DescribeRemembered takes."""

    documents: Batches
    """All of a window, with an address: they are remembered."""
    decisions: Batches
    """See earlier.by_address."""


@dataclass(eq=False, kw_only=True)
class DescribeRemembered(beam.PTransform):
    """What is told of remembered documents that a window's are removed for. One shuffle, of an id a document.

    Input: Asked. Output: Met, batches of removals.FOUND.
    """

    memories: Memories

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, asked: Asked) -> Met:
        memory = Memory(key=schema.NUMBER, columns=PLACE_MEMORY, keep=keep_places, wanted=wanted_places)
        answer = partial(_answer, start=self.memories.start)
        met: Met = (
            (
                asked.documents | "Places" >> MapBatches(partial(place_rows, id=self.memories.id)),
                asked.decisions | "Requests" >> MapBatches(requests),
            )
            | "Places and requests" >> beam.Flatten()
            | "By document" >> Shuffle(by=(schema.NUMBER,), partitions=self.memories.partitions)
            | "Answer" >> MeetRemembered(memory=memory, kernel=answer, remember=self.memories.remember)
        )
        return met


def _answer(
    batches: Iterable[pa.RecordBatch], found: Iterable[pa.RecordBatch], start: Earlier | None
) -> Iterator[pa.RecordBatch]:
    asked = [batch for batch in batches if schema.CLUSTER_SIZE in batch.schema.names]
    if not asked:
        return
    yield from answers(asked, _places(pa.concat_batches(asked), list(found), start))


def _places(
    asked: pa.RecordBatch, found: list[pa.RecordBatch], start: Earlier | None
) -> Iterator[tuple[str | None, pa.RecordBatch]]:
    """schema.SIGNATURE of what is asked for. The datasets are read where an earlier window doesn't have it all."""
    known = [(None, signature_rows(batch)) for batch in found]
    yield from known
    numbers = pc.unique(asked.column(schema.NUMBER))
    if start is not None and sum(len(batch) for _, batch in known) < len(numbers):
        yield from start.places(int(hash_partition(asked.slice(0, 1), (schema.NUMBER,), start.partitions)[0]))
