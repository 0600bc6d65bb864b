"""GatherPanes: small elements of a stream meet, pane by pane. Beside shuffle.py the only module that groups by key."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import apache_beam as beam
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.trigger import AccumulationMode, TriggerFn
from apache_beam.typehints.decorators import no_annotations

Element = TypeVar("Element")


@dataclass(eq=False, kw_only=True)
class GatherPanes(beam.PTransform):
    """The elements of each key and window as lists, one a pane. For names of files, never for rows.

    Input: PCollections of (key, element) in windows of one WindowFn. Output: (key, elements that no earlier pane had),
    in the same windows.

    Args:
      trigger: when panes are given out, whatever the inputs' triggers.
    """

    carries_rows: ClassVar[bool] = False

    trigger: TriggerFn

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam takes a tuple of PCollections for a mistake
    def expand(self, keyed: Sequence[beam.PCollection[Any]]) -> beam.PCollection[tuple[bytes, Any]]:
        windowing = keyed[0].windowing
        firing = Windowing(
            windowing.windowfn,
            triggerfn=self.trigger,
            accumulation_mode=AccumulationMode.DISCARDING,
            allowed_lateness=windowing.allowed_lateness,
        )
        return (
            [some | f"Fire {number}" >> _Fire(firing) for number, some in enumerate(keyed)]
            | "All" >> beam.Flatten()
            | "Group" >> beam.GroupByKey()
        )


class _Fire(beam.ParDo):
    """The same elements in the same windows under another trigger. (WindowInto would ask for their windows anew.)"""

    def __init__(self, windowing: Windowing) -> None:
        super().__init__(_Same())
        self._windowing = windowing
        self.with_output_types(tuple[bytes, bytes])

    def get_windowing(self, inputs: Any) -> Windowing:
        """That of what goes out."""
        del inputs
        return self._windowing


class _Same(beam.DoFn):
    def process(self, element: Element) -> Iterable[Element]:
        yield element
