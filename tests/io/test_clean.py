"""What `clean` removes of a dataset, what it tells of it, and what it leaves alone."""

import os
import time
from pathlib import Path

import pytest

from beam_etl.io import manifest, staging
from beam_etl.io.commit import CONFLICT, PUBLISHED, settle
from beam_etl.pipelines import clean
from tests.appends import BASE, Additions, append_to, rows
from tests.attempts import OTHER, RUN, rows_of, seen, stage

DEAD = "f" * 12
DAY = 24 * 3600


def age(folder: Path, seconds: float) -> None:
    """Makes all of a folder older."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.time() - seconds,) * 2)


def put(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def everything(dataset: Path) -> dict[str, str]:
    return {str(path.relative_to(dataset)): path.read_text() for path in dataset.rglob("*") if path.is_file()}


@pytest.fixture
def world(tmp_path: Path) -> Additions:
    """Three versions, a run that was killed while it moved its files, a list without a manifest, and probes."""
    world = Additions(tmp_path / "dataset")
    world.attempt(RUN)
    world.attempt(OTHER)
    made = stage(world.dataset, DEAD, 2, ((1, BASE),))
    first = made.files[0].path
    (world.dataset / "_staging" / DEAD / first).rename(world.dataset / first)
    put(world.dataset / "documents/day=1" / Path(first).name, "in a partition\n")
    put(world.dataset / f"_manifests/000004-{DEAD}_0123456789abcdef.files.parquet", "PAR1")
    put(world.dataset / "_manifests/000004.json.0123456789ab.tmp", "{")
    put(world.dataset / "_beam_etl_0123456789ab", "")
    return world


def test_what_a_run_that_died_left_goes_and_the_versions_stay(
    world: Additions, capsys: pytest.CaptureFixture[str]
) -> None:
    age(world.dataset, 2 * DAY)
    before = everything(world.dataset)
    assert clean.run([str(world.dataset), "--plan"]) == 0
    planned = capsys.readouterr().out
    assert everything(world.dataset) == before
    assert f"run {DEAD}: 6 files that weren't published" in planned
    assert clean.run([str(world.dataset)]) == 0
    assert capsys.readouterr().out == planned.replace("can be removed", "removed")
    after = everything(world.dataset)
    gone = before.keys() - after.keys()
    assert after == {path: before[path] for path in after}
    size = sum(len(before[path].encode()) for path in gone)
    assert planned.splitlines()[-1] == f"{world.dataset}: {size} B can be removed"
    assert manifest.numbers(str(world.dataset)) == [1, 2, 3]
    assert {path.name for path in world.dataset.iterdir()} == {"_manifests", "documents", "removals"}
    assert seen(world.dataset) == sorted(rows_of(BASE) + rows_of(RUN) + rows_of(OTHER))


def test_what_a_run_needs_of_another_folder_stays_as_long_as_the_run(tmp_path: Path) -> None:
    """What curate put down may be read again long after it was written."""
    world = Additions(tmp_path / "dataset")
    world.attempt(OTHER)
    put_down = world.dataset / "_staging" / DEAD
    put(put_down / "documents.arrows", "ARROW")
    staging.mark_owner(str(put_down), RUN)
    age(put_down, 2 * DAY)
    stage(world.dataset, RUN, 1, ((1, BASE),))
    assert clean.run([str(world.dataset)]) == 0
    assert (put_down / "documents.arrows").exists()
    age(world.dataset, 2 * DAY)
    assert clean.run([str(world.dataset)]) == 0
    assert not put_down.exists()


def test_what_a_run_needs_stays_while_it_writes_into_another_folder(tmp_path: Path) -> None:
    """As curate does while it cuts lines: nothing else of the run is new for a day."""
    world = Additions(tmp_path / "dataset")
    world.attempt(OTHER)
    first, second = (world.dataset / "_staging" / (name * 6) for name in ("e1", "e2"))
    for folder in (first, second):
        put(folder / "documents.arrows", "ARROW")
        staging.mark_owner(str(folder), RUN)
    age(world.dataset, 2 * DAY)
    put(second / "edited.arrows", "ARROW")
    assert clean.run([str(world.dataset)]) == 0
    assert (first / "documents.arrows").exists()
    age(world.dataset, 2 * DAY)
    assert clean.run([str(world.dataset)]) == 0
    assert not first.exists()
    assert not second.exists()


def test_a_run_that_may_go_on_is_left_alone_and_can_publish(
    world: Additions, capsys: pytest.CaptureFixture[str]
) -> None:
    made = stage(world.dataset, "a1" * 6, 2, ((1, BASE),))
    assert clean.run([str(world.dataset)]) == 0
    said = capsys.readouterr().out
    assert said.count("left alone") == 5
    assert f"{world.dataset}: 0 B removed" in said
    assert settle(str(world.dataset), made, []) == PUBLISHED


@pytest.mark.parametrize("listed", [0, 10_000], ids=["lists beside", "lists inside"])
@pytest.mark.parametrize("keep", [1, 2, 3, 9])
def test_versions_beyond_those_that_stay_go_with_files_that_only_they_have(
    keep: int,
    listed: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(manifest, "LISTED_FILES", listed)
    dataset = tmp_path / "dataset"
    first = stage(dataset, BASE, 1)
    assert settle(str(dataset), first, []) == PUBLISHED
    second = manifest.Manifest(**{**vars(stage(dataset, RUN, 2)), "keep_versions": 9})
    assert settle(str(dataset), second, []) == PUBLISHED
    assert append_to(dataset, OTHER, manifest.latest(str(dataset))) == PUBLISHED
    expected = [rows_of(BASE), rows_of(RUN), sorted(rows_of(RUN) + rows_of(OTHER))]
    assert clean.run([str(dataset), f"--keep_versions={keep}"]) == 0
    left = manifest.numbers(str(dataset))
    assert left == [1, 2, 3][-keep:]
    assert [rows(dataset, manifest.version(str(dataset), number)) for number in left] == expected[-keep:]
    assert seen(dataset) == sorted({row for version in expected[-keep:] for row in version})
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("version")]
    own = {"version 1 of": "5 files", "version 2 of": "0 files"}
    assert [line[:12] for line in sorted(told)] == sorted(own)[: 3 - keep if keep < 3 else 0]
    assert all(own[line[:12]] in line for line in told)
    assert len(list((dataset / "_manifests").iterdir())) == len(left) * (1 if listed else 2)
    assert append_to(dataset, "a1" * 6, manifest.latest(str(dataset))) == PUBLISHED


def test_what_is_kept_for_another_try_is_named_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = Additions(tmp_path)
    made = stage(tmp_path, RUN, 2, ((1, BASE),))
    staging.mark_appending(str(tmp_path), RUN)
    world.overwrite()
    assert settle(str(tmp_path), made, []) == CONFLICT
    assert clean.run([str(tmp_path)]) == 0
    assert (
        f"left alone: run {RUN}: 5 files that weren't published, kept for another try"
        in capsys.readouterr().out
    )
    assert clean.run([str(tmp_path), "--idle_hours=0"]) == 0
    assert not (tmp_path / "_staging").exists()


USAGE = {
    "no dataset": ([], "no dataset"),
    "no version": (["--keep_versions=0"], "--keep_versions must be at least 1"),
    "less than no time": (["--idle_hours=-1"], "--idle_hours must be at least 0"),
    "an unknown flag": (["--force"], "unknown argument --force"),
}


@pytest.mark.parametrize(("flags", "message"), USAGE.values(), ids=USAGE)
def test_what_cannot_be_cleaned_is_a_usage_error(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clean.run([str(tmp_path), *flags]) == 2
    assert message in capsys.readouterr().err
