"""What a job on Flink does, while its launcher waits."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from apache_beam.runners.runner import PipelineResult

from beam_etl.engines.flink.jobs import progress_text
from beam_etl.engines.flink.runner import FlinkResult
from beam_etl.io import staging
from beam_etl.observe.progress import status_line
from beam_etl.observe.text import format_bytes

SECONDS, SHARE = 2, 20
"""Between two counts: seconds, and how many times what the last one took, at least."""


def watching(result: PipelineResult, folders: Sequence[str], run: str) -> AbstractContextManager[None]:
    """Shows the stages that Flink has finished, and the files that the run has staged; nothing on other engines."""
    if not isinstance(result, FlinkResult):
        return nullcontext()

    staged = _Staged(folders, run)

    def text() -> str:
        stages = progress_text(result.latest) if result.latest else "submitted"
        return f"{stages}; {staged.text()}"

    return status_line(text)


class _Staged:
    """The files that a run has written and not moved yet, counted seldom: there may be thousands on a network."""

    def __init__(self, folders: Sequence[str], run: str) -> None:
        self._folders = [staging.staging_folder(folder, run) for folder in folders]
        self._next = 0.0
        self._shown = ""

    def text(self) -> str:
        """How many, and their bytes."""
        now = time.monotonic()
        if now >= self._next:
            sizes = [size for folder in self._folders for size in _sizes(folder)]
            self._shown = f"{len(sizes):,} files staged, {format_bytes(sum(sizes))}"
            self._next = time.monotonic() + max(SECONDS, SHARE * (time.monotonic() - now))
        return self._shown


def _sizes(folder: str) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.stat(os.path.join(parent, name)).st_size
            except OSError:  # moved meanwhile
                continue
