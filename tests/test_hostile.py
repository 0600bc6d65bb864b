"""Files that have broken readers: each comes to what docs/hostile.md says, alone and in jobs with good ones."""

import importlib
import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from beam_etl.pipelines import PIPELINES
from tests.stored import Document, avro, documents, json_lines, parquet
from tests.vocabularies import SMALL

REPOSITORY = Path(__file__).parents[1]
TOOL = runpy.run_path(str(REPOSITORY / "tools/make_hostile_page.py"))


def test_the_page_says_what_each_file_comes_to(shared: Path) -> None:
    page = (REPOSITORY / "docs/hostile.md").read_text()
    made = TOOL["page"](page, shared / "data/hostile").splitlines()
    assert made == page.splitlines(), "run tools/make_hostile_page.py"
    assert len(made) > 500


def test_a_condition_on_columns_that_say_they_are_encrypted_ends_no_process(shared: Path) -> None:
    names = ["float_field", "double_field", "ba_field", "int64_feidl"]
    code = (
        "import sys; from beam_etl.io.columns import Columns; from beam_etl.io.files import match_files; "
        "from beam_etl.io.formats import format_named; from beam_etl.io.splits import plan_splits, read_split; "
        "from beam_etl.kernels.where_text import parse_where; known = format_named('parquet'); "
        "where = [parse_where(f'{name} is not null') for name in sys.argv[2:]]; "
        "[split] = plan_splits(match_files(sys.argv[1], 'parquet')[0], known, 1 << 20); "
        "print([len(list(read_split(split, known, Columns(needed=('id',), where=each)))) for each in where])"
    )
    found = shared / "data/hostile/parquet-fuzzing/clusterfuzz-testcase-dictbitwidth-5882232959270912"
    command = [sys.executable, "-W", "ignore", "-c", code, str(found), *names]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    assert done.stdout.strip() == "[1, 1, 1, 1]"


GOOD: list[Document] = [
    {**row, "url": f"https://good.example/{n}", "text": f"good text number {n}, with some words"}
    for n, row in enumerate(documents(50))
]


def as_lines(rows: list[Document]) -> bytes:
    return "".join(f"{row['text']}\n" for row in rows).encode()


ENCODED: dict[str, Callable[[list[Document]], bytes]] = {
    "parquet": parquet,
    "avro": avro,
    "jsonl": json_lines,
    "text": as_lines,
}


SUFFIXES = {"parquet": ".parquet", "avro": ".avro", "jsonl": ".jsonl", "text": ".txt"}


def hostile_input(shared: Path, folder: Path, known_as: str) -> list[Path]:
    """A folder with the collection's files of a format, among good ones. As text, all files are read."""
    found = TOOL["files"](shared / "data/hostile")
    paths = found[known_as] if known_as != "text" else [path for some in found.values() for path in some]
    folder.mkdir()
    for number, path in enumerate(paths):
        shutil.copyfile(path, folder / f"{number:04d}-bad{SUFFIXES[known_as]}")
    for name in ("0000-good", "0100-good", "9999-good"):
        (folder / f"{name}{SUFFIXES[known_as]}").write_bytes(ENCODED[known_as](GOOD))
    return sorted(folder.glob("*-bad.*"))


READING: dict[str, list[str]] = {
    "token_count": ["--by=file", "--documents=false"],
    "dedup": ["--method=exact"],
    "inverted_index": [],
    "domain_score": [],
    "lines": [],
    "decontaminate": ["--evaluations={folder}/known.txt"],
    "extract": ["--detect_language=false"],
    "curate": [f"--config={Path(__file__).parents[1]}/examples/texts.toml"],
    "aggregate": ["--by=text", "--agg=count"],
    "quantiles": ["--columns=text", "--q=0.5", "--exact=true"],
    "topk": ["--by=text", "--k=10"],
    "sort": ["--by=text"],
    "repartition": ["--partition=hash:text:4"],
    "tokenize": ["--tokenizer=hf:{folder}/small.json"],
    "join": ["--on=text", "--left_columns=text", "--right_columns=text"],
}
"""Each pipeline that reads documents, and flags with which it reads them."""

READING_DATASETS = (
    *("append", "check_index", "clean", "compact", "compact_index", "describe", "index_segments"),
    *("score_windows", "search", "show", "verify"),
)
"""Each that reads what others have published: see test_hostile_datasets.py."""

ALL_COLUMNS = ("extract", "topk", "sort", "repartition")

REFUSED = {
    *((job, known) for job in ALL_COLUMNS for known in ("parquet", "avro")),
    *((job, "text") for job in ("domain_score", "curate")),
}
"""Jobs that carry all columns along, which have other types in each file; and those that need more than text."""

GRID = [
    pytest.param(job, known, marks=() if job == "token_count" and known != "text" else pytest.mark.long)
    for job in READING
    for known in ENCODED
]


def test_every_pipeline_is_here() -> None:
    assert sorted([*READING, *READING_DATASETS]) == sorted(PIPELINES)


@pytest.mark.slow
@pytest.mark.parametrize(("job", "known_as"), GRID)
def test_a_job_gives_all_good_documents_and_names_each_bad_file(
    job: str, known_as: str, shared: Path, tmp_path: Path
) -> None:
    bad = hostile_input(shared, tmp_path / "in", known_as)
    output, sides = tmp_path / "out", ("left", "right") if job == "join" else ("input",)
    flags = [f"--{side}={tmp_path}/in" for side in sides]
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    (tmp_path / "known.txt").write_text("a text that no document has")
    asked = [flag.format(folder=tmp_path) for flag in READING[job]]
    run = importlib.import_module(f"beam_etl.pipelines.{job}").run
    code = run([*flags, f"--output={output}", "--max_reject_fraction=1", *asked])
    assert code == (2 if (job, known_as) in REFUSED else 0)
    if code:
        return
    rejected = {row["file"] for row in pq.read_table(output / "rejects").to_pylist()}
    assert rejected <= set(map(str, bad))
    if job != "token_count":
        return
    counted = {row["file"]: row["documents"] for row in pq.read_table(output / "counts").to_pylist()}
    assert [counted[str(path)] for path in sorted((tmp_path / "in").glob("*-good.*"))] == [50, 50, 50]
    silent = [path for path in bad if str(path) not in rejected and str(path) not in counted]
    assert all(not path.read_bytes().strip() or is_without_records(path, known_as) for path in silent)


def is_without_records(path: Path, known_as: str) -> bool:
    """Whether a file has none, as the page tells."""
    counted, rejects = TOOL["read"](path, known_as)
    return counted == 0 and not rejects
