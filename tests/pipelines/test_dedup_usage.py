"""What the job dedup can't run: told before it starts, with what to write instead."""

import re
from pathlib import Path

import pytest

from beam_etl.pipelines.dedup import run
from tests.dedup_runs import ROWS, write

LOOSE_FLAGS = ("--bands=20", "--band_rows=4")

USAGE = {
    "a threshold above 1": (["--threshold=2"], "threshold.*2"),
    "no threshold": (["--threshold=0", *LOOSE_FLAGS], "threshold is a similarity above 0"),
    "a rule without its column": (["--keep=max:"], "keep is one of first, longest.*'max:'"),
    "no rule": (["--keep=best"], "keep is one of first, longest.*'best'"),
    "no bands": (["--bands=0"], "0 bands"),
    "no rows": (["--band_rows=0"], "of 0"),
    "no bands beside a threshold": (["--bands=0", "--threshold=0.8"], "0 bands"),
    "a key that is absent": (["--method=exact", "--key=nocolumn"], "no column 'nocolumn'"),
    "a column within that is absent": (["--within=nocolumn"], "no column 'nocolumn'"),
    "a column to keep by that is absent": (["--keep=max:nocolumn"], "no column 'nocolumn'"),
    "a text to keep by": (["--keep=max:url"], "'url' is (large_)?string: documents are kept by numbers"),
    "no time": (["--keep=newest", "--time_column=nocolumn"], "nocolumn"),
    "a seed below 0": (["--seed=-1"], "seed"),
    "a seed beyond 32 bits": ([f"--seed={2**32}"], "seed"),
    "no shingle": (["--ngram=0"], "ngram is 1 to 64 words, got 0"),
    "no rounds": (["--component_rounds=0"], "rounds"),
    "no memory": (["--components_memory=0"], "memory"),
    "no key": (["--method=exact", "--key="], "key has at least one column"),
    "a key twice": (["--method=exact", "--key=url,url"], "each once"),
    "a key that can't be hashed": (["--method=exact", "--key=tags"], "tags.*list"),
    "a column within that can't be hashed": (["--within=tags"], "tags.*list"),
}


@pytest.mark.parametrize(("flags", "message"), USAGE.values(), ids=USAGE)
def test_what_cannot_run_is_told_before_the_job_starts(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", {"a.jsonl": [{**row, "tags": ["a"]} for row in ROWS[:10]]})
    assert run([f"--input={source}", f"--output={tmp_path}/out", *flags]) == 2
    errors = capsys.readouterr().err
    assert re.search(message, errors.replace("\n", " ")), errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()


def test_an_input_without_time_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in", {"a.jsonl": [{"id": "a", "text": "x"}]})
    assert run([f"--input={source}", f"--output={tmp_path}/out", "--keep=newest"]) == 2
    assert "no column 'time'" in capsys.readouterr().err
