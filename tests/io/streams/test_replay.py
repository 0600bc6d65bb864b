"""Stored documents as a stream: each once, in the order of their times up to the disorder that was asked for."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.io.formats.base import FileEntry
from beam_etl.io.read import pack_files
from beam_etl.io.streams import replay
from beam_etl.io.streams.replay import ReplaySource
from beam_etl.io.streams.source import Separate
from tests.io.streams.contract import Driven, check_clocks, check_in_bound, drive, ids, micros, table
from tests.streams import play

SECOND = 1_000_000
ROWS = 5000


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    return table(ROWS, disorder=900 * SECOND)


@pytest.fixture(scope="module")
def source(stored: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> ReplaySource:
    folder = tmp_path_factory.mktemp("replayed")
    files = []
    for number in range(2):
        path = folder / f"{number}.parquet"
        pq.write_table(stored.slice(number * ROWS // 2, ROWS // 2), path, row_group_size=500)
        files.append(FileEntry(number, str(path), path.stat().st_size, path.stat().st_mtime_ns))
    columns = Columns(needed=("id", "time", "text"))
    return ReplaySource(columns=columns, files=pack_files(files), format="parquet", name="replay:x")


def end(driven: Driven) -> bool:
    return False


@pytest.mark.parametrize(("splits", "seed"), [(1, 0), (3, 1), (4, 2)], ids=str)
def test_every_document_comes_once_wherever_a_reader_is_made_anew(
    source: ReplaySource, stored: pa.Table, splits: int, seed: int
) -> None:
    parts = replace(source, splits=splits, late_by=600 * SECOND, disorder=600 * SECOND).split(splits)
    driven = [drive(part, end, chance=0.5, seed=seed, fresh=seed % 2 == 0) for part in parts]
    assert sorted(i for one in driven for i in ids(one.rows)) == sorted(stored["id"].to_pylist())
    for one in driven:
        check_clocks(one.rows, 600 * SECOND)
        check_in_bound(one.rows, 600 * SECOND)


@pytest.mark.parametrize("late_by", [0, 60 * SECOND, 3600 * SECOND], ids=str)
def test_disorder_is_at_most_what_was_asked_for_and_about_it(source: ReplaySource, late_by: int) -> None:
    rows = drive(replace(source, late_by=late_by), end).rows
    times = [micros(row[schema.TIME]) for row in rows]
    behind = [max(times[: place + 1]) - time for place, time in enumerate(times)]
    assert max(behind) <= late_by
    assert max(behind) >= late_by * 0.8


def test_the_seed_alone_decides_the_order(source: ReplaySource) -> None:
    late = replace(source, late_by=600 * SECOND)
    first, again = (ids(drive(late, end).rows) for _ in range(2))
    assert first == again
    assert ids(drive(replace(late, seed=1), end).rows) != first


def test_in_process_it_has_the_same_rows_clocks_and_watermarks(source: ReplaySource) -> None:
    late = replace(source, splits=2, late_by=600 * SECOND, disorder=60 * SECOND)
    read = [row for part in late.split(2) for row in drive(part, end).rows]
    played = play(replay.play(late), lambda elements: {"documents": (elements | Separate()).documents})
    kept = played["documents"]
    for row in read:
        del row["held"]
    key = lambda row: row["id"]  # noqa: E731
    assert sorted(kept, key=key) == sorted(read, key=key)


def test_documents_without_a_time_and_files_that_cannot_be_read_are_rejects(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"id":"a","time":"2026-01-01","text":"x"}\n{"id":"b","time":null,"text":"y"}\n'
        'no json\n{"id":"c","time":"yesterday","text":"z"}\n{"id":"d","time":"0001-01-01","text":"z"}\n'
    )
    path = tmp_path / "a.jsonl"
    files = [FileEntry(0, str(path), path.stat().st_size, path.stat().st_mtime_ns)]
    stored = pa.schema([("id", pa.string()), ("time", pa.string()), ("text", pa.string())])
    source = ReplaySource(
        columns=Columns(needed=("id", "time", "text")),
        stored=stored,
        files=pack_files(files),
        format="jsonl",
        name="replay:x",
    )
    driven = drive(source, end)
    assert ids(driven.rows) == ["a"]
    assert sorted(row["position"] for row in driven.rejects) == [42, 76, 84, 125]
    assert {row["file"] for row in driven.rejects} == {str(path)}


def test_speed_holds_documents_back_until_their_time(
    source: ReplaySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    reader = replace(source, speed=100.0).create_reader(None, None)
    seen = []
    for _ in range(4):
        rows = 0
        while reader.advance():
            rows += reader.get_current().num_rows
        seen.append(rows)
        now[0] += 10.0
    assert seen[0] >= 1
    assert all(500 <= rows <= 1500 for rows in seen[1:]), seen
