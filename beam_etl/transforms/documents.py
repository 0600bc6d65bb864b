"""MapDocuments: a kernel over documents, where those that it fails on are rejects."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl.transforms.batches import Batches, Kernel, run_or_reject, split_batch, tagged
from beam_etl.transforms.metrics import RECORDS_REJECTED, StepMetrics

REJECTS = "rejects"
"""Tag of the output."""


class MappedDocuments(NamedTuple):
    """What MapDocuments gives."""

    batches: Batches
    rejects: Batches
    """schema.REJECT."""


@dataclass(eq=False, kw_only=True)
class MapDocuments(beam.PTransform):
    """`kernel` over each batch of documents, as MapBatches. No shuffle.

    Where it fails it is tried again on halves of the batch, and what it fails on by itself is a reject. So its result
    must not depend on how rows are cut into batches.

    Input: batches as ReadDocuments gives them. Output: MappedDocuments.

    Args:
      kernel: as of MapBatches.
      stage: what rejects have in the column `stage`.

    Raises:
      TypeError: the kernel is not callable.
      KernelError: while running, when the kernel fails on more than MAX_FAILING rows of a batch.
    """

    kernel: Kernel = field(kw_only=False)
    stage: str

    def __post_init__(self) -> None:
        super().__init__()
        if not callable(self.kernel):
            raise TypeError(f"MapDocuments needs a function from batch to batch, got {self.kernel!r}")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> MappedDocuments:
        work = beam.ParDo(_Map(self.kernel, self.stage)).with_output_types(
            pa.RecordBatch, **{REJECTS: pa.RecordBatch}
        )
        out = documents | "Map" >> work.with_outputs(REJECTS, main="batches")
        return MappedDocuments(out.batches, out[REJECTS])


class _Map(beam.DoFn):
    def __init__(self, kernel: Kernel, stage: str) -> None:
        self._kernel = kernel
        self._stage = stage
        self._metrics = StepMetrics()

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        self._metrics.took_in(batch)
        for out in self._metrics.timed(self._outputs(batch)):
            if isinstance(out, pa.RecordBatch):
                self._metrics.gave_out(out)
            yield out

    def _outputs(self, batch: pa.RecordBatch) -> Iterator[Any]:
        made, rejects = run_or_reject(self._kernel, batch, self._stage)
        for out in made:
            yield from split_batch(out)
        if rejects is not None:
            self._metrics.add(RECORDS_REJECTED, rejects.num_rows)
            yield from tagged(REJECTS, [rejects])


@dataclass(eq=False, kw_only=True)
class FailForRejects(beam.PTransform):
    """Rejects as reasons against publishing, where documents are read again and would be kept all the same. No shuffle.

    Input: batches of schema.REJECT. Output: a line for people each.
    """

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, rejects: Batches) -> beam.PCollection[str]:
        return rejects | "Tell" >> beam.FlatMap(_told).with_output_types(str)


def _told(rejects: pa.RecordBatch) -> Iterator[str]:
    for row in rejects.to_pylist():
        yield (
            f"{row['file']}: the document at position {row['position']} can't be used ({row['stage']}: "
            f"{row['reason']}). Remove it from the input."
        )


def run_with_outputs(
    kernel: Kernel, batch: pa.RecordBatch, stage: str, tags: Sequence[str], metrics: StepMetrics
) -> Iterator[Any]:
    """What a kernel makes of documents that gives several batches for one, as the outputs of a DoFn.

    Args:
      kernel: gives the documents that go on, and then a batch for each tag.
      batch, stage: as of run_or_reject. Rejects have the tag REJECTS.
      tags: of outputs.
      metrics: of the step; they count documents that go on, and rejects.
    """
    made, rejects = run_or_reject(kernel, batch, stage)
    step = 1 + len(tags)
    for documents in made[::step]:
        for part in split_batch(documents):
            metrics.gave_out(part)
            yield part
    for place, tag in enumerate(tags, 1):
        yield from tagged(tag, made[place::step])
    if rejects is not None:
        metrics.add(RECORDS_REJECTED, rejects.num_rows)
        yield from tagged(REJECTS, [rejects])


def usable(kernel: Kernel, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What a kernel makes of documents, without those that it fails on: of a sample, for estimates."""
    for batch in batches:
        yield from run_or_reject(kernel, batch, "")[0]
