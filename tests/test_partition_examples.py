"""The three cases of partitioned datasets run, and check what they promise."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = 240

CASES = {
    "partitioned_join": ["1", "1", "0", "1"],
    "within_domains": ["1", "0", "0", "4", "1"],
    "append_crawl": ["1", "1", "1", "1"],
}
"""The shuffles of each job of an example."""


@pytest.mark.slow
@pytest.mark.parametrize(("example", "shuffles"), CASES.items(), ids=CASES)
def test_an_example_of_partitions_shows_its_bill_and_that_its_promises_hold(
    example: str, shuffles: list[str], webtext: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "documents").mkdir()
    pq.write_table(pa.Table.from_pylist(webtext[:DOCUMENTS]), tmp_path / "documents" / "0.parquet")
    flags = [f"--documents={tmp_path / 'documents'}", f"--output={tmp_path / 'output'}"]
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
    assert [line.split()[1] for line in lines if line.startswith("plan: ")] == shuffles
    checks = [line for line in lines if line.endswith((": yes", ": NO"))]
    assert len(checks) >= 2
    assert not any(line.endswith(": NO") for line in checks)
