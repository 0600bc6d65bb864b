"""A stream that goes on from a savepoint: what it names stays; one that has failed publishes again, or is refused."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from beam_etl.io import manifest, panes, staging
from beam_etl.io.manifest import DatasetError
from beam_etl.io.pane_expiry import KEPT_SECONDS, remove_expired
from beam_etl.io.pane_restart import restart
from beam_etl.io.panes import FencedError, PanePublisher
from tests.io.test_panes import EARLY, ON_TIME, STREAM, Fired, commit_of, registered, rows

AGAIN = "a6a6a6a6a6a6"


def savepoint_of(dataset: Path, after: float) -> str:
    """A savepoint so many seconds after the latest version."""
    folder = Path(staging.staging_folder(str(dataset), STREAM), "savepoints", "savepoint-1")
    folder.mkdir(parents=True)
    (folder / "_metadata").touch()
    latest = manifest.manifest_path(str(dataset), manifest.numbers(str(dataset))[-1])
    taken = os.stat(latest).st_mtime + after
    os.utime(folder / "_metadata", (taken, taken))
    return f"file:{folder}"


def failed(dataset: Path) -> PanePublisher:
    publisher = PanePublisher(str(registered(dataset)), STREAM)
    publisher.publish(commit_of(dataset, EARLY))
    publisher.publish(replace(commit_of(dataset, ON_TIME), failures=("too large",)))
    return publisher


def test_a_stream_that_failed_after_its_savepoint_publishes_again(tmp_path: Path) -> None:
    before = failed(tmp_path)
    restart(str(tmp_path), STREAM, savepoint_of(tmp_path, after=-1), {"job": "again"}, AGAIN)
    assert panes.failures_of(str(tmp_path), STREAM) == []
    with pytest.raises(FencedError):
        before.publish(commit_of(tmp_path, ON_TIME))
    PanePublisher(str(tmp_path), STREAM).publish(commit_of(tmp_path, ON_TIME))
    assert rows(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("where", ["here", "elsewhere", "nowhere"])
def test_a_savepoint_that_may_be_of_after_the_failure_is_refused(where: str, tmp_path: Path) -> None:
    failed(tmp_path)
    here = savepoint_of(tmp_path, after=1)
    savepoint = {"here": here, "elsewhere": "s3://bucket/savepoint-1", "nowhere": f"{here}0"}[where]
    with pytest.raises(DatasetError, match="It failed with: too large"):
        restart(str(tmp_path), STREAM, savepoint, {}, AGAIN)
    assert panes.failures_of(str(tmp_path), STREAM) == ["too large"]


def test_what_the_savepoint_names_stays_for_another_day(tmp_path: Path) -> None:
    publisher = PanePublisher(str(registered(tmp_path)), STREAM)
    for fired in (EARLY, ON_TIME, Fired(0, 1, ("b2",))):
        publisher.publish(commit_of(tmp_path, fired))
    there = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in there:
        os.utime(path, (0, 0))
    restart(str(tmp_path), STREAM, savepoint_of(tmp_path, after=0), {}, AGAIN)
    head = manifest.latest(str(tmp_path))
    assert head is not None
    remove_expired(str(tmp_path), STREAM, head, KEPT_SECONDS)
    assert all(path.exists() for path in there)


def test_a_job_that_still_runs_is_refused_when_another_goes_on_from_its_savepoint(tmp_path: Path) -> None:
    dataset = str(registered(tmp_path))
    PanePublisher(dataset, STREAM, STREAM).publish(commit_of(tmp_path, EARLY))
    restart(dataset, STREAM, savepoint_of(tmp_path, after=0), {}, AGAIN)
    for fired in (ON_TIME, Fired(0, 2, ("c",))):
        with pytest.raises(FencedError, match=f"the job {AGAIN} goes on"):
            PanePublisher(dataset, STREAM, STREAM)
        PanePublisher(dataset, STREAM, AGAIN).publish(commit_of(tmp_path, fired))
    assert rows(tmp_path) == ["a", "b", "c"]
