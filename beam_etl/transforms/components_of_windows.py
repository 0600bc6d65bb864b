"""ComponentsOfWindows: which documents of a window belong together."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl.kernels.components import Components, contract
from beam_etl.kernels.partition import GATHER_BYTES
from beam_etl.transforms.batches import Batches, merge_batches, split_batch
from beam_etl.transforms.component_rounds import LINK_BYTES, typed
from beam_etl.transforms.components import FoundComponents
from beam_etl.transforms.gathering import GatherBatches
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import KEY_LIMIT, Partition, Shuffle

MAX_LINKS = KEY_LIMIT // LINK_BYTES
"""Of a window, contracted: 1,864,135 fit into what engines hold for one key."""

_MEMBERS, _FAILURES = "members", "failures"


@dataclass(eq=False, kw_only=True)
class ComponentsOfWindows(beam.PTransform):
    """Components of each window's links, at one worker a window. One shuffle, of 18 bytes a link.

    Input: batches of schema.LINK, in windows. Output: FoundComponents, in the same windows.

    Args:
      most: links of a window, after each bundle contracted its own. More are a failure.
    """

    most: int = MAX_LINKS
    folder = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, links: Batches) -> FoundComponents:
        found = (
            links
            | "Contract" >> beam.ParDo(_Contract()).with_output_types(pa.RecordBatch)
            | "By window" >> Shuffle(by=(), partitions=1)
            | "Find" >> beam.ParDo(_Find(self.most)).with_outputs(_FAILURES, main=_MEMBERS)
        )
        return FoundComponents(typed(found[_MEMBERS]), found[_FAILURES])


class _Contract(GatherBatches):
    """The links that a bundle gathers, as a forest."""

    def __init__(self) -> None:
        super().__init__(GATHER_BYTES)

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in split_batch(contract(merge_batches(batches))):
            self._metrics.gave_out(batch)
            yield batch


class _Find(beam.DoFn):
    """The members of a window's components; none, and a failure, where it has too many links."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._metrics = StepMetrics()

    def process(self, partition: Partition) -> Iterator[Any]:
        components, links = Components(), 0
        for batch in partition[1]:
            self._metrics.took_in(batch)
            links += batch.num_rows
            if links <= self._most:
                components.add(batch)
        if links > self._most:
            yield beam.pvalue.TaggedOutput(_FAILURES, self._too_many(links))
            return
        for members in self._metrics.timed(components.members()):
            self._metrics.gave_out(members)
            yield members

    def _too_many(self, links: int) -> str:
        return (
            f"a window with {links:,} links between documents, above {self._most:,}. Shorter windows "
            f"(--window=fixed:1m), more --band_rows or a higher --threshold make fewer; so does a shorter --remember "
            f"where many are to documents of earlier windows."
        )
