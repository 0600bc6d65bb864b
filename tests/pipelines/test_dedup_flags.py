"""Flags of deduplication that can't be meant: told before the run, with exit code 2, and nothing is written."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest
from beam_etl.pipelines.dedup import run

TEXTS = [" ".join(f"word{family}x{place}" for place in range(30)) for family in range(6)]
ROWS = [
    {
        "id": place,
        "text": TEXTS[place // 2],
        "time": f"2026-01-{place + 1:02d}T00:00:00Z",
        "nested": {"n": place},
    }
    for place in range(12)
]


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"--input={path}"


def published(folder: Path, table: str) -> list[dict[str, object]]:
    found = manifest.latest(str(folder))
    assert found is not None
    return [row for file in found.table(table) for row in pq.read_table(folder / file.path).to_pylist()]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        pytest.param("--key=id", "--key needs --method=exact", id="a key of near"),
        pytest.param("--normalised=true", "--normalised needs --method=exact", id="normalised, of near"),
        pytest.param(
            "--method=exact --threshold=0.8", "--threshold needs --method=near", id="verified exact"
        ),
        pytest.param(
            "--method=exact --oversized=fail", "--oversized needs --method=near", id="guarded exact"
        ),
        pytest.param("--method=exact --against=A", "--against needs --method=near", id="exact after others"),
        pytest.param("--bands=0", "got 0 bands of 8", id="no bands"),
        pytest.param("--band_rows=0", "got 16 bands of 0", id="no rows"),
        pytest.param("--component_rounds=0", "--component_rounds must be at least 1", id="no rounds"),
        pytest.param("--components_memory=-1", "--components_memory and", id="memory below nothing"),
        pytest.param(
            "--within=nested", "--within=nested: no stable hash for type struct", id="within a struct"
        ),
        pytest.param("--method=exact --key=nested", "--key=nested: no stable hash", id="a struct as key"),
        pytest.param(
            "--keep=max:id", "--keep=max:id: column 'id' is string", id="whole numbers, read as ids"
        ),
        pytest.param("--write_signatures=OUT", "a folder of its own", id="both in one folder"),
        pytest.param(
            "--write_signatures=OUT/", "a folder of its own", id="the same folder, written otherwise"
        ),
        pytest.param("--write_signatures=OUT/kept", "not in the other", id="signatures in the documents"),
        pytest.param("--against=OUT --overwrite=true", "not in the other", id="over the earlier signatures"),
        pytest.param(
            "--against=A --write_signatures=A/", "not in the other", id="signatures over earlier ones"
        ),
        pytest.param("--against=A,A", "/A and --against=", id="one earlier run twice"),
    ],
)
def test_flags_that_cannot_be_meant(
    flags: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([write(tmp_path / "in.jsonl", ROWS), "--output=OUT", *flags.split()]) == 2
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize(
    ("keep", "stays"),
    [("newest", {1, 3, 5, 7, 9, 11}), ("oldest", {0, 2, 4, 6, 8, 10}), ("max:time", {1, 3, 5, 7, 9, 11})],
)
def test_times_that_are_stored_as_text_have_an_order(keep: str, stays: set[int], tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert run([write(tmp_path / "in.jsonl", ROWS), f"--output={output}", f"--keep={keep}"]) == 0
    assert {int(str(row["survivor_id"])) for row in published(output, "removals")} == stays


@pytest.mark.parametrize(
    "name", ["address", "node", "cluster", "cluster_size", "band", "survivor", "similarity"]
)
@pytest.mark.parametrize(
    ("flags", "stays"),
    [
        ("--method=exact --key=NAME --keep=max:NAME", {0, 1, 2}),
        ("--within=NAME", {0, 1, 2, 3, 4, 5}),
        ("--keep=max:NAME", {2}),
    ],
    ids=["key", "within", "keep"],
)
def test_columns_that_have_the_names_of_ours(name: str, flags: str, stays: set[int], tmp_path: Path) -> None:
    """Two texts of three documents each, with other values of the column."""
    rows: list[dict[str, object]] = [{"id": place, "text": TEXTS[0], name: place % 3} for place in range(3)]
    if "--keep" not in flags or "--key" in flags:
        rows += [{"id": place, "text": TEXTS[1], name: place % 3} for place in range(3, 6)]
    output = tmp_path / "out"
    argv = [write(tmp_path / "in.jsonl", rows), f"--output={output}", *flags.replace("NAME", name).split()]
    assert run(argv) == 0
    removed = {int(str(row["id"])) for row in published(output, "removals")}
    assert {row["id"] for row in rows} - removed == stays
