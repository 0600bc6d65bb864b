"""What README.md and docs tell people to type works. tests/engines types what needs a cluster."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from beam_etl.__main__ import main

REPOSITORY = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
README = (REPOSITORY / "README.md").read_text()
DATASETS = (REPOSITORY / "docs/datasets.md").read_text()
DEDUP = (REPOSITORY / "docs/dedup.md").read_text()
DOMAINS = (REPOSITORY / "docs/domain_score.md").read_text()
JOINS = (REPOSITORY / "docs/joins.md").read_text()
INDEX = (REPOSITORY / "docs/index.md").read_text()
ENGINES = (REPOSITORY / "docs/engines.md").read_text()
PROGRAM = ".venv/bin/beam-etl "
ON_FLINK = "--runner=flink"


def blocks(page: str, language: str = "") -> list[str]:
    """The page's blocks of a language; commands have none."""
    return [text for name, text in BLOCK.findall(page) if name == language]


def commands(page: str, program: str) -> list[list[str]]:
    """The arguments of each command of this program."""
    lines = [line for text in blocks(page) for line in text.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith(program)]


def printed_by_example(page: str, folder: Path | None = None) -> str:
    (code,) = blocks(page, "python")
    example = [sys.executable, "-c", code]
    return subprocess.run(example, capture_output=True, text=True, check=True, cwd=folder).stdout


def make_documents(folder: Path) -> None:
    script = REPOSITORY / "examples/demo_documents.py"
    (folder / "examples").symlink_to(REPOSITORY / "examples")  # files that commands name
    subprocess.run([sys.executable, script, "--output=demo/documents", "--limit=200"], cwd=folder, check=True)


@pytest.mark.slow
def test_the_example_of_a_pipeline_runs() -> None:
    printed = printed_by_example(README)
    assert "'language': 'de'" in printed
    assert "'tokens': 2" in printed


@pytest.mark.slow
def test_the_example_of_deduplication_keeps_the_longest_and_says_what_went() -> None:
    assert sorted(printed_by_example(DEDUP).splitlines()) == ["a b", "kept b", "kept c"]


@pytest.mark.slow
def test_the_commands_run_on_documents_as_the_demo_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_documents(tmp_path)
    local = [command for command in commands(README, PROGRAM) if ON_FLINK not in command]
    assert len(local) > 6
    assert [command for command in local if main(command) != 0] == []
    assert [main(command) for command in commands(DATASETS, PROGRAM)] == [0] * 2
    ((_, query),) = commands(README, "duckdb ")
    rows = duckdb.sql(query).fetchall()
    assert rows
    assert rows == sorted(rows, key=lambda row: -row[2])


@pytest.mark.slow
def test_the_commands_and_queries_of_deduplication_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_documents(tmp_path)
    assert [main(command) for command in commands(DEDUP, PROGRAM)] == [0, 0, 0]
    answers = [duckdb.sql(query).fetchall() for query in blocks(DEDUP, "sql")]
    assert len(answers) == 3
    assert all(answers)
    ((everything,),) = duckdb.sql("SELECT count(*) = 200 FROM 'demo/second/removals/*.parquet'").fetchall()
    assert everything


def on_a_cluster(page: str) -> list[str]:
    """The lines of the block that starts a cluster and stops it."""
    (block,) = [text for text in blocks(page) if "beam_etl.engines.flink start" in text]
    return block.splitlines()


def test_a_cluster_is_used_in_the_same_way_on_both_pages() -> None:
    assert [line for line in on_a_cluster(ENGINES) if line in on_a_cluster(README)] == on_a_cluster(README)


def test_make_has_the_targets_that_are_named() -> None:
    targets = re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^make (\w+)", README, re.MULTILINE)) <= set(targets)


@pytest.mark.slow
def test_the_commands_of_the_index_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_documents(tmp_path)
    assert [main(command) for command in commands(INDEX, PROGRAM)] == [0] * 3
    *hits, _ = printed_by_example(INDEX, tmp_path).splitlines()
    assert hits == sorted(hits, key=lambda line: -float(line.split()[0]))


@pytest.mark.slow
def test_the_commands_and_queries_of_domain_scores_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_documents(tmp_path)
    assert [main(command) for command in commands(DOMAINS, PROGRAM)] == [0] * 4
    best, worst, removed = (duckdb.sql(query).fetchall() for query in blocks(DOMAINS, "sql"))
    assert [row[0] for row in best] == sorted(row[0] for row in best)
    assert worst
    assert all(reason.startswith("domain_s") for reason, *_ in removed)


@pytest.mark.slow
def test_the_example_of_domain_scores_ranks_and_keeps() -> None:
    printed = printed_by_example(DOMAINS).splitlines()
    assert sorted(printed) == ["1 good.org", "2 bad.org", *(f"kept good {n}" for n in range(9))]


@pytest.mark.long
def test_the_example_of_joins_has_a_row_for_each_page() -> None:
    printed = sorted(printed_by_example(JOINS).splitlines())
    assert printed == ["{'url': 'a', 'text': 'A', 'rank': 1}", "{'url': 'b', 'text': 'B', 'rank': None}"]
