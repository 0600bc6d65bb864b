"""A source and tables in windows: what `build` is given and gives where a job has --window."""

from collections.abc import Callable, Mapping
from typing import Any

import apache_beam as beam

from beam_etl.io.columns import Columns
from beam_etl.io.read import Documents
from beam_etl.io.streams.pubsub import StampNow
from beam_etl.kernels.windows import WindowSpec
from beam_etl.pipelines.verdicts import REJECTS_TABLE
from beam_etl.pipelines.window_config import WindowConfig
from beam_etl.transforms.late_gate import GateLateRows
from beam_etl.transforms.windows import AddWindows, AssignWindows, LeaveWindows, WindowRejects


class WindowedSource:
    """A source whose documents and rejects are in windows. All else is the source's own."""

    def __init__(self, source: Any, spec: WindowSpec, max_disorder: int) -> None:
        self._source = source
        self._spec = spec
        self._max_disorder = max_disorder
        self._reads = 0
        self.arrivals: beam.PCollection[Any] | None = None
        """Of a stream whose splits have clocks, once it is read: schema.ARRIVALS."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def documents(self, columns: Columns | None = None, again: bool = False) -> Documents:
        """As of the source; `time` has to be among its columns."""
        self._reads += 1
        label = "Windows" if self._reads == 1 else f"Windows {self._reads}"
        found = self._source.documents(columns, again)
        if not getattr(self._source, "has_clock", True):
            return self._gated(found, label)
        windowed = found.documents | label >> AssignWindows(spec=self._spec, max_disorder=self._max_disorder)
        self.arrivals = windowed.arrivals
        unread = found.rejects | f"{label} of rejects" >> WindowRejects(spec=self._spec)
        rejects = (unread, windowed.rejects) | f"{label}: rejects" >> beam.Flatten()
        documents: Documents = found._replace(documents=windowed.documents, rejects=rejects)
        return documents

    def _gated(self, found: Documents, label: str) -> Documents:
        """In windows by the engine's watermark, where no split has a clock."""
        windowed = found.documents | label >> GateLateRows(spec=self._spec)
        both = (found.rejects, windowed.rejects)
        stamped = [part | f"{label}: stamp {place}" >> StampNow() for place, part in enumerate(both)]
        rejects = stamped | f"{label}: rejects" >> beam.Flatten()
        rejects = rejects | f"{label} of rejects" >> WindowRejects(spec=self._spec)
        documents: Documents = found._replace(documents=windowed.documents, rejects=rejects)
        return documents


def window_columns(tables: Mapping[str, Any], *, streaming: bool) -> dict[str, Any]:
    """A job's tables with the window of each row as columns, but for rejects, and of a batch job in the global window.

    Args:
      tables: as a job's `build` gives them. What has no rows to write, as FAILURES, gets no columns.
      streaming: rows tell their pane as well (schema.FIRING), and stay in their windows.
    """
    return {
        name: _in_windows(name, table, streaming) if isinstance(table, beam.PCollection) else table
        for name, table in tables.items()
    }


def _in_windows(name: str, table: beam.PCollection[Any], streaming: bool) -> beam.PCollection[Any]:
    if name != REJECTS_TABLE and not name.startswith("_"):
        table = table | f"Add windows to {name}" >> AddWindows(firings=streaming)
    return table if streaming else table | f"{name} out of windows" >> LeaveWindows()


def build_windowed(
    build: Callable[[Any, Any], Mapping[str, Any]], source: Any, config: Any
) -> dict[str, Any]:
    """A batch job's tables; where its Config has windows, by window."""
    spec = config.window_spec if isinstance(config, WindowConfig) else None
    if spec is None:
        return dict(build(source, config))
    return window_columns(build(WindowedSource(source, spec, config.disorder), config), streaming=False)
