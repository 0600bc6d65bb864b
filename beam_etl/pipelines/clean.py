"""`python -m beam_etl.pipelines.clean DATASET`: removes old versions, and what runs left that died. No Beam job."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from beam_etl.io.clean import find_leftovers, remove_leftovers
from beam_etl.observe.text import format_bytes, format_seconds
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.tool import DONE, run_tool

NAME = "clean"
SUMMARY = "Removes what runs that died left in a dataset, and old versions: DATASET [--keep_versions=N]"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What can be asked."""

    dataset: str = flag("folder of the dataset; may stand first, without --dataset=", unit=FOLDER)
    keep_versions: int | None = flag("how many of the latest versions stay; without it all do", default=None)
    idle_hours: float = flag(
        "a run has died when it has written nothing for so long; 0 where you know that none is going on",
        default=24.0,
        unit="hours",
    )
    plan: bool = flag("tell what would be removed, and stop", default=False, bare="true")

    def __post_init__(self) -> None:
        if self.keep_versions is not None and self.keep_versions < 1:
            raise ValueError(f"--keep_versions must be at least 1, got {self.keep_versions}")
        if not self.idle_hours >= 0:
            raise ValueError(f"--idle_hours must be at least 0, got {self.idle_hours}")


def run(argv: Sequence[str] | None = None) -> int:
    """Cleans the dataset that the command line names; the exit code."""
    return run_tool(NAME, SUMMARY, Config, argv, _clean)


def _clean(config: Config) -> int:
    found = find_leftovers(config.dataset, config.keep_versions, config.idle_hours * 3600)
    if not config.plan:
        remove_leftovers(config.dataset, found)
    for each in found.removable:
        print(f"{each.what}: {format_bytes(each.bytes)}")
    for what, idle in found.young:
        print(
            f"left alone: {what}, written to {format_seconds(idle)} ago (--idle_hours={config.idle_hours:g})"
        )
    for note in found.notes:
        print(note)
    done = "can be removed" if config.plan else "removed"
    print(f"{config.dataset}: {format_bytes(found.bytes)} {done}")
    return DONE


if __name__ == "__main__":
    sys.exit(run())
