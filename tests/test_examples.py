"""The demo's documents are what lies on the disk, and the same each time."""

import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import apache_beam
import pyarrow.parquet as pq
import pytest

REPOSITORY = Path(__file__).parents[1]


def make_documents(folder: Path, *flags: str) -> str:
    """Runs examples/demo_documents.py; returns what it printed."""
    return subprocess.run(
        [sys.executable, "examples/demo_documents.py", f"--output={folder}", *flags],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.slow
def test_documents_are_the_files_of_the_installed_packages(tmp_path: Path) -> None:
    said = make_documents(tmp_path)
    rows = {row["id"]: row for row in pq.read_table(tmp_path).to_pylist()}
    assert said.startswith(f"{len(rows):,} documents")
    assert 5_000 < len(rows) < 20_000
    beam = rows[f"apache-beam=={version('apache-beam')}/apache_beam/__init__.py"]
    assert beam["text"] == Path(apache_beam.__file__).read_text(encoding="utf-8")
    assert (beam["language"], beam["url"]) == ("python", "https://beam.apache.org/apache_beam/__init__.py")
    assert any(identity.startswith("python==") for identity in rows)
    assert len(Counter(row["text"] for row in rows.values())) < len(rows)
    assert {"c", "markdown", "python", "text"} < {row["language"] for row in rows.values()}


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert make_documents(tmp_path / name, "--limit=300").startswith("300 documents")
    one, two = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("one", "two")
    )
    assert one == two
