"""The demo's documents are what lies on the disk, and the same each time."""

import os
import resource
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apache_beam
import pyarrow.parquet as pq
import pytest

REPOSITORY = Path(__file__).parents[1]


def demo_documents(folder: Path, *flags: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "examples/demo_documents.py", f"--output={folder}", *flags],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def make_documents(folder: Path, *flags: str) -> str:
    """Runs examples/demo_documents.py; returns what it printed."""
    made = demo_documents(folder, *flags)
    assert made.returncode == 0, made.stderr
    return made.stdout


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


def test_a_write_that_fails_half_way_ends_in_a_sentence(tmp_path: Path) -> None:
    """No file may be larger than 64 KB here, which the demo meets as it would a full disk."""
    limit = (1 << 16, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    made = demo_documents(
        tmp_path, "--limit=300", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    )
    assert (made.returncode, made.stdout) == (1, "")
    assert made.stderr.startswith(f"Could not make the documents in {tmp_path}: ")
    assert "File too large" in made.stderr
    assert "Traceback" not in made.stderr


def test_a_folder_that_can_not_be_made_ends_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = demo_documents(tmp_path / "file" / "documents", "--limit=300")
    assert (made.returncode, made.stdout) == (1, "")
    assert made.stderr.startswith(f"Could not make the documents in {tmp_path}/file/documents: ")
    assert "--output=FOLDER" in made.stderr
    assert "Traceback" not in made.stderr
