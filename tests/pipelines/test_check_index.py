"""`beam-etl check_index` as a user meets it: what it says, and its exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from beam_etl import __main__ as main
from beam_etl.pipelines import inverted_index
from beam_etl.pipelines.check_index import run

TEXTS = ["one two two", "two three", "one"]


def build(folder: Path, texts: list[str], *flags: str) -> str:
    (folder / "in").mkdir(parents=True)
    rows = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    (folder / "in" / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    output = str(folder / "out")
    assert inverted_index.run([f"--input={folder}/in", f"--output={output}", *flags]) == 0
    return output


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(tmp_path_factory.mktemp("index"), TEXTS, "--positions=true")


def test_a_sound_index_is_a_line_and_0(built: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["check_index", built, f"--documents={Path(built).parent}/in"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{built}: sound. ")
    assert "5 postings, 3 documents, " in line


def test_as_a_module(built: str) -> None:
    command = [sys.executable, "-m", "beam_etl.pipelines.check_index", built]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_several_indexes_each_have_a_line(
    built: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = build(tmp_path, ["four"])
    file = next(Path(other, "postings").iterdir())
    file.write_bytes(file.read_bytes()[:-1])
    capsys.readouterr()
    assert run([f"{built},{other}"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{built}: sound. ")
    assert lines[1:3] == ["size of a file: 1", f"  postings/{file.name}: {lines[2].split(': ')[1]}"]
    assert lines[-1].startswith(f"{other}: not sound: size of a file. ")


def test_documents_that_differ_are_told_and_1(
    built: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "0", "text": "one two three"}')
    assert run([built, f"--documents={tmp_path}"]) == 1
    told = capsys.readouterr().out
    assert "input: 1 are in the input, 3 in the index" in told
    assert (
        "document 0: a.jsonl, position 0: 'three' is in the text only; 'two' is there 1 times, 2 in" in told
    )
    assert "document 2: it isn't in the input" in told


def test_an_index_without_positions_is_compared_too(tmp_path: Path) -> None:
    output = build(tmp_path, TEXTS)
    assert run([output, f"--documents={tmp_path}/in"]) == 0
    (tmp_path / "in" / "a.jsonl").write_text(
        (tmp_path / "in" / "a.jsonl").read_text().replace("three", "tree!")
    )
    assert run([output, f"--documents={tmp_path}/in"]) == 1


def test_columns_are_read_as_they_were_for_the_build(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"key": "0", "body": "one two three", "text": 5}')
    named = ["--id_column=key", "--text_column=body"]
    assert inverted_index.run([f"--input={tmp_path}/a.jsonl", f"--output={tmp_path}/out", *named]) == 0
    assert run([f"{tmp_path}/out", f"--documents={tmp_path}/a.jsonl"]) == 0


def other_dataset(folder: Path) -> str:
    (folder / "a.jsonl").write_text('{"language": "en", "text": "one"}')
    assert main.main(["token_count", f"--input={folder}/a.jsonl", f"--output={folder}/out"]) == 0
    return f"{folder}/out"


def test_what_is_no_index_is_told_and_2(
    built: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usages = {
        str(tmp_path / "nowhere"): "no dataset. Give the folder that inverted_index wrote as --output.",
        other_dataset(tmp_path): "no inverted index",
        "": "no index is named",
        f"{built} --documents={tmp_path}/nothing": "nothing",
        f"{built} --document=x": "unknown argument --document=x",
        f"{built} {built}": f"unknown argument {built}",
        f"{built},{built} --documents={tmp_path}": "Check one at a time",
        "--documents=x": "--index",
    }
    capsys.readouterr()
    for arguments, said in usages.items():
        assert run(arguments.split(" ")) == 2, arguments
        assert said in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = build(tmp_path, TEXTS)
    file = next(Path(output, "terms").iterdir())
    file.chmod(0)
    assert run([output]) == 1
    assert "unreadable file: 1" in capsys.readouterr().out


def test_a_damaged_manifest_is_told_and_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = build(tmp_path, TEXTS)
    path = Path(output, "_manifests", "000001.json")
    path.write_bytes(path.read_bytes().replace(b'"documents": 3', b'"documents": 4'))
    capsys.readouterr()
    assert run([output]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "manifest: 1",
        "  _manifests/000001.json: the digest does not match: the manifest was changed after it was written",
    ]
