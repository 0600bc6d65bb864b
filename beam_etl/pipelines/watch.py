"""What a job on Flink does, while its launcher waits."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from apache_beam.runners.runner import PipelineResult

from beam_etl.engines.flink.jobs import progress_text
from beam_etl.engines.flink.runner import FlinkResult
from beam_etl.io import staging
from beam_etl.observe.progress import status_line
from beam_etl.observe.text import format_bytes


def watching(result: PipelineResult, folders: Sequence[str], run: str) -> AbstractContextManager[None]:
    """Shows the stages that Flink has finished, and the files that the run has staged; nothing on other engines."""
    if not isinstance(result, FlinkResult):
        return nullcontext()

    def text() -> str:
        stages = progress_text(result.latest) if result.latest else "submitted"
        sizes = [size for folder in folders for size in _staged(folder, run)]
        return f"{stages}; {len(sizes):,} files staged, {format_bytes(sum(sizes))}"

    return status_line(text)


def _staged(folder: str, run: str) -> Iterator[int]:
    """Bytes of each file that the run has written and not moved yet."""
    for parent, _, names in os.walk(staging.staging_folder(folder, run)):
        for name in names:
            try:
                yield os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:  # moved meanwhile
                continue
