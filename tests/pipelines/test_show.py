"""What `show` prints is in the dataset, and texts are those of the input."""

import json
from pathlib import Path

import pytest

from beam_etl.observe.beside import DIFFERENCES, DIFFERING_WORDS, beside, differences
from beam_etl.pipelines import dedup, show
from beam_etl.pipelines.show_texts import SourceText, StepTexts

WORDS = (
    *("the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "then", "it", "sleeps"),
    *("under", "a", "tall", "old", "tree", "by", "the", "river"),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of which number 3 and 13 are near, 4 and 14 alike, written by dedup."""
    folder = tmp_path_factory.mktemp("show")
    rows = [
        {"id": f"d{n}", "text": "\n".join(f"{word} {n} {n * at}" for at, word in enumerate(WORDS))}
        for n in range(20)
    ]
    rows[13]["text"] = rows[3]["text"].replace("tree 3", "bush 3")
    rows[14]["text"] = rows[4]["text"]
    rows[5]["text"] = "\x1b[31mred\x07 " + rows[5]["text"]
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert dedup.run([f"--input={folder}/in.jsonl", f"--output={folder}/out", "--threshold=0.5"]) == 0
    return folder / "out"


def shown(capsys: pytest.CaptureFixture[str], dataset: Path, *flags: str) -> str:
    capsys.readouterr()
    assert show.run([str(dataset), *flags]) == 0
    return capsys.readouterr().out


def ids(told: str) -> list[str]:
    return [line.split()[1] for line in told.splitlines() if line.startswith("id ")]


def test_the_first_rows_are_shown(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys, dataset, "--rows=3")
    assert ids(told) == ["d0", "d1", "d2"]
    assert "quick 0 0" in told
    assert "row 0 of 18" in told


def test_random_rows_are_those_of_the_seed(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, again, other = (ids(shown(capsys, dataset, "--rows=6", f"--seed={seed}")) for seed in (1, 1, 2))
    [file] = (dataset / "documents").iterdir()
    stored = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert first == again != other
    assert len(set(first)) == 6
    assert set(first) <= set(stored)
    assert sorted(ids(shown(capsys, dataset, "--rows=99", "--seed=3"))) == sorted(stored)


def test_one_document_is_shown_by_its_id(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ids(shown(capsys, dataset, "--id=d7", "--characters=5")) == ["d7"]
    assert show.run([str(dataset), "--id=none"]) == 1
    assert "no such row" in capsys.readouterr().err


def test_what_a_terminal_would_obey_is_not_printed(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys, dataset, "--id=d5")
    assert "red" in told
    assert "\x1b" not in told
    assert "\x07" not in told


def test_each_reason_has_a_line_and_what_is_cut_is_marked() -> None:
    row = {
        "reasons": ["gopher: 3 < 50", "c4: no line stays"],
        "content_hash": bytes(range(240, 256)),
        "file": "a" * 99,
    }
    row["links"] = [str(n) for n in range(22)]
    told = [line.split("  ", 1)[1].strip() for line in show._fields(row, 80, 50)]
    assert told[:4] == [
        "gopher: 3 < 50",
        "c4: no line stays",
        bytes(range(240, 256)).hex(),
        "a" * 32 + " ...",
    ]
    assert told[4:] == [*map(str, range(20)), "... and 2 more"]


def test_names_and_paths_are_no_orders_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    config = show.Config(dataset="a")
    monkeypatch.setattr(
        show, "read_source", lambda place, *_: SourceText(url="\x1b[31m", why=f"{place.file} is gone")
    )
    row = {"id": "a", "file": "a\x1b[31m.txt", "position": 0, "survivor_file": None, "na\x1b[31mme": "\x07"}
    told = [*show._fields(row, 80, 80), *show._texts(row, {}, StepTexts("a", {}, [row]), config, 80)]
    assert "its text is not at hand: a [31m.txt is gone" in told[-1]
    assert any(line.startswith("na [31mme") for line in told)
    assert all(line.isprintable() for line in told)


def test_a_removed_document_stands_beside_the_kept_one(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = shown(capsys, dataset, "--removed=true", "--reason=near", "--characters=5000")
    assert ids(told) == ["d13"]
    assert "survivor_id        d3" in told
    lines = [line.split() for line in told.splitlines()]
    assert ["REMOVED", "~", "KEPT"] in lines
    assert ["quick", "3", "3", "quick", "3", "3"] in lines
    assert ["bush", "3", "51", "~", "tree", "3", "51"] in lines
    assert told.splitlines()[-2:] == ["- bush", "+ tree"]
    assert ids(shown(capsys, dataset, "--removed=true", "--reason=exact")) == ["d14"]


def test_rows_of_each_reason_are_shown(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys, dataset, "--removed=true", "--reason=each", "--rows=1")
    assert ids(told) == ["d14", "d13"]
    assert "no difference in words" in told


def test_reasons_are_told_where_one_is_asked_for_that_is_not_there(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show.run([str(dataset), "--removed=true", "--reason=language"]) == 1
    told = capsys.readouterr().err
    assert told.endswith("no such row with the reason 'language'. There are reasons: exact, near\n")


def test_a_dataset_of_a_job_that_removes_nothing_is_told(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(show, "REMOVALS", "no_such_table")
    assert show.run([str(dataset), "--removed=true"]) == 1
    assert "nothing was removed: the job that wrote it has no step" in capsys.readouterr().err


def test_a_removed_document_that_is_gone_is_told(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = dataset.parent / "in.jsonl"
    moved = source.rename(dataset.parent / "elsewhere.jsonl")
    try:
        assert "its text is not at hand" in shown(capsys, dataset, "--removed=true")
    finally:
        moved.rename(source)


USAGE = {
    "table": (["--table=none"], "no table 'none'; it has"),
    "reason": (["--reason=near"], "add --removed=true"),
    "rows": (["--rows=0"], "at least 1, got 0"),
}


@pytest.mark.parametrize(("flags", "message"), USAGE.values(), ids=USAGE)
def test_what_cannot_be_shown_is_refused(
    flags: list[str], message: str, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show.run([str(dataset), *flags]) == 2
    assert message in capsys.readouterr().err


def test_lines_stand_beside_those_that_they_match() -> None:
    left, right = "one\ntwo\nthree\nfour is a long line", "one\nthree\n3\nfour is a long line"
    assert list(beside(left, right, 21)) == [
        "one         one",
        "two       <",
        "three       three",
        "          > 3",
        "four is a   four is a",
        "long line   long line",
    ]


def test_differences_are_told_in_words_and_bounded() -> None:
    words = [f"word{n}" for n in range(DIFFERENCES + 3)]
    left, right = " a ".join(words), " a ".join(word.upper() for word in words)
    assert list(differences("a b c", "a c d", 40)) == ["- b", "+ d"]
    told = list(differences(left, right, 40))
    assert told[:2] == ["- word0", "+ WORD0"]
    assert told[-1] == "and 3 more differences"
    assert len(told) == 2 * DIFFERENCES + 1
    long = "a " * (DIFFERING_WORDS + 1)
    assert list(differences(long, f"{long} b", 80)) == ["no difference in words of the first 3,000 words"]
