"""Whether a pattern can match in a folder, against what it matches there."""

import os
from pathlib import Path

import pytest

from beam_etl.io.files import NothingFoundError, match_files
from beam_etl.io.pattern_reach import can_match_in

PATTERNS = {
    "beside": "in/*.jsonl",
    "above, one folder": "*.jsonl",
    "above, two folders": "*/*.jsonl",
    "above, three folders": "*/*/*.jsonl",
    "at any depth": "**/*.jsonl",
    "at any depth of others": "in**.jsonl",
    "begins like it": "out**.jsonl",
    "a set": "[no]ut/counts/*.jsonl",
    "another set": "[!o]ut/counts/*.jsonl",
    "one letter": "ou?/counts/part.jsonl",
    "too many letters": "ou??/counts/*.jsonl",
    "in it": "out/counts/*.jsonl",
    "a file in it": "out/counts/part.jsonl",
    "a folder in it": "out/counts",
    "the folder above": "",
    "it": "out",
    "a folder beside": "in",
    "a link to it": "link/counts/*.jsonl",
    "hidden": "out/_staging/*.jsonl",
}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_a_pattern_that_finds_files_in_the_folder_can_match_there(pattern: str, tmp_path: Path) -> None:
    inside = ("out/part.jsonl", "out/counts/part.jsonl", "out/_staging/part.jsonl")
    for file in (*inside, "in/part.jsonl", "outer/counts/part.jsonl", "part.jsonl"):
        (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / file).touch()
    (tmp_path / "link").symlink_to("out")
    whole = str(tmp_path / pattern)
    try:
        found = [os.path.realpath(file.path) for file in match_files(whole)]
    except NothingFoundError:
        found = []
    there = any(file.startswith(f"{tmp_path}/out/") for file in found)
    assert can_match_in(whole, str(tmp_path / "out")) == there


def test_a_hidden_output_is_not_matched_from_above(tmp_path: Path) -> None:
    assert not can_match_in(f"{tmp_path}/**", f"{tmp_path}/_out")
    assert not can_match_in(str(tmp_path), f"{tmp_path}/_out")
    assert can_match_in(f"{tmp_path}/_*/**", f"{tmp_path}/_out")
