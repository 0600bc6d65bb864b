"""What a stream has published, for people: a line a pane while it runs, and some when it has ended."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from beam_etl.io import manifest
from beam_etl.io.manifest import DatasetError, Manifest
from beam_etl.io.panes import FAILED, PANE
from beam_etl.kernels.windows import format_time
from beam_etl.transforms.windows import ARRIVALS

LOOK_SECONDS = 0.5
"""Between two looks at the dataset."""


class PaneProgress:
    """While inside, prints a line on stderr for each pane that the stream publishes.

    Args:
      dataset: folder.
      stream: its name.
    """

    def __init__(self, dataset: str, stream: str) -> None:
        self._dataset = dataset
        self._stream = stream
        self.cancel: Callable[[], None] | None = None
        """Called once the stream has published why it fails."""
        self._has_failed = False
        self._seen = max(manifest.numbers(dataset), default=0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="panes")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        for number in manifest.numbers(self._dataset):
            if number <= self._seen:
                continue
            self._seen = number
            try:
                version = manifest.version(self._dataset, number)
            except (DatasetError, OSError):  # replaced meanwhile: its end is told elsewhere
                continue
            if version.run.startswith(self._stream) and FAILED in version.streams.get(self._stream, {}):
                self._has_failed = True
            elif version.run.startswith(self._stream) and PANE in version.about:
                print(pane_line(version), file=sys.stderr, flush=True)
        if self._has_failed and self.cancel:
            self.cancel()
            self._has_failed = False


def pane_line(version: Manifest) -> str:
    """`window 2026-01-01T00:00:00Z to 2026-01-01T00:10:00Z, on time (pane 0): counts 3, rejects 0; version 7`."""
    pane: dict[str, Any] = version.about[PANE]
    window = f"{format_time(pane['start'])} to {format_time(pane['end'])}"
    rows = ", ".join(f"{table} {count:,}" for table, count in pane["rows"].items() if table != ARRIVALS)
    return f"window {window}, {pane['timing']} (pane {pane['index']}): {rows}; version {version.number}"


def published_lines(dataset: str, stream: str) -> Iterator[str]:
    """What is committed of a stream."""
    head = manifest.latest(dataset)
    mine = [file for file in head.files if file.pane and file.pane.stream == stream] if head else []
    if head is None or not mine:
        yield f"{dataset}: no pane is published"
        return
    windows = {(file.pane.start, file.pane.end) for file in mine if file.pane}
    rows: Counter[str] = Counter()
    for file in mine:
        if file.table != ARRIVALS:
            rows[file.table] += file.rows
    counts = ", ".join(f"{table} {count:,}" for table, count in sorted(rows.items()))
    first, last = min(windows)[0], max(end for _, end in windows)
    yield f"published: {len(windows):,} windows from {format_time(first)} to {format_time(last)}: {counts}"
    yield f"output: {dataset}, version {head.number}, stream {stream}"
