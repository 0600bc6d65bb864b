"""The job dedup with --window: beside the plain-Python oracle, and beside runs of the job, a window each."""

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_etl import schema
from beam_etl.kernels.candidates import NearRule
from beam_etl.pipelines.dedup import run
from tests.duplicates import Document
from tests.streams import MINUTE, micros
from tests.transforms.test_dedup_windows import SIZE, made, number
from tests.windowed_duplicates import Decided, decide_windows, near

NEAR = NearRule()


def written(path: Path, rows: Sequence[Document]) -> Path:
    """Documents as JSON lines, their times as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({**row, "time": datetime.fromtimestamp(row["time"] / 1e6, timezone.utc).isoformat()})
        for row in rows
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def table(output: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(output / name).to_pylist() if (output / name).is_dir() else []


def decided(output: Path) -> Decided:
    kept, removals = table(output, "documents"), table(output, "removals")
    removed = {row["id"]: (micros(row[schema.WINDOW_END]), row["survivor_id"]) for row in removals}
    return Decided({row["id"]: micros(row[schema.WINDOW_END]) for row in kept}, removed)


def families_of(windows: int) -> list[Document]:
    rows = made(6, windows=windows, seed=3)
    for row in rows:
        row["text"] = f"{row['text']} {row['text']}"
    return rows


@pytest.mark.slow
def test_input_that_ends_gives_the_rows_of_a_stream(tmp_path: Path) -> None:
    rows = families_of(6)
    given = written(tmp_path / "in/a.jsonl", rows[::2]).parent
    written(given / "b.jsonl", rows[1::2])
    flags = ["--window=fixed:10m", "--remember=25m", "--remember_partitions=4"]
    assert run([f"--input={given}", f"--output={tmp_path}/out", *flags]) == 0
    expected = decide_windows(rows, near(NEAR), size=SIZE, remember=25 * MINUTE, number=number)
    assert expected.removed
    assert decided(tmp_path / "out") == expected
    texts = {row["id"]: (row["text"], row["url"]) for row in rows}
    for row in table(tmp_path / "out", "documents"):
        assert (row["text"], row["url"]) == texts[row["id"]]
        assert micros(row[schema.WINDOW_END]) - micros(row[schema.WINDOW_START]) == SIZE
        assert schema.ADDRESS not in row


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, pytest.param(5, marks=pytest.mark.long)])
def test_windows_are_runs_one_after_another(count: int, tmp_path: Path) -> None:
    """Each window a run with --against those before it, within the time that they are remembered."""
    rows = [row for row in families_of(count) if row["text"].strip()]
    windows = sorted({row["time"] // SIZE for row in rows})
    kept: dict[str, int] = {}
    for window in windows:
        own = sorted(
            (row for row in rows if row["time"] // SIZE == window), key=lambda row: (row["time"], row["id"])
        )
        given = written(tmp_path / f"in-{window}.jsonl", own)
        seen = [f"{tmp_path}/signatures-{other}" for other in windows if window - 3 < other < window]
        flags = [f"--write_signatures={tmp_path}/signatures-{window}"]
        flags += [f"--against={','.join(seen)}"] if seen else []
        assert run([f"--input={given}", f"--output={tmp_path}/out-{window}", *flags]) == 0
        documents = [path.read_text() for path in (tmp_path / f"out-{window}/documents").iterdir()]
        kept |= {json.loads(line)["id"]: (window + 1) * SIZE for line in "".join(documents).splitlines()}
    found = decide_windows(rows, near(NEAR), size=SIZE, remember=15 * MINUTE, number=number)
    assert found.kept == kept
    assert len(found.removed) == len(rows) - len(kept) > 0


@pytest.mark.slow
def test_a_stream_starts_from_what_earlier_runs_kept(tmp_path: Path) -> None:
    words = [" ".join(f"{letter}{number}" for number in range(60)) for letter in "abc"]
    before = [{"id": "before", "time": 0, "text": words[0]}]
    after = [
        {"id": "as before", "time": 900 * MINUTE, "text": words[0]},
        {"id": "first", "time": MINUTE, "text": words[1]},
        {"id": "as first", "time": 12 * MINUTE, "text": words[1]},
        {"id": "other", "time": 3 * MINUTE, "text": words[2]},
    ]
    one, two = written(tmp_path / "one.jsonl", before), written(tmp_path / "two.jsonl", after)
    signatures = f"{tmp_path}/signatures"
    assert run([f"--input={one}", f"--output={tmp_path}/one", f"--write_signatures={signatures}"]) == 0
    flags = ["--window=fixed:10m", "--remember=1h", f"--against={signatures}", "--remember_partitions=4"]
    assert run([f"--input={two}", f"--output={tmp_path}/two", *flags]) == 0
    removals = {row["id"]: row for row in table(tmp_path / "two", "removals")}
    assert {name: row["survivor_id"] for name, row in removals.items()} == {
        "as before": "before",
        "as first": "first",
    }
    assert removals["as before"]["survivor_dataset"] == signatures
    assert removals["as before"]["survivor_file"] == str(one)
    assert removals["as first"]["survivor_dataset"] is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--remember=1d"], "--remember needs --window"),
        (["--window=sliding:1h:10m"], "a document is decided once"),
        (["--window=fixed:10m", "--remember=soon"], "--remember=soon"),
        (["--window=fixed:10m", "--remember=0s"], "--remember is a time above 0"),
        (["--window=fixed:10m", "--remember_partitions=60"], "is a power of two, got 60"),
        (["--window=fixed:10m", "--early_firing=1m"], "--early_firing can't be combined with --window"),
        (["--window=fixed:10m", "--oversized=split"], "--oversized=split can't be combined with --window"),
        (
            ["--window=fixed:10m", "--write_signatures=s"],
            "--write_signatures can't be combined with --window",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_that_say_nothing_together(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--input=in", "--output=out", *flags]) == 2
    assert message in capsys.readouterr().err
