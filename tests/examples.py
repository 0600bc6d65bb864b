"""Examples of the project, run as a reader of them would."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

REPOSITORY = Path(__file__).parents[1]


def printed_by(example: str, documents: list[dict[str, Any]], folder: Path) -> list[str]:
    """The lines that an example prints about documents; each promise that it checks has to hold."""
    (folder / "documents").mkdir()
    pq.write_table(pa.Table.from_pylist(documents), folder / "documents" / "0.parquet")
    flags = [f"--documents={folder / 'documents'}", f"--output={folder / 'output'}"]
    ran = subprocess.run(
        [sys.executable, f"examples/{example}.py", *flags],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert not any(line.endswith(": NO") for line in lines)
    return lines
