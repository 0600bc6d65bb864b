"""`--append=true` as a user meets it: a new day of a dataset that is partitioned by date."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from beam_etl.io import manifest
from beam_etl.pipelines import clean, repartition, verify
from tests.runs import kill_at_its_first_file

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")
ROWS = 40

pytestmark = pytest.mark.slow


def flags(folder: Path, *days: str) -> list[str]:
    """Of a job that adds these days."""
    source = folder / f"{'-'.join(days)}.jsonl"
    rows = [{"id": f"{day} {n}", "date": day, "text": "some words"} for day in days for n in range(ROWS)]
    source.write_text("\n".join(map(json.dumps, rows)))
    partition = "--partition=time:date:day,hash:id:2"
    return [f"--input={source}", f"--output={folder}/out", partition, "--order=id", "--append=true"]


def counted(folder: Path, number: int | None = None) -> dict[str, int]:
    """Documents of each day in a version, by DuckDB."""
    dataset = str(folder / "out")
    found = manifest.version(dataset, number) if number else manifest.latest(dataset)
    assert found is not None
    paths = [f"{dataset}/{file.path}" for file in found.table("documents")]
    query = f"select date, count(distinct id), count(*) from read_parquet({paths}) group by 1 order by 1"
    rows = duckdb.sql(query).fetchall()
    assert all(distinct == all_ for _, distinct, all_ in rows)
    return {str(day): all_ for day, _, all_ in rows}


def facts(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {
        path: (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns)
        for path in (folder / "out").rglob("*")
        if path.is_file()
    }


def test_a_day_is_added_and_nothing_that_was_there_is_touched(tmp_path: Path) -> None:
    assert repartition.run(flags(tmp_path, *DAYS[:2])) == 0
    before = facts(tmp_path)
    kill_at_its_first_file("repartition", flags(tmp_path, DAYS[2]))
    assert counted(tmp_path) == dict.fromkeys(DAYS[:2], ROWS)
    assert repartition.run(flags(tmp_path, DAYS[2])) == 0
    assert clean.run([str(tmp_path / "out"), "--idle_hours=0"]) == 0
    after = facts(tmp_path)
    assert {path: after[path] for path in before} == before
    new = {str(path.relative_to(tmp_path / "out")) for path in after.keys() - before.keys()}
    assert {name.partition("part-")[0] for name in new if not name.endswith(".report.json")} == {
        "_manifests/000002.json",
        *(f"documents/date={DAYS[2]}/id_bucket=0000{bucket}/" for bucket in range(2)),
    }
    assert counted(tmp_path) == dict.fromkeys(DAYS, ROWS)
    assert counted(tmp_path, 1) == dict.fromkeys(DAYS[:2], ROWS)
    assert verify.run([str(tmp_path / "out")]) == 0


def started(folder: Path, day: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "beam_etl.pipelines.repartition", *flags(folder, day)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL)


@pytest.mark.long
def test_jobs_that_add_at_once_are_both_there(tmp_path: Path) -> None:
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert repartition.run(flags(folder, DAYS[0])) == 0
        assert [job.wait() for job in [started(folder, day) for day in DAYS[1:]]] == [0, 0]
        assert counted(folder) == dict.fromkeys(DAYS, ROWS)
        assert manifest.numbers(str(folder / "out")) == [1, 2, 3]


@pytest.mark.long
def test_a_job_that_is_killed_at_any_moment_has_added_all_or_nothing(tmp_path: Path) -> None:
    assert repartition.run(flags(tmp_path, DAYS[0])) == 0
    before = facts(tmp_path)
    start = time.monotonic()
    assert started(tmp_path, DAYS[1]).wait() == 0
    whole = time.monotonic() - start
    expected, killed = dict.fromkeys(DAYS[:2], ROWS), 0
    for seed in range(12):
        day = f"2026-02-{seed + 1:02d}"
        job = started(tmp_path, day)
        time.sleep(whole * (0.5 + random.Random(seed).random() / 2))  # before, it has written nothing
        job.kill()
        killed += job.wait() == -signal.SIGKILL
        if day not in counted(tmp_path):
            assert counted(tmp_path) == expected
            assert repartition.run(flags(tmp_path, day)) == 0
        expected[day] = ROWS
        assert counted(tmp_path) == expected
    assert killed > 5
    assert clean.run([str(tmp_path / "out"), "--idle_hours=0"]) == 0
    after = facts(tmp_path)
    assert {path: after[path] for path in before} == before
    assert verify.run([str(tmp_path / "out")]) == 0
    current = manifest.latest(str(tmp_path / "out"))
    assert current is not None
    assert len(list((tmp_path / "out/documents").rglob("part-*"))) == len(current.table("documents"))
