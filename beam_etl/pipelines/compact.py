"""`python -m beam_etl.pipelines.compact DATASET`: small files of each folder as one. No Beam job.

Others may add to the dataset meanwhile, a stream for one.
"""

import datetime
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from beam_etl.io import manifest
from beam_etl.io.compact import compact, find_groups
from beam_etl.io.errors import InputError
from beam_etl.io.pane_expiry import KEPT_SECONDS
from beam_etl.io.write import FILE_BYTES
from beam_etl.kernels.window_text import parse_duration
from beam_etl.kernels.windows import SECOND
from beam_etl.observe.text import format_bytes
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.runners import cores
from beam_etl.pipelines.tool import DONE, WRONG, run_tool

NAME = "compact"
SUMMARY = (
    "Merges small files of each folder of a dataset: DATASET [--file_bytes=512MiB]. Rows stay as they are."
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What can be asked."""

    dataset: str = flag("folder of the dataset; may stand first, without --dataset=", unit=FOLDER)
    file_bytes: int = flag("files are merged up to this size, stored bytes", default=FILE_BYTES, unit="bytes")
    idle: str = flag(
        "of a stream that runs, leave windows alone that were published to less long ago: a restore may take it back",
        default=f"{KEPT_SECONDS // 3600}h",
    )

    def __post_init__(self) -> None:
        if self.file_bytes < 1:
            raise ValueError(f"--file_bytes must be at least 1, got {self.file_bytes}")
        self.idle_seconds  # noqa: B018 - what is no duration is told at once

    @property
    def idle_seconds(self) -> float:
        """--idle in seconds."""
        return parse_duration(self.idle) / SECOND


def run(argv: Sequence[str] | None = None) -> int:
    """Compacts a dataset; the exit code."""
    return run_tool(NAME, SUMMARY, Config, argv, _compact)


def _compact(config: Config) -> int:
    head = manifest.latest(config.dataset)
    if head is None:
        raise InputError(f"{config.dataset}: no dataset. Give a folder that a job wrote as --output.")
    groups = find_groups(config.dataset, head, config.file_bytes, config.idle_seconds, time.time())
    if not groups:
        print(f"{config.dataset}: version {head.number} has no files that could be fewer")
        return DONE
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    found = compact(config.dataset, groups, {"job": NAME, "created": created}, cores())
    for group in found.overtaken:
        print(f"{NAME}: {group.folder} was published to meanwhile, and stays as it is", file=sys.stderr)
    if found.version is None:
        return WRONG
    files = [file for group in found.done for file in group.files]
    print(
        f"{config.dataset}: version {found.version.number}, {len(files):,} files are {len(found.done):,} now, "
        f"{format_bytes(sum(file.bytes for file in files))}. `beam-etl clean {config.dataset}` removes the old ones."
    )
    return DONE


if __name__ == "__main__":
    sys.exit(run())
