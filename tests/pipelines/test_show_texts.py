"""Texts that `show` compares are those that the step of curate compared: of who was kept, the stored ones."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest
from beam_etl.io.dataset_rows import TableRows
from beam_etl.io.document_texts import Place
from beam_etl.pipelines import curate, show
from beam_etl.pipelines.show_texts import StepTexts, read_source
from tests.stored import write

STEPS = """
[c4_lines]
[decontaminate]
evaluations = ["{folder}/one.jsonl", "{folder}/two.jsonl"]
action = "mask"
ngram = 5
[lines]
more_than = 4
keep = "none"
match = "exact"
[exact]
[near]
threshold = 0.5
"""

ASKED = "Which of these rivers is the longest one on that continent, and why is it so?"
"""Two sets have parts of it, which overlap: the first eight words, and those from the sixth one on."""

CUT = ("Home", "Menu", "cookie", "so it ends")
"""The first three by C4, the last as a line that repeats."""


def _document(number: int, menu: str, last: str = "") -> dict[str, str]:
    """Of equal numbers equal texts, but for lines that C4 drops, and the last word."""
    draw = random.Random(number)
    lines = [" ".join(str(draw.randrange(10**6)) for _ in range(8)) for _ in range(30)]
    lines[7:7] = [
        menu,
        f"Cafe\u0301 {number}: {ASKED} See page {number}.",
        "Read our cookie policy before you go on.",
    ]
    return {"text": "\n".join([*lines, f"And so it ends, as it has to end [1]{last}"])}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curated")
    documents = {f"d{number}": _document(number, "Home") for number in range(8)}
    documents |= {f"twin{number}": _document(number, f"Menu {number}") for number in range(3)}
    documents |= {
        f"near{number}": _document(number, "Home", "\nor nearly so, one says") for number in range(4, 6)
    }
    stored = "\n".join(json.dumps({"id": id, **row}) for id, row in documents.items())
    source = write(folder, "a.jsonl", stored.encode())
    words = ASKED.split()
    for name, some in (("one", words[:8]), ("two", words[5:])):
        write(folder, f"{name}.jsonl", json.dumps({"text": " ".join(some)}).encode())
    file = write(folder, "corpus.toml", STEPS.format(folder=folder).encode())
    assert curate.run([f"--config={file}", f"--input={source}", f"--output={folder}/out"]) == 0
    return folder / "out"


def test_texts_are_those_that_were_compared(corpus: Path) -> None:
    stored = {row["id"]: row["text"] for row in pq.read_table(corpus / "documents").to_pylist()}
    table = TableRows(str(corpus), "removals")
    removals: list[dict[str, Any]] = list(table.numbered(range(table.rows)))
    assert sorted(row["id"] for row in removals) == ["near4", "near5", "twin0", "twin1", "twin2"]
    texts = StepTexts(str(corpus), table.config, removals)
    for row in removals:
        kept = Place(row["survivor_file"], row["survivor_position"], row["survivor_id"])
        removed = Place(row["file"], row["position"], row["id"])
        left, right = (
            texts.text(read_source(place, table.config).text or "", place, row["step"])
            for place in (removed, kept)
        )
        assert right == stored[row["survivor_id"]]
        assert (left == right) == (row["step"] == "exact")
        assert left.startswith(right)
        assert "<EVALUATION>?" in right
        assert [cut for cut in CUT if cut in left or cut in right] == []


def test_it_is_told_what_was_done_before(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show.run([str(corpus), "--removed=true", "--reason=exact"]) == 0
    told = capsys.readouterr().out
    assert told.count("the text as exact had it, after c4_lines, decontaminate, lines:") == 3
    assert told.count("no difference in words") == 3


def test_it_is_told_where_nobody_knows_what_was_done_before(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = manifest.latest(str(corpus))
    assert made is not None
    rest = {name: columns for name, columns in made.schemas.items() if name != "edits"}
    without = replace(made, schemas=rest, files=tuple(file for file in made.files if file.table in rest))
    shutil.copytree(corpus, tmp_path / "copy")
    Path(manifest.manifest_path(str(tmp_path / "copy"), made.number)).write_bytes(without.to_json())
    assert show.run([str(tmp_path / "copy"), "--removed=true"]) == 2
    told = capsys.readouterr().err
    assert "no table 'edits'" in told
    assert "nothing was removed" not in told
    assert show.run([str(tmp_path / "copy"), "--table=removals"]) == 0
