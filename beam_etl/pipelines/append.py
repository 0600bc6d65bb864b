"""`python -m beam_etl.pipelines.append DATASET --run=RUN`: another try for an append that met a conflict.

No Beam job.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from beam_etl.io import staging
from beam_etl.io.commit import PUBLISHED
from beam_etl.io.retry import retry_append
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.tool import DONE, WRONG, run_tool

NAME = "append"
SUMMARY = (
    "Adds the files that a run kept in DATASET/_staging/RUN to the dataset as it is now: DATASET --run=RUN"
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What can be asked."""

    dataset: str = flag("folder of the dataset; may stand first, without --dataset=", unit=FOLDER)
    run: str = flag("the run whose files are kept. It must have ended")


def run(argv: Sequence[str] | None = None) -> int:
    """Publishes what the run kept; the exit code."""
    return run_tool(NAME, SUMMARY, Config, argv, _append)


def _append(config: Config) -> int:
    verdict, new = retry_append(config.dataset, config.run)
    if verdict != PUBLISHED:
        for reason in staging.verdict(config.dataset, new):
            print(f"{NAME}: {reason}", file=sys.stderr)
        return WRONG
    print(f"{config.dataset}: published, as the run {new}")
    return DONE


if __name__ == "__main__":
    sys.exit(run())
