"""Arriving files: each once, wherever a reader is made anew; nothing that is still being written, nothing skipped."""

import errno
import gzip
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io.columns import Columns
from beam_etl.io.streams import seen_files
from beam_etl.io.streams.seen_files import SeenFiles, Verdict, hash_name
from beam_etl.io.streams.watch import WatchSource
from tests.io.streams.contract import (
    Driven,
    check_clocks,
    check_in_bound,
    drive,
    forget,
    ids,
    mark_of,
    table,
)

SECOND = 1_000_000
COLUMNS = Columns(needed=("id", "time", "text"))


def watch(folder: Path, suffix: str = ".jsonl", **options: object) -> WatchSource:
    return WatchSource(
        columns=COLUMNS,
        patterns=(f"{folder}/*{suffix}",),
        format="parquet" if suffix == ".parquet" else "jsonl",
        **{"min_age": 0.0, "poll": 0.01, **options},  # type: ignore[arg-type]
    )


def lines(rows: pa.Table) -> str:
    return "".join(json.dumps({**row, "time": row["time"].isoformat()}) + "\n" for row in rows.to_pylist())


def come(rows: int) -> Callable[[Driven], bool]:
    return lambda driven: len(driven.rows) >= rows


FORMS: dict[str, tuple[str, Callable[[Path, pa.Table], object]]] = {
    "parquet": (".parquet", lambda path, rows: pq.write_table(rows, path, row_group_size=100)),
    "lines": (".jsonl", lambda path, rows: path.write_text(lines(rows))),
    "packed lines": (".jsonl.gz", lambda path, rows: path.write_bytes(gzip.compress(lines(rows).encode()))),
}


@pytest.mark.parametrize("fresh", [False, True], ids=["same process", "another"])
@pytest.mark.parametrize("form", FORMS)
def test_every_row_of_every_file_comes_once(
    tmp_path: Path, form: str, fresh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beam_etl.io.splits.MAX_ROWS", 50)
    monkeypatch.setattr("beam_etl.io.streams.watch.SPLIT_BYTES", 4096)
    suffix, write = FORMS[form]
    stored = table(2000, disorder=30 * SECOND)
    for number in range(8):
        write(tmp_path / f"{number}{suffix}", stored.slice(number * 250, 250))
    parts = watch(tmp_path, suffix, splits=2, disorder=60 * SECOND).split(2)
    own = {
        part.index: 250 * sum(part.is_own(hash_name(str(path))) for path in tmp_path.iterdir())
        for part in parts
    }
    driven = [drive(part, come(own[part.index]), 0.4, seed=part.index, fresh=fresh) for part in parts]
    assert sorted(i for one in driven for i in ids(one.rows)) == sorted(stored["id"].to_pylist())
    for one in driven:
        check_in_bound(one.rows, 60 * SECOND)
        check_clocks(one.rows, 60 * SECOND)


def test_files_that_come_later_are_found_and_earlier_ones_stay_counted(tmp_path: Path) -> None:
    stored = table(300)
    waiting = [tmp_path / f"{number}.jsonl" for number in range(3)]

    def done(driven: Driven) -> bool:
        if waiting and len(driven.rows) == 100 * (3 - len(waiting)):
            path = waiting.pop(0)
            path.write_text(lines(stored.slice(len(driven.rows), 100)))
        return not waiting and len(driven.rows) >= 300

    driven = drive(watch(tmp_path), done, chance=0.3, fresh=True)
    assert ids(driven.rows) == stored["id"].to_pylist()


@pytest.mark.parametrize("ready", ["age", "marker"])
def test_a_file_that_is_still_being_written_is_not_read(
    tmp_path: Path, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, stored, now = tmp_path / "a.jsonl", table(20), time.time_ns
    rule = {"min_age": 60} if ready == "age" else {"min_age": None, "marker": ".done"}
    written = 0

    def done(driven: Driven) -> bool:
        nonlocal written
        if written < 20:
            assert driven.rows == []
            with path.open("a") as file:
                file.write(lines(stored.slice(written, 1)))
            written += 1
        elif ready == "marker":
            (tmp_path / "a.jsonl.done").touch()
        else:  # a minute passes
            monkeypatch.setattr(time, "time_ns", lambda: now() + 60 * 10**9)
        return len(driven.rows) >= 20

    driven = drive(watch(tmp_path, **rule), done, chance=0.3, fresh=True)
    assert ids(driven.rows) == stored["id"].to_pylist()
    assert driven.rejects == []


@pytest.mark.parametrize("fresh", [False, True], ids=["same process", "another"])
def test_what_a_file_gets_after_it_was_read_is_told(tmp_path: Path, fresh: bool) -> None:
    path, stored = tmp_path / "a.jsonl", table(20)
    path.write_text(lines(stored.slice(0, 10)))

    def done(driven: Driven) -> bool:
        looked.append(len(driven.rows))
        if looked[-5:] == [10] * 5 and not grown:  # it was seen to have no more
            grown.append(True)
            with path.open("a") as file:
                file.write(lines(stored.slice(10)))
            os.utime(path, ns=(0, path.stat().st_ctime_ns + 10**9))
        return bool(driven.rejects)

    grown: list[bool] = []
    looked: list[int] = []
    driven = drive(watch(tmp_path), done, chance=0.5, seed=3, fresh=fresh)
    assert ids(driven.rows) == stored["id"].to_pylist()[:10]
    assert [row["reason"].split(":")[0] for row in driven.rejects] == [
        "the file was changed after it was read"
    ]
    assert driven.rejects[0]["file"] == str(path)


def test_a_file_that_is_changed_while_it_waits_is_read_as_it_is_then(tmp_path: Path) -> None:
    stored = table(30)
    for number in range(2):
        (tmp_path / f"{number}.jsonl").write_text(lines(stored.slice(number * 10, 10)))

    def done(driven: Driven) -> bool:
        if len(driven.rows) == 10 and not grown:  # the second one waits
            grown.append(True)
            with (tmp_path / "1.jsonl").open("a") as file:
                file.write(lines(stored.slice(20, 10)))
        return len(driven.rows) >= 30

    grown: list[bool] = []
    driven = drive(replace(watch(tmp_path), poll=0.0), done)
    assert ids(driven.rows) == stored["id"].to_pylist()
    assert driven.rejects == []


def test_a_pattern_without_files_does_not_hide_another_one(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(table(5)))
    source = replace(watch(tmp_path), patterns=(f"{tmp_path}/none/*.jsonl", f"{tmp_path}/*.jsonl"))
    assert len(drive(source, come(5)).rows) == 5


def test_a_file_whose_name_is_no_text_is_told_once_and_the_rest_is_read(tmp_path: Path) -> None:
    stored = table(2)
    (tmp_path / os.fsdecode(b"caf\xe9.jsonl")).write_text(lines(stored.slice(0, 1)))
    (tmp_path / "z.jsonl").write_text(lines(stored.slice(1, 1)))
    driven = drive(watch(tmp_path), lambda driven: bool(driven.rows and driven.rejects), fresh=True)
    again = goes_on(watch(tmp_path), driven.marks[-1], lambda driven: bool(driven.rejects))
    assert ids(driven.rows + again.rows) == ["d1"]
    assert [(row["file"], row["reason"]) for row in driven.rejects + again.rejects] == [
        (f"{tmp_path}/caf\\udce9.jsonl", "the file's name is not UTF-8. Rename it.")
    ]


def test_a_listing_is_tried_again_after_an_error_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_text(lines(table(5)))
    scandir, failing = os.scandir, [OSError(errno.EIO, "input/output error")]

    def sometimes(folder: str) -> Any:
        if failing:
            raise failing.pop()
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", sometimes)
    monkeypatch.setattr("beam_etl.io.transient.FIRST_SECONDS", 0.0)
    assert len(drive(watch(tmp_path), come(5)).rows) == 5
    assert failing == []


def test_files_that_are_gone_are_not_kept_in_mind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_etl.io.streams.watch.LISTING_SHARE", 0)
    paths = [tmp_path / f"{number}.jsonl" for number in range(20)]
    for path in paths:
        path.write_text(lines(table(1)))
    cursor = watch(tmp_path, poll=0.0).open(None)
    rows = sum(piece.documents.num_rows for piece in iter(cursor.next, None) if piece.documents)
    for path in paths[:-1]:
        path.unlink()
    assert cursor.next() is None
    assert rows == 20
    assert cursor._known == {hash_name(str(paths[-1])): paths[-1].stat().st_mtime_ns}


def test_what_cannot_be_read_is_a_reject_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id":"a","time":"2024-01-01","text":"x"}\nno json\n')
    (tmp_path / "b.jsonl").write_text(
        '{"id":"b","time":"9021-01-01","text":"x"}\n{"id":"c","time":"","text":"x"}\n'
    )
    (tmp_path / "c.jsonl").write_text("")
    driven = drive(watch(tmp_path), lambda driven: len(driven.rows) + len(driven.rejects) >= 4)
    assert ids(driven.rows) == ["a"]
    assert [(Path(row["file"]).name, row["position"]) for row in driven.rejects] == [
        ("a.jsonl", 42),
        ("b.jsonl", 0),
        ("b.jsonl", 42),
    ]


def test_a_checkpoint_does_not_grow_with_the_files_that_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_files, "REMEMBERED", 10)
    monkeypatch.setattr(seen_files, "GRACE_NANOSECONDS", 0)
    for number in range(80):
        (tmp_path / f"{number:03}.jsonl").write_text(lines(table(1)))
    driven = drive(watch(tmp_path), come(80), chance=0.2, fresh=True)
    assert len(driven.rows) == 80
    assert all(len(mark_of(mark).position["seen"]["files"]) <= 10 for mark in driven.marks)


def test_memory_of_many_files_tells_new_ones_from_those_that_were_read() -> None:
    day, hour = 86_400 * 10**9, 3600 * 10**9
    seen = SeenFiles()
    names = [hash_name(f"/in/{number}") for number in range(20_000)]
    for number, name in enumerate(names):
        now = number * hour // 100
        seen.add(name, now, now)
        if number % 5000 == 0:
            seen = SeenFiles(json.loads(json.dumps(seen.to_json())))
    assert len(json.dumps(seen.to_json())) < 130_000
    now = len(names) * hour // 100
    assert {seen.judge(name, number * hour // 100, 0) for number, name in enumerate(names)} == {Verdict.DONE}
    assert seen.judge(names[0], now, 0) is Verdict.UNSURE  # got other rights
    fresh = [hash_name(f"/other/{number}") for number in range(1000)]
    assert {seen.judge(name, now, now - day // 2) for name in fresh[:500]} <= {Verdict.NEW, Verdict.UNSURE}
    assert [seen.judge(name, now, 0) for name in fresh].count(Verdict.NEW) > 980  # moved here, and old
    assert {seen.judge(name, now, now) for name in fresh} == {Verdict.NEW}


def test_a_file_that_was_read_long_ago_and_is_touched_now_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_files, "REMEMBERED", 2)
    monkeypatch.setattr(seen_files, "GRACE_NANOSECONDS", 0)
    for number in range(10):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(lines(table(1)))
        os.utime(path, ns=(0, 10**18 + number))
    source = watch(tmp_path)
    mark = drive(source, come(10)).marks[-1]
    (tmp_path / "0.jsonl").chmod(0o600)
    reader = source.create_reader(None, source.get_checkpoint_mark_coder().decode(mark))
    driven = Driven()
    for _ in range(3):
        if reader.advance():
            driven.take(reader)
    forget()
    assert driven.rows == []
    assert [(Path(row["file"]).name, row["reason"][:22]) for row in driven.rejects] == [
        ("0.jsonl", "the file came here now")
    ]


def goes_on(source: WatchSource, mark: bytes, done: Callable[[Driven], bool]) -> Driven:
    """What another process reads from a mark on, made anew from a mark of its own after each piece."""
    coder, driven = source.get_checkpoint_mark_coder(), Driven()
    for _ in range(200):
        reader = source.create_reader(None, coder.decode(mark))
        if reader.advance():
            driven.take(reader)
        mark = coder.encode(reader.get_checkpoint_mark())
        reader.close()
        forget()
        driven.marks.append(mark)
        if done(driven):
            break
    return driven


def test_files_of_a_folder_that_is_moved_here_are_read_though_they_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_files, "REMEMBERED", 2)
    monkeypatch.setattr(seen_files, "GRACE_NANOSECONDS", 0)
    stored = table(13)
    for folder, rows in (("away", range(10, 13)), ("in/new", range(10))):
        (tmp_path / folder).mkdir(parents=True)
        for row in rows:
            (tmp_path / folder / f"{row}.jsonl").write_text(lines(stored.slice(row, 1)))
        time.sleep(0.02)  # stamps are as fine as the kernel's clock
    source = watch(tmp_path / "in" / "*")
    mark = drive(source, come(10)).marks[-1]
    (tmp_path / "away").rename(tmp_path / "in" / "moved")
    driven = goes_on(source, mark, come(3))
    assert ids(driven.rows) == ["d10", "d11", "d12"]
    assert goes_on(source, driven.marks[-1], come(1)).rows == []
    assert driven.rejects == []


def test_a_notice_does_not_hide_the_files_that_wait_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_files, "REMEMBERED_NANOSECONDS", 0)
    monkeypatch.setattr(seen_files, "GRACE_NANOSECONDS", 0)
    stored = table(6)
    for row in range(6):
        (tmp_path / f"{row}.jsonl").write_text(lines(stored.slice(row, 1)))
    source = watch(tmp_path)
    mark = drive(source, come(2)).marks[-1]
    time.sleep(0.02)
    with (tmp_path / "0.jsonl").open("a") as file:
        file.write("{}\n")
    driven = goes_on(source, mark, lambda driven: len(driven.rows) == 4)
    assert ids(driven.rows) == ["d2", "d3", "d4", "d5"]
    assert [Path(row["file"]).name for row in driven.rejects] == ["0.jsonl"]
    assert mark_of(driven.marks[0]).position["seen"]["until"] == mark_of(mark).position["seen"]["until"]


def test_the_watermark_waits_for_a_folder_only_as_long_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    source = replace(watch(tmp_path), idle_after=60 * SECOND, disorder=10 * SECOND)
    reader, coder = source.create_reader(None, None), source.get_checkpoint_mark_coder()
    chosen = random.Random(1)
    for _ in range(100):
        now[0] += 1
        assert not reader.advance()
        assert (reader.get_watermark().micros > 0) == (now[0] > 1_800_000_060)
        if chosen.random() < 0.5:
            mark = coder.encode(reader.get_checkpoint_mark())
            reader.close()
            forget()
            reader = source.create_reader(None, coder.decode(mark))
    assert reader.get_watermark().micros == int((now[0] - 10) * SECOND)
