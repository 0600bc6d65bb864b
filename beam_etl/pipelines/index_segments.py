"""`python -m beam_etl.pipelines.index_segments DATASET`: the segments of a stream as indexes to search. No Beam job."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from beam_etl.io.index.segment_rows import write_segments
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.tool import DONE, run_tool

NAME = "index_segments"
SUMMARY = (
    "Writes the segments that inverted_index --window published as indexes to search: DATASET --output=FOLDER"
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What can be asked."""

    dataset: str = flag("folder of the dataset; may stand first, without --dataset=", unit=FOLDER)
    output: str = flag("folder for the indexes, and for nothing else", unit=FOLDER)


def run(argv: Sequence[str] | None = None) -> int:
    """Writes the segments that aren't there yet, and prints all folders with commas between; the exit code."""
    return run_tool(NAME, SUMMARY, Config, argv, _write)


def _write(config: Config) -> int:
    print(",".join(write_segments(config.dataset, config.output)))
    return DONE


if __name__ == "__main__":
    sys.exit(run())
