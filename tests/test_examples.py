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
import pyarrow as pa
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


def test_the_crawl_of_the_stream_has_each_document_at_a_time_of_its_own(tmp_path: Path) -> None:
    make_documents(tmp_path / "demo/documents", "--limit=300")
    made = [sys.executable, "-c", "import demo_stream; demo_stream.make_crawl()"]
    paths = {"PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "examples")))}
    subprocess.run(made, cwd=tmp_path, env={**os.environ, **paths}, check=True)
    crawl = pq.read_table(tmp_path / "demo/crawl/crawl.parquet")
    assert sorted(crawl["id"].to_pylist()) == sorted(
        pq.read_table(tmp_path / "demo/documents")["id"].to_pylist()
    )
    times = crawl["time"].to_pylist()
    assert times == sorted(set(times))


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


LICENCE = "# Licence\n\nCopyright 2020 One\n\nPermission is granted\n"
TEXTS = {
    "a==1/LICENSE": LICENCE,
    "a==1/vendored/LICENSE": LICENCE,
    "b==2/LICENSE": LICENCE.replace("2020 One", "2024 Two"),
    "b==2/COPYING": LICENCE.replace("\n\n", "\n"),
    "c==3/page.py": "import one\nprint()\n",
    "c==3/other.py": "import one\nprint()\n",
}
REMOVALS = (
    ("a==1/vendored/LICENSE", "a==1/LICENSE", "exact", None, None),
    ("b==2/COPYING", "a==1/LICENSE", "near", 3, None),
    ("b==2/LICENSE", "a==1/LICENSE", "near", 0, 0.875),
    ("c==3/other.py", "c==3/page.py", "exact", None, None),
)


def test_a_group_of_duplicates_shows_why_it_is_one(tmp_path: Path) -> None:
    """Texts that differ come first, each with the first line that does; equal ones say that they are."""
    columns = ("id", "survivor_id", "reason", "band", "similarity")
    rows = [
        {"file": "f", "position": n, "bytes": 1_000_000, **dict(zip(columns, row, strict=True))}
        for n, row in enumerate(REMOVALS)
    ]
    texts = [{"id": name, "text": text} for name, text in TEXTS.items()]
    for folder, table in (("documents", texts), ("dedup/removals", rows)):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(table), tmp_path / folder / "0.parquet")
    said = subprocess.run(
        [sys.executable, "examples/demo_clusters.py", tmp_path / "documents", tmp_path / "dedup"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    first, second = said.split("c==3/page.py")
    assert "4 documents (4.0 MB) removed; 2 kept for them." in first
    assert "4 documents; removed: 1 the same text, 2 a similar text" in first
    assert lines_after("removed  b==2/COPYING", first, 2) == [
        "equal in band 3; where they first differ:",
        "only blanks and punctuation differ",
    ]
    assert lines_after("removed  b==2/LICENSE", first, 3) == [
        "similarity 0.88 to the one kept; where they first differ:",
        "kept:    Copyright 2020 One",
        "removed: Copyright 2024 Two",
    ]
    assert lines_after("and 1 more", first, 1) == ["2 documents; removed: 1 the same text"]
    assert lines_after("removed  c==3/other.py", second, 1) == ["the same text"]


def test_domains_are_shown_from_both_ends_with_what_makes_them_so(tmp_path: Path) -> None:
    rows = [
        {
            "domain": f"site{rank}.org",
            "rank": rank,
            "score": 1 - rank / 10,
            "prose_rate": 0.5,
            "prose_bound": 0.4,
            "documents": 1000 * rank,
            "failures": [{"rule": "prose.min_words", "documents": 7}] if rank > 1 else [],
            "examples": [{"id": f"example {rank}", "rules": ["prose.min_words"]}] if rank > 1 else [],
        }
        for rank in range(1, 6)
    ]
    (tmp_path / "domains").mkdir()
    pq.write_table(pa.Table.from_pylist(rows[::-1]), tmp_path / "domains" / "0.parquet")
    said = subprocess.run(
        [sys.executable, "examples/demo_domains.py", tmp_path / "documents", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    best, worst = said.split("The worst of 5 domains:")
    assert [line for line in said.splitlines() if ".org" in line] == [
        f"  {rank}. site{rank}.org: score {1 - rank / 10:.3f}, {rank},000 documents" for rank in range(1, 6)
    ]
    assert lines_after("1. site1.org: score 0.900, 1,000 documents", best, 2) == [
        "pass: prose 50%",
        "fail most: nothing",
    ]
    assert lines_after("5. site5.org: score 0.500, 5,000 documents", worst, 3) == [
        "pass: prose 50%",
        "fail most: prose.min_words 7",
        "such as example 5",
    ]


def lines_after(line: str, text: str, count: int) -> list[str]:
    lines = list(map(str.strip, text.splitlines()))
    return lines[lines.index(line) + 1 :][:count]
