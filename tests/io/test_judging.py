"""How much of an input may be rejected, and what a job that is ended by it says."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from beam_etl.io.judging import JudgeRejects
from beam_etl.pipelines import token_count
from tests.stored import documents, json_lines, write

GOOD = documents(100)
BAD = b'{"text": null, "id": "bad", "filler": "' + b"x" * 2000 + b'"}\n'


@dataclass(frozen=True)
class Case:
    """One bad line of about 2 KB among good ones, and what becomes of the job."""

    good_bytes: int
    flags: tuple[str, ...]
    code: int
    name: str = "a.jsonl"


CASES = {
    "20 times as much": Case(40_000, (), 3),
    "200 times as much": Case(400_000, (), 0),
    "20 times as much, compressed": Case(40_000, (), 3, "a.jsonl.gz"),
    "a larger fraction": Case(40_000, ("--max_reject_fraction=0.1",), 0),
    "a smaller one": Case(400_000, ("--max_reject_fraction=0.001",), 3),
    "none": Case(400_000, ("--max_reject_fraction=0",), 3),
    "strict": Case(400_000, ("--strict=true",), 3),
}


def lines(good_bytes: int) -> bytes:
    one = json_lines(GOOD)
    return one * (good_bytes // len(one))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_too_many_rejects_end_a_job_with_a_code_of_their_own(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = BAD + lines(case.good_bytes)
    path = write(tmp_path, f"in/{case.name}", gzip.compress(content) if case.name.endswith("gz") else content)
    output = tmp_path / "out"
    assert token_count.run([f"--input={tmp_path}/in", f"--output={output}", *case.flags]) == case.code
    told = capsys.readouterr().err
    if case.code == 0:
        assert pq.read_table(output / "rejects").num_rows == 1
        return
    assert "token_count: too many rejects: " in told
    assert f"{path}: 1 (null text)" in told
    assert "--strict" in told or "--max_reject_fraction=" in told
    assert not list(output.rglob("part-*"))
    assert not (output / "_manifests").exists()


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_fraction_is_a_fraction(
    fraction: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        JudgeRejects(input_bytes=1, max_fraction=fraction)
    flags = [f"--input={tmp_path}", f"--output={tmp_path}/out", f"--max_reject_fraction={fraction}"]
    assert token_count.run(flags) == 2
    assert "0.05 is 5%" in capsys.readouterr().err
