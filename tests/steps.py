"""Lists of the steps of streams: an engine finds the state of a savepoint, or of a job that it updates, by their names.

Where a change of names is meant, CHANGELOG.md says that streams can't go on across it, and the lists are written anew
by `BEAM_ETL_WRITE_STEPS=1 pytest FILE`.
"""

import os
from collections.abc import Iterable
from pathlib import Path

STEPS = Path(__file__).parent / "pipelines" / "steps"


def check_steps(path: Path, labels: Iterable[str]) -> None:
    """Compares the labels of all steps of a pipeline with those of a list, or writes the list."""
    found = sorted(labels)
    if os.environ.get("BEAM_ETL_WRITE_STEPS") == "1":
        path.write_text("".join(f"{label}\n" for label in found), encoding="utf-8")
    assert found == path.read_text(encoding="utf-8").splitlines()
