"""BuildSegments: an index of each pane of a stream, whole, as a row of its results."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.provenance import carry_file
from beam_etl.transforms.aggregate import add_partition
from beam_etl.transforms.batches import Batches, MapBatches, tagged
from beam_etl.transforms.documents import REJECTS
from beam_etl.transforms.inverted_index import invertible
from beam_etl.transforms.metrics import RECORDS_REJECTED, StepMetrics
from beam_etl.transforms.shuffle import KEY_LIMIT, Partition, Shuffle

PARTITIONS = 32
"""Of a window: 1 GB of text under a limit of 32 MiB a key. Windows of few documents have as many small segments, which
compact_index merges."""

_FAILURES = "failures"

Write: TypeAlias = Callable[[Sequence[pa.RecordBatch], str, bool], pa.RecordBatch]
"""From documents, the rule of words and whether there are positions to one row of schema.INDEX_SEGMENT: what
io.index.segment_rows.segment_of does."""


class BuiltSegments(NamedTuple):
    """What BuildSegments gives."""

    segments: Batches
    """schema.INDEX_SEGMENT, a row a pane of a partition that has documents; and schema.PARTITION where asked."""
    rejects: Batches
    """schema.REJECT: documents that can't be inverted; and schema.PARTITION where asked."""
    failures: beam.PCollection[str]
    """Why a pane has no segment of a partition: it is too large."""


@dataclass(eq=False, kw_only=True)
class BuildSegments(beam.PTransform):
    """The documents of each pane as segments of an index, one a partition. One shuffle, of all text.

    A segment numbers its documents from 0, so it needs nothing of other partitions or panes, and a pane that fires
    again replaces it as any row. A partition of a window is held whole, with some ten times the bytes of its text.

    Input: windowed batches of documents with address, time, id and text, and maybe url. Output: BuiltSegments.

    Args:
      write: makes a segment.
      words, positions: as for BuildInvertedIndex.
      partitions: of a window.
      keep_partition: as for Aggregate.
      key_limit: bytes of a partition; more are a failure.
    """

    write: Write
    words: str = "words"
    positions: bool = False
    partitions: int = PARTITIONS
    keep_partition: bool = False
    key_limit: int = KEY_LIMIT

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> BuiltSegments:
        build = _Build(self.write, self.words, self.positions, self.keep_partition, self.key_limit)
        built = (
            documents
            | "Carry file" >> MapBatches(carry_file)
            | "To segments" >> Shuffle(by=(schema.ID,), partitions=self.partitions)
            | "Build"
            >> beam.ParDo(build)
            .with_output_types(pa.RecordBatch, **{REJECTS: pa.RecordBatch, _FAILURES: str})
            .with_outputs(REJECTS, _FAILURES, main="segments")
        )
        return BuiltSegments(built.segments, built[REJECTS], built[_FAILURES])


class _Build(beam.DoFn):
    def __init__(self, write: Write, words: str, positions: bool, keep_partition: bool, most: int) -> None:
        self._write = write
        self._words = words
        self._positions = positions
        self._keep_partition = keep_partition
        self._most = most
        self._metrics = StepMetrics()

    def process(self, partition: Partition) -> Iterator[Any]:
        yield from self._metrics.timed(self._outputs(*partition))

    def _outputs(self, number: int, batches: Any) -> Iterator[Any]:
        documents, size = [], 0
        for batch in batches:
            self._metrics.took_in(batch)
            size += batch.nbytes
            if size <= self._most:
                documents.append(batch)
        if size > self._most:
            yield beam.pvalue.TaggedOutput(_FAILURES, self._too_large(size))
            return
        try:
            row = self._segment(documents)
        except Exception:  # noqa: BLE001 - whatever a kernel fails with
            documents, rejects = invertible(documents, self._words, self._positions)
            self._metrics.add(RECORDS_REJECTED, sum(batch.num_rows for batch in rejects))
            yield from tagged(REJECTS, (self._told(batch, number) for batch in rejects))
            row = self._segment(documents)
        if row is not None:
            self._metrics.gave_out(row)
            yield self._told(row, number)

    def _told(self, batch: pa.RecordBatch, number: int) -> pa.RecordBatch:
        return add_partition(batch, number) if self._keep_partition else batch

    def _too_large(self, size: int) -> str:
        return (
            f"a window of which one partition has {size:,} bytes of documents, above {self._most:,}. Shorter windows "
            f"(--window=fixed:1m) have fewer."
        )

    def _segment(self, documents: list[pa.RecordBatch]) -> pa.RecordBatch | None:
        return self._write(documents, self._words, self._positions) if documents else None
