"""`search` as a user meets it: what it prints, and its exit codes."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl import __main__
from beam_etl.kernels.excerpts import CHARACTERS, excerpt
from beam_etl.pipelines import inverted_index
from beam_etl.pipelines.search import run
from tests.indexes import Expected, write_index

TEXTS = {
    "fox": "The quick brown fox jumps over the lazy dog. " + "More about it. " * 30 + "A fox, a fox!",
    "dog": "A lazy dog sleeps.",
    "cat": "A cat is no dog\x1b[2J and no fox.",
}

Writer = Callable[[Path], Path]


def rows() -> list[dict[str, str]]:
    return [{"id": name, "url": f"https://one.org/{name}", "text": text} for name, text in TEXTS.items()]


def jsonl(folder: Path) -> Path:
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows())))
    return folder / "in.jsonl"


def packed(folder: Path) -> Path:
    (folder / "in.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows())).encode()))
    return folder / "in.jsonl.gz"


def parquet(folder: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(rows()), folder / "in.parquet", row_group_size=2)
    return folder / "in.parquet"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("search")
    return build(jsonl(folder), folder)


def build(source: Path, folder: Path) -> str:
    output = folder / "index"
    assert inverted_index.run([f"--input={source}", f"--output={output}", "--positions=true"]) == 0
    return str(output)


Printed = pytest.CaptureFixture[str]


def searched(capsys: Printed, *arguments: str) -> list[str]:
    capsys.readouterr()
    assert run(arguments) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("write", [jsonl, packed, parquet])
def test_hits_are_told_with_a_line_of_their_text(write: Writer, tmp_path: Path, capsys: Printed) -> None:
    lines = searched(capsys, build(write(tmp_path), tmp_path), "fox")
    assert re.fullmatch(r"   1 +\d\.\d{4}  cat  https://one.org/cat", lines[0])
    assert lines[1:2] == ["        A cat is no dog [2J and no fox."]
    assert re.fullmatch(r"   2 +\d\.\d{4}  fox  https://one.org/fox", lines[2])
    assert lines[3].startswith("        The quick brown fox jumps over")
    assert len(lines) == 4


def test_what_each_word_adds_is_explained(index: str, capsys: Printed) -> None:
    lines = searched(capsys, index, '"lazy dog" sleeps cat -jumps', "-k", "1", "--explain")
    score = float(lines[0].split()[1])
    assert lines[2].split() == ["term", "df", "idf", "tf", "length", "adds"]
    terms = [line.split() for line in lines[3:6]]
    assert [line[0] for line in terms] == ["cat", '"lazy', "sleeps"]
    assert terms[1][1:5] == ['dog"', "2+3", "0.6035", "1"]
    assert score == pytest.approx(sum(float(line[-1]) for line in terms), abs=2e-4)
    assert re.fullmatch(r"blocks: \d+ read, \d+ skipped; [\d.]+ KB read of [\d.]+ KB", lines[6])


def test_documents_that_are_gone_or_others_now_have_no_line(tmp_path: Path, capsys: Printed) -> None:
    written = jsonl(tmp_path)
    index = build(written, tmp_path)
    content = written.read_text()
    written.write_text(content.replace('"id": "dog"', '"id": "hog"'))
    assert len(searched(capsys, index, "sleeps")) == 1
    written.unlink()
    assert len(searched(capsys, index, "sleeps")) == 1
    moved = written.parent / "moved" / written.name
    moved.parent.mkdir()
    moved.write_text(content)
    lines = searched(capsys, index, "sleeps", f"--documents={moved.parent}")
    assert lines[1].strip() == "A lazy dog sleeps."


def test_nothing_found_is_no_failure(index: str, capsys: Printed) -> None:
    assert searched(capsys, index, "+fox +sleeps") == ["no document of 3 answers +fox +sleeps"]


def test_several_indexes_are_one(index: str, tmp_path: Path, capsys: Printed) -> None:
    other = write_index(tmp_path / "other", Expected(texts=["a fox"], ids=["new"]))
    lines = searched(capsys, f"{index},{other}", "fox", "--k=9", "--k1=0", "--b=0")
    assert [line.split()[2] for line in lines if line.split()[0].isdigit()] == ["fox", "cat", "new"]


USAGE = {
    "nothing": ([], "required"),
    "no query": (["INDEX"], "query"),
    "no index": (["/nowhere", "a"], "/nowhere: no dataset"),
    "too much": (["INDEX", "two", "words"], "'words' is too much. A query of several words stands in quotes"),
    "unknown flag": (["INDEX", "a", "--best=3"], "unknown argument --best=3"),
    "no documents": (["INDEX", "a", "-k", "0"], "-k must be at least 1, got 0"),
    "k1": (["INDEX", "a", "--k1=-1"], "k1 must be at least 0"),
    "b": (["INDEX", "a", "--b=2"], "b must be from 0 to 1"),
    "nothing to find": (["INDEX", "-fox"], "only what is excluded"),
    "open quote": (["INDEX", '"fox'], "a quote isn't closed"),
    "absent documents": (["INDEX", "fox", "--documents=/nowhere.jsonl"], "/nowhere.jsonl"),
}


@pytest.mark.parametrize(("arguments", "message"), USAGE.values(), ids=USAGE)
def test_what_cant_be_answered_is_a_usage_error(
    arguments: list[str], message: str, index: str, capsys: Printed
) -> None:
    assert run([index if argument == "INDEX" else argument for argument in arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("search: ")
    assert message in told


def test_a_damaged_index_is_a_failure(tmp_path: Path, capsys: Printed) -> None:
    index = write_index(tmp_path / "index", Expected(texts=["a fox"]))
    for file in index.glob("terms/*.parquet"):
        file.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    assert run([str(index), "fox"]) == 1
    assert "check_index tells what is damaged" in capsys.readouterr().err


def test_it_is_a_command(index: str, capsys: Printed) -> None:
    assert __main__.main(["search", index, "sleeps"]) == 0
    assert "dog" in capsys.readouterr().out


EXCERPTS = {
    "short": ("one two", [("two",)], "one two"),
    "most wanted first": ("one two three", [("absent",), ("two",)], "one two three"),
    "middle": (
        "word " * 40 + "here " + "word " * 40,
        [("here",)],
        "..." + "word " * 6 + "here " + "word " * 11 + "word...",
    ),
    "without spaces": (
        "字" * 300 + "日本" + "字" * 300,
        [("日", "本")],
        "..." + "字" * 33 + "日本" + "字" * 65 + "...",
    ),
    "not there": ("one two", [("two", "one")], None),
}


@pytest.mark.parametrize(("text", "phrases", "line"), EXCERPTS.values(), ids=EXCERPTS)
def test_an_excerpt_is_a_line_around_what_was_found(
    text: str, phrases: list[tuple[str, ...]], line: str | None
) -> None:
    found = excerpt(text, phrases, "words")
    assert found == line
    assert found is None or len(found) <= CHARACTERS + 6
