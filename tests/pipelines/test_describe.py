"""What `describe` tells of a dataset."""

import json
from pathlib import Path

import pytest

from beam_etl.observe.bars import bar, size_bars
from beam_etl.pipelines import describe, repartition


def test_a_dataset_is_told_with_its_partitions_and_versions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"lang": ["de", "en"][number % 3 == 0], "text": f"text {number}"} for number in range(30)]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    flags = [
        f"--input={tmp_path}/in.jsonl",
        f"--output={tmp_path}/out",
        "--partition=value:lang",
        "--order=text",
    ]
    assert repartition.run(flags) == 0
    assert repartition.run([*flags, "--append=true"]) == 0
    capsys.readouterr()
    assert describe.run([f"{tmp_path}/out"]) == 0
    told = capsys.readouterr().out
    for line in (
        "version 2, 60 rows",
        "documents: 60 rows",
        "columns  lang string, text string",
        "partitioned by value of lang, in folders lang=...",
        "rows of each file ascend by text",
        "2 partitions with rows, the largest ",
        "lang=de  40 rows",
        "lang=en  20 rows",
        "written by repartition, 2 files",
        "added by repartition, 4 files",
    ):
        assert line in told
    assert describe.run([f"{tmp_path}/out", "--files=true"]) == 0
    assert {Path(path) for path in capsys.readouterr().out.split()} == set(
        (tmp_path / "out").rglob("*.parquet")
    )


def test_a_folder_that_is_no_dataset_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.run([str(tmp_path)]) == 2
    assert "no dataset" in capsys.readouterr().err


def test_bars_are_as_long_as_the_sizes_and_many_are_shown_together() -> None:
    assert [bar(size, 8, 2) for size in (0, 1, 4, 8)] == ["", "▎", "█", "██"]
    lines = size_bars([(f"bucket={number}", 10, 1000) for number in range(100)])
    assert len(lines) == 20
    assert lines[0].startswith("bucket=0 .. bucket=4 (5)")
    assert "50 rows" in lines[0]
