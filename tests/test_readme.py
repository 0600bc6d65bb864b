"""What README.md tells a newcomer to type works."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from beam_etl.__main__ import main

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [text for language, text in BLOCKS if not language]


def command(program: str) -> list[str]:
    """The arguments of the one command of this program."""
    (found,) = [shlex.split(text) for text in COMMANDS if text.startswith(program)]
    return found[1:]


@pytest.mark.slow
def test_the_example_of_a_pipeline_runs() -> None:
    (code,) = [text for language, text in BLOCKS if language == "python"]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'language': 'de'" in ran.stdout
    assert "'tokens': 2" in ran.stdout


@pytest.mark.slow
def test_the_commands_run_on_documents_as_the_demo_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = REPOSITORY / "examples/demo_documents.py"
    subprocess.run([sys.executable, script, "--output=demo/documents", "--limit=200"], check=True)
    assert main(command(".venv/bin/beam-etl")) == 0
    query = command("duckdb")[1]
    rows = duckdb.sql(query).fetchall()
    assert rows
    assert rows == sorted(rows, key=lambda row: -row[2])


def test_make_has_the_targets_that_are_named() -> None:
    targets = re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^make (\w+)", README, re.MULTILINE)) <= set(targets)
