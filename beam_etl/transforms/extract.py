"""ExtractText: pages to texts."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl.kernels.html import EXTRACTS, MAIN, MAX_PAGE_BYTES, extract_text
from beam_etl.kernels.rejecting import reject_documents
from beam_etl.transforms.batches import Batches, merge_batches, split_batch, tagged
from beam_etl.transforms.children import Guarded, close_children
from beam_etl.transforms.documents import REJECTS, MappedDocuments
from beam_etl.transforms.metrics import RECORDS_REJECTED, StepMetrics

STAGE = "extract text"
"""What rejects have in the column `stage`."""

PAGE_SECONDS = 10.0
"""Of the processor, for a page: the slowest of a crawl take under one."""

PAGE_MEMORY = 2 << 30
"""Bytes, for a page of MAX_PAGE_BYTES with as many tags as it can have."""


@dataclass(eq=False, kw_only=True)
class ExtractText(beam.PTransform):
    """The text of each page in place of its payload, with its title. No shuffle.

    Pages are parsed in child processes, since some take a parser hours, or more memory than there is: such a page is a
    reject. Input: batches of documents with `payload`, as archives give them. Output: MappedDocuments, as
    html.extract_text makes them.

    Args:
      extract: main, all, or none (see html.EXTRACTS).
      links: add a column `links`.
      max_page_bytes: a larger page is a reject.
      seconds: of the processor; a page that takes more is a reject.
      memory_bytes: a page that takes more is a reject.

    Raises:
      ValueError: no such way to extract; a limit that isn't above 0.
    """

    extract: str = MAIN
    links: bool = False
    max_page_bytes: int = MAX_PAGE_BYTES
    seconds: float = PAGE_SECONDS
    memory_bytes: int = PAGE_MEMORY

    def __post_init__(self) -> None:
        super().__init__()
        if self.extract not in EXTRACTS:
            raise ValueError(f"extract is {', '.join(EXTRACTS)}; got {self.extract!r}")
        for name in ("max_page_bytes", "seconds", "memory_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)!r}")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, pages: Batches) -> MappedDocuments:
        kernel = partial(extract_text, extract=self.extract, links=self.links, max_bytes=self.max_page_bytes)
        work = beam.ParDo(_Extract(Guarded(kernel, self.seconds, self.memory_bytes))).with_output_types(
            pa.RecordBatch, **{REJECTS: pa.RecordBatch}
        )
        out = pages | "Extract" >> work.with_outputs(REJECTS, main="batches")
        return MappedDocuments(out.batches, out[REJECTS])


class _Extract(beam.DoFn):
    def __init__(self, guarded: Guarded) -> None:
        self._guarded = guarded
        self._metrics = StepMetrics()

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        self._metrics.took_in(batch)
        yield from self._metrics.timed(self._outputs(batch))

    def _outputs(self, batch: pa.RecordBatch) -> Iterator[Any]:
        made: list[pa.RecordBatch] = []
        reasons: dict[int, str] = {}
        for row, found in enumerate(self._guarded.rows(batch)):
            if isinstance(found, str):
                reasons[row] = found
            else:
                made += found
        if made:
            for part in split_batch(merge_batches(made).replace_schema_metadata(batch.schema.metadata)):
                self._metrics.gave_out(part)
                yield part
        if reasons:
            self._metrics.add(RECORDS_REJECTED, len(reasons))
            yield from tagged(REJECTS, [reject_documents(batch, reasons, STAGE)])

    def teardown(self) -> None:
        close_children()
