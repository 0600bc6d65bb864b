"""`python -m beam_etl.pipelines.verify DATASET`: whether a dataset is what its manifests say, byte by byte.

No Beam job: one process, with a thread a core over files.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from beam_etl.io.report import Report
from beam_etl.io.verify import verify_dataset
from beam_etl.observe.progress import status_line
from beam_etl.observe.text import format_bytes
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.runners import cores
from beam_etl.pipelines.tool import run_tool, tell_check

NAME = "verify"
SUMMARY = "Whether the files of a dataset are as they were written: DATASET[,DATASET...]"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What can be asked."""

    dataset: tuple[str, ...] = flag("folders of datasets; may stand first, without --dataset=", unit=FOLDER)

    def __post_init__(self) -> None:
        if not self.dataset:
            raise ValueError("no dataset is named")


def verify(folder: str, threads: int | None = None) -> Report:
    """Reads all of one dataset.

    Args:
      folder: of the dataset.
      threads: None for one a core.

    Raises:
      InputError: there is no dataset.
    """
    report = Report()
    with status_line(lambda: f"{folder}: {format_bytes(report.bytes)}, {report.rows:,} rows verified"):
        verify_dataset(folder, report, threads or cores())
    return report


def run(argv: Sequence[str] | None = None) -> int:
    """Verifies the datasets that the command line names; the exit code."""
    return run_tool(NAME, SUMMARY, Config, argv, lambda config: max(map(_told, config.dataset)))


def _told(folder: str) -> int:
    return tell_check(
        folder,
        partial(verify, folder),
        "as it was written",
        "damaged",
        lambda report: f"{report.rows:,} rows",
    )


if __name__ == "__main__":
    sys.exit(run())
