"""Documents that quote an evaluation set go, or lose the quotation; sets are of any format."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io import evaluations
from beam_etl.pipelines.decontaminate import run

Row = dict[str, Any]
QUESTION = "What is the airspeed velocity of an unladen swallow, if it carries a coconut of one pound?"
ANSWER = "It depends on whether the swallow is an African or a European one, and on the coconut."


def table(output: Path, name: str) -> list[Row]:
    return pq.read_table(output / name).to_pylist() if (output / name).is_dir() else []


def lines(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def source(webtext: list[Row], tmp_path: Path) -> Path:
    rows = [{"id": row["id"], "text": row["text"]} for row in webtext[::60]]
    rows[7]["text"] += f"\n* {QUESTION.upper()}\n"
    rows[9]["text"] = f"{ANSWER} \u2014 {rows[9]['text']}"
    rows[11]["text"] = ANSWER[:40]
    (tmp_path / "in").mkdir()
    lines(tmp_path / "in/a.jsonl", rows)
    return tmp_path / "in"


@pytest.fixture
def sets(tmp_path: Path) -> str:
    pq.write_table(pa.table({"prompt": [None, "short", QUESTION]}), tmp_path / "questions.v1.parquet")
    lines(
        tmp_path / "answers.jsonl",
        [{"prompt": "Some other answer that nobody gave in any of the documents here."}],
    )
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write(json.dumps({"prompt": ANSWER}) + "\n")
    return f"{tmp_path}/questions.v1.parquet,{tmp_path}/answers.jsonl"


def test_documents_that_quote_a_set_are_removed(
    source: Path, sets: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--input={source}", f"--evaluations={sets}", "--evaluation_column=prompt"]
    assert run([*flags, f"--output={tmp_path}/out"]) == 0
    assert "questions: 1 of 2 texts have fewer than 13 words" in capsys.readouterr().out
    given = [json.loads(line) for line in (source / "a.jsonl").read_text().splitlines()]
    assert table(tmp_path / "out", "documents") == [row for n, row in enumerate(given) if n not in (7, 9)]
    told = {row["id"]: row for row in table(tmp_path / "out", "removals")}
    assert {id: row["failed"] for id, row in told.items()} == {
        given[7]["id"]: ["questions"],
        given[9]["id"]: ["answers"],
    }
    first = "what is the airspeed velocity of an unladen swallow if it carries a"
    assert told[given[7]["id"]]["reasons"] == [f"questions: {first}"]
    rows = {row["evaluation"]: row for row in table(tmp_path / "out", "matches")}
    assert (rows["questions"]["evaluation_row"], rows["answers"]["evaluation_row"]) == (2, 1)
    assert (rows["questions"]["matches"], rows["answers"]["matches"]) == (5, 5)
    [begin], [end] = rows["questions"]["begins"], rows["questions"]["ends"]
    assert given[7]["text"].encode()[begin:end].decode() == QUESTION.upper()[:-1]


def test_quotations_are_masked(source: Path, sets: str, tmp_path: Path) -> None:
    flags = [f"--input={source}", f"--evaluations={sets}", "--evaluation_column=prompt", "--action=mask"]
    assert run([*flags, f"--output={tmp_path}/out", "--ngram=5"]) == 0
    given = [json.loads(line) for line in (source / "a.jsonl").read_text().splitlines()]
    given[7]["text"] = given[7]["text"].replace(QUESTION.upper()[:-1], "<EVALUATION>")
    given[9]["text"] = given[9]["text"].replace(ANSWER[:-1], "<EVALUATION>")
    given[11]["text"] = "<EVALUATION>" + ANSWER[:40].removeprefix("It depends on whether the swallow is an")
    assert table(tmp_path / "out", "documents") == given
    assert not table(tmp_path / "out", "removals")


@pytest.mark.parametrize("given", ["{0}", "{0}/a.jsonl,{0}/b.jsonl"], ids=["a set", "two sets"])
def test_what_is_no_evaluation_set_is_refused_before_it_is_in_memory(
    given: str,
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit is that of all files of all sets."""
    monkeypatch.setattr(evaluations, "MAX_BYTES", 10_000)
    (tmp_path / "sets").mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        lines(tmp_path / "sets" / name, [{"text": "long " * 1_200}])
    flags = [f"--input={source}", f"--output={tmp_path}/out"]
    assert run([*flags, f"--evaluations={given.format(tmp_path / 'sets')}"]) == 2
    assert "b.jsonl: with it, evaluation sets have over 10,000 bytes of text" in capsys.readouterr().err


WRONG = [
    ("--evaluations={0}/none.jsonl", "none.jsonl"),
    ("--evaluations={0}/answers.jsonl", "no column 'text'; it has 'prompt'"),
    ("--evaluations={0}/cut.parquet --evaluation_column=prompt", "cut.parquet"),
    ("--evaluations={0}/answers.jsonl --ngram=99", "--ngram must be from 1 to 64 words, got 99"),
]


@pytest.mark.parametrize(("flags", "message"), WRONG)
def test_what_is_wrong_with_a_set_is_told_before_anything_runs(
    flags: str, message: str, source: Path, sets: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (tmp_path / "questions.v1.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-20])
    given = flags.format(tmp_path).split()
    assert run([f"--input={source}", f"--output={tmp_path}/out", *given]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
