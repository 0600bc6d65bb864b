"""The examples of models run, and check what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

REPOSITORY = Path(__file__).parents[1]


def printed_by(example: str, documents: list[dict[str, Any]], folder: Path) -> list[str]:
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


def share(line: str) -> float:
    """The percentage that a line tells."""
    [told] = re.findall(r"([0-9.]+)%", line)
    return float(told)


@pytest.mark.slow
def test_a_classifier_of_ones_own_is_right_more_often_than_chance(
    webtext: list[dict[str, Any]], tmp_path: Path
) -> None:
    lines = printed_by("score_with_model", webtext[::4], tmp_path)
    [base] = [share(line) for line in lines if "it has not seen" in line]
    [precision] = [share(line) for line in lines if line.startswith("precision ")]
    assert precision > 2 * base
    rows = pq.read_table(tmp_path / "output/scored/documents")
    assert rows.num_rows == len(webtext[::4])
    assert all(0 <= score <= 1 for score in rows["good"].to_pylist())


@pytest.mark.long
def test_documents_unlike_their_domain_are_found_without_a_shuffle(
    webtext: list[dict[str, Any]], tmp_path: Path
) -> None:
    lines = printed_by("unlike_their_domain", webtext, tmp_path)
    assert [line for line in lines if line.startswith("plan: ")][1:] == [
        "plan: 0 shuffles",
        "plan: 1 shuffle",
    ]
    assert sum(line.endswith(": yes") for line in lines) == 4
