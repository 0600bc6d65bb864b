"""Panes of a stream: what a manifest lists after any sequence of commits, restores and attempts of before them."""

import contextlib
import hashlib
import os
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_etl.io import manifest, pane_expiry, panes, publishing, staging
from beam_etl.io.commit import PUBLISHED, settle
from beam_etl.io.manifest import DataFile, DatasetError, Manifest, Pane
from beam_etl.io.pane_expiry import remove_expired
from beam_etl.io.panes import FencedError, PaneCommit, PanePublisher, StreamError
from tests.appends import append_to
from tests.attempts import OTHER, RUN, KilledError, Schedule, Steps, rows_of, stage, watched

STREAM = "5c5c5c5c5c5c"
MINUTE = 60_000_000
TABLES = {"counts": {"n": "int64"}, "documents": {"text": "string"}}


@dataclass(frozen=True)
class Fired:
    """A pane as the commit gets it: its window, number and files, each with partition and firing or none."""

    window: int
    index: int
    names: tuple[str, ...] = ()
    partitions: tuple[tuple[int, int], ...] = ()
    """Of accumulating files, one of `counts` each: partition and firing."""
    timing: str = "late"


def staged(dataset: Path, name: str, table: str, pane: Pane | None) -> DataFile:
    attempt = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    folder = "date=1970-01-01/window=19700101T000000Z"
    path = f"{table}/{folder}/{staging.file_name(0, STREAM, attempt, '.jsonl')}"
    file = Path(staging.staging_folder(str(dataset), STREAM)) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{name}\n")
    return DataFile(table, path, 1, file.stat().st_size, "", pane)


def commit_of(dataset: Path, fired: Fired) -> PaneCommit:
    start, end = fired.window * MINUTE, (fired.window + 1) * MINUTE
    files = [staged(dataset, name, "documents", None) for name in fired.names]
    for partition, firing in fired.partitions:
        pane = Pane(STREAM, start, end, -1, "", partition, firing)
        name = f"w{fired.window} p{partition} f{firing} of pane {fired.index} {fired.names}"
        files.append(staged(dataset, name, "counts", pane))
    return PaneCommit(
        stream=STREAM,
        start=start,
        end=end,
        index=fired.index,
        timing=fired.timing,
        files=tuple(files),
        schemas=TABLES,
        about={"job": "test"},
    )


def rows(dataset: Path) -> list[str]:
    found = manifest.latest(str(dataset))
    assert found is not None
    return sorted(line for file in found.files for line in (dataset / file.path).read_text().splitlines())


def registered(dataset: Path) -> Path:
    panes.register(str(dataset), STREAM, "test", TABLES)
    return dataset


@dataclass
class Log:
    """The oracle: all that was ever published, and what of it is seen, looked up from the whole of the log."""

    entries: list[Fired] = field(default_factory=list)

    def seen(self) -> list[str]:
        found = []
        for place, fired in enumerate(self.entries):
            later = [other for other in self.entries[place + 1 :] if other.window == fired.window]
            if not any(other.index <= fired.index for other in later):
                found += fired.names
            for partition, firing in fired.partitions:
                if not any(partition == other for one in later for other, _ in one.partitions):
                    found.append(
                        f"w{fired.window} p{partition} f{firing} of pane {fired.index} {fired.names}"
                    )
        return sorted(found)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Fired]]:
    """Panes in the order in which a stream fires them; "restore" sets a window's numbers back to some earlier one.

    What a checkpoint held is fired again: so of the files that are seen no more some come again.
    """
    steps, numbers, firings, log = [], [0, 0], {}, Log()
    for number in range(draw(st.integers(1, 9))):
        window = draw(st.integers(0, 1))
        what = draw(st.sampled_from(["pane", "pane", "restore", "stale"]))
        names = [f"{number}-{name}" for name in range(draw(st.integers(0, 2)))]
        if what == "restore":
            numbers = [draw(st.integers(0, index)) for index in numbers]
            ever = {name for fired in log.entries if fired.window == window for name in fired.names}
            names += [name for name in sorted(ever - set(log.seen())) if draw(st.booleans())]
        partitions = draw(st.sets(st.integers(0, 2), max_size=2))
        fired = Fired(
            window,
            numbers[window],
            tuple(names),
            tuple((one, firings.get((window, one), 0)) for one in sorted(partitions)),
        )
        firings |= {(window, one): firings.get((window, one), 0) + 1 for one in partitions}
        steps.append((what, fired))
        if what != "stale":
            numbers[window] += 1
            log.entries.append(fired)
    return steps


@settings(max_examples=20)
@given(history=histories())
def test_the_manifest_lists_what_no_later_pane_takes_the_place_of(
    history: list[tuple[str, Fired]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        _follow(history, registered(tmp_path_factory.mktemp("dataset")))


def _follow(history: list[tuple[str, Fired]], dataset: Path) -> None:
    log, publisher = Log(), PanePublisher(str(dataset), STREAM)
    for number, (what, fired) in enumerate(history):
        if what == "stale":  # an attempt that began before another published
            stale, publisher = (PanePublisher(str(dataset), STREAM) for _ in range(2))
            meanwhile = replace(fired, names=(f"meanwhile {number}",), partitions=())
            publisher.publish(commit_of(dataset, meanwhile))
            log.entries.append(meanwhile)
            with pytest.raises(FencedError):
                stale.publish(commit_of(dataset, fired))
        else:
            if what == "restore":
                publisher = PanePublisher(str(dataset), STREAM)
            publisher.publish(commit_of(dataset, fired))
            log.entries.append(fired)
        assert rows(dataset) == log.seen()
    _check_versions(dataset)


def _check_versions(dataset: Path) -> None:
    """Every version that a reader may have open is whole, and says what it said when it was written."""
    for number in manifest.numbers(str(dataset)):
        version = manifest.version(str(dataset), number)
        assert all((dataset / file.path).exists() for file in version.files)


EARLY, ON_TIME = Fired(0, 0, ("a",)), Fired(0, 1, ("b",), timing="on time")

RESTORES = {
    "before all panes": ([EARLY, ON_TIME], [Fired(0, 0, ("a2", "b2"), timing="on time")], ["a2", "b2"]),
    "between": ([EARLY, ON_TIME], [Fired(0, 1, ("b2",), timing="on time")], ["a", "b2"]),
    "after": ([EARLY, ON_TIME], [Fired(0, 2, ("c",))], ["a", "b", "c"]),
    "other boundaries": (
        [EARLY, ON_TIME],
        [Fired(0, 0, ("a1",)), Fired(0, 1, ("a2", "b"))],
        ["a1", "a2", "b"],
    ),
    "a pane with nothing": ([EARLY, ON_TIME], [Fired(0, 1)], ["a"]),
    "another window": ([EARLY, Fired(1, 0, ("x",))], [Fired(1, 0, ("y",))], ["a", "y"]),
}
"""What was published, what is published after a restore, and what is seen then."""


@pytest.mark.parametrize(("before", "after", "seen"), RESTORES.values(), ids=RESTORES)
def test_a_restore_loses_no_row_and_doubles_none(
    before: list[Fired], after: list[Fired], seen: list[str], tmp_path: Path
) -> None:
    registered(tmp_path)
    for history in (before, after):
        publisher = PanePublisher(str(tmp_path), STREAM)
        for fired in history:
            publisher.publish(commit_of(tmp_path, fired))
    assert rows(tmp_path) == seen
    _check_versions(tmp_path)


def test_a_commit_that_was_killed_is_made_again(tmp_path: Path) -> None:
    """An engine gives the same pane again, with the same files, whether it was published or not."""
    registered(tmp_path)
    for _ in range(2):
        PanePublisher(str(tmp_path), STREAM).publish(commit_of(tmp_path, EARLY))
        assert rows(tmp_path) == ["a"]


def test_a_commit_that_is_killed_at_any_step_is_made_again_by_another_attempt(tmp_path: Path) -> None:
    before, after = [EARLY, ON_TIME], Fired(0, 1, ("b", "c"))
    for stop in range(100):
        dataset = tmp_path / str(stop)
        dataset.mkdir()
        publisher = PanePublisher(str(registered(dataset)), STREAM)
        for fired in before:
            publisher.publish(commit_of(dataset, fired))
        commit, killed = commit_of(dataset, after), True
        with watched(dataset, Steps(stop, _kill).before), contextlib.suppress(KilledError):
            publisher.publish(commit)
            killed = False
        assert rows(dataset) in (["a", "b"], ["a", "b", "c"])
        PanePublisher(str(dataset), STREAM).publish(commit)
        assert rows(dataset) == ["a", "b", "c"]
        if not killed:
            break
    assert stop > 8


def _kill() -> None:
    raise KilledError


def test_two_attempts_at_once_publish_one_after_the_other_or_one_is_refused(tmp_path: Path) -> None:
    told = set()
    for seed in range(12):
        dataset = tmp_path / str(seed)
        dataset.mkdir()
        registered(dataset)
        attempts = {name: PanePublisher(str(dataset), STREAM) for name in ("old", "new")}
        commits = {name: commit_of(dataset, Fired(0, 0, (name,))) for name in attempts}
        refused: list[str] = []

        def work(name: str, attempts: Any = attempts, commits: Any = commits, refused: Any = refused) -> None:
            try:
                attempts[name].publish(commits[name])
            except FencedError:
                refused.append(name)

        Schedule(dataset, seed, 0).run([partial(work, "old"), partial(work, "new")])
        assert len(refused) == 1
        assert rows(dataset) == sorted(set(attempts) - set(refused))
        told.update(refused)
        PanePublisher(str(dataset), STREAM).publish(commits["new"])
        assert rows(dataset) == ["new"]
    assert told == {"old", "new"}


def test_others_add_to_the_dataset_and_a_stream_goes_on(tmp_path: Path) -> None:
    assert append_to(tmp_path, RUN, None) == PUBLISHED
    registered(tmp_path)
    publisher = PanePublisher(str(tmp_path), STREAM)
    base = publisher.publish(commit_of(tmp_path, EARLY))
    for index in range(1, 60):
        publisher.publish(commit_of(tmp_path, Fired(0, index)))
    head = manifest.latest(str(tmp_path))
    assert head is not None
    assert len(head.lineage) < 60
    assert append_to(tmp_path, OTHER, base) == PUBLISHED
    publisher.publish(commit_of(tmp_path, Fired(0, 60, ("b",))))
    assert rows(tmp_path) == sorted(["a", "b", *rows_of(RUN), *rows_of(OTHER)])


def test_a_stream_whose_dataset_was_replaced_is_told(tmp_path: Path) -> None:
    registered(tmp_path)
    publisher = PanePublisher(str(tmp_path), STREAM)
    publisher.publish(commit_of(tmp_path, EARLY))
    assert settle(str(tmp_path), stage(tmp_path, OTHER, 3), []) == PUBLISHED
    for attempt in (publisher.publish, lambda _: PanePublisher(str(tmp_path), STREAM)):
        with pytest.raises(StreamError, match="replaced or removed while the stream"):
            attempt(commit_of(tmp_path, ON_TIME))
    assert rows(tmp_path) == rows_of(OTHER)


def test_a_pane_of_a_compacted_window_is_refused(tmp_path: Path) -> None:
    head = Manifest(
        1, RUN, (DataFile("documents", "x", 1, 1, "", Pane(STREAM, 0, MINUTE, 3, "late", first=1)),), TABLES
    )
    for index, refused in ((0, False), (1, False), (2, True), (3, True), (4, False)):
        commit = PaneCommit(
            stream=STREAM, start=0, end=MINUTE, index=index, timing="late", files=(), schemas=TABLES, about={}
        )
        if refused:
            with pytest.raises(StreamError, match="compacted from panes up to 3"):
                panes.superseded(head, commit)
        else:
            assert len(panes.superseded(head, commit)) == (index < 2)


def test_a_pane_of_other_columns_ends_the_stream_with_the_reason(tmp_path: Path) -> None:
    registered(tmp_path)
    publisher = PanePublisher(str(tmp_path), STREAM)
    publisher.publish(commit_of(tmp_path, EARLY))
    other = replace(commit_of(tmp_path, ON_TIME), schemas={**TABLES, "documents": {"text": "int64"}})
    publisher.publish(other)
    (reason,) = panes.failures_of(str(tmp_path), STREAM)
    assert "text is string there, int64 in the run" in reason
    assert rows(tmp_path) == ["a"]


def test_after_a_failure_no_attempt_publishes_and_none_is_refused(tmp_path: Path) -> None:
    registered(tmp_path)
    attempts = [PanePublisher(str(tmp_path), STREAM) for _ in range(2)]
    failed = attempts[0].publish(replace(commit_of(tmp_path, EARLY), failures=("too large",)))
    for attempt in (*attempts, PanePublisher(str(tmp_path), STREAM)):
        for fired in (EARLY, ON_TIME):
            assert attempt.publish(commit_of(tmp_path, fired)) == failed
    assert rows(tmp_path) == []


def test_what_no_checkpoint_names_any_more_is_removed(tmp_path: Path) -> None:
    registered(tmp_path)
    folder = Path(staging.staging_folder(str(tmp_path), STREAM))
    publisher = PanePublisher(str(tmp_path), STREAM)
    for fired in (EARLY, ON_TIME, Fired(0, 1, ("b2",))):
        head = publisher.publish(commit_of(tmp_path, fired))
    pending = commit_of(tmp_path, Fired(0, 2, ("pending",))).files[0]
    remove_expired(str(tmp_path), STREAM, head)
    assert len(list(folder.rglob("part-*"))) == 4
    remove_expired(str(tmp_path), STREAM, head, kept_seconds=-1)
    assert [path.read_text() for path in folder.rglob("part-*")] == ["pending\n"]
    assert manifest.numbers(str(tmp_path)) == [1, head.number]
    assert sorted(path.read_text() for path in tmp_path.glob("documents/**/part-*")) == ["a\n", "b2\n"]
    assert (folder / pending.path).exists()


def test_of_old_versions_the_last_of_each_hour_stays_for_a_day(tmp_path: Path) -> None:
    registered(tmp_path)
    publisher = PanePublisher(str(tmp_path), STREAM)
    noon = 1_800_000_000 // 3600 * 3600
    hours = {2: -26.0, 3: -25.5, 4: -3.9, 5: -3.1, 6: -2.5, 7: -2.0, 8: -0.4, 9: -0.1, 10: -0.05, 11: 0.0}
    for index in range(len(hours)):
        head = publisher.publish(commit_of(tmp_path, Fired(0, 0, (f"{index}",))))
    for number, hour in hours.items():
        os.utime(manifest.manifest_path(str(tmp_path), number), (noon + hour * 3600,) * 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beam_etl.io.pane_expiry.time.time", lambda: noon)
        remove_expired(str(tmp_path), STREAM, head)
    assert manifest.numbers(str(tmp_path)) == [1, 5, 6, 7, 9, 10, 11]
    assert rows(tmp_path) == ["9"]


def test_what_another_run_appends_stays_while_the_stream_goes_on(tmp_path: Path) -> None:
    registered(tmp_path)
    PanePublisher(str(tmp_path), STREAM).publish(commit_of(tmp_path, EARLY))
    append_to(tmp_path, OTHER, manifest.latest(str(tmp_path)))
    for index in range(3):
        publisher = PanePublisher(str(tmp_path), STREAM)
        head = publisher.publish(commit_of(tmp_path, Fired(0, 0, (f"{index}",))))
    remove_expired(str(tmp_path), STREAM, head, kept_seconds=-1)
    assert manifest.numbers(str(tmp_path)) == [1, 3, head.number]
    assert publishing.run_of(str(tmp_path), 3) == OTHER


def test_two_processes_may_remove_what_expired_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(tmp_path)
    head = PanePublisher(str(tmp_path), STREAM).publish(commit_of(tmp_path, EARLY))
    found = pane_expiry._written

    def meanwhile(paths: list[str]) -> list[tuple[str, float]]:
        written = found(paths)
        staging.remove(path for path, _ in written if "done-" in path)
        return written

    monkeypatch.setattr(pane_expiry, "_written", meanwhile)
    remove_expired(str(tmp_path), STREAM, head, kept_seconds=-1)
    assert rows(tmp_path) == ["a"]


def test_the_list_of_many_files_tells_panes_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "LISTED_FILES", 0)
    registered(tmp_path)
    head = PanePublisher(str(tmp_path), STREAM).publish(commit_of(tmp_path, Fired(0, 0, ("a",), ((7, 3),))))
    found = manifest.latest(str(tmp_path))
    assert found == head
    assert {file.pane and file.pane.partition for file in head.files} == {None, 7}


def test_a_stream_goes_on_under_its_name_only_where_it_is_known(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none"):
        panes.stream_in(str(tmp_path), None, "test")
    registered(tmp_path)
    assert panes.stream_in(str(tmp_path), None, "test") == STREAM
    assert panes.stream_in(str(tmp_path), STREAM, "test") == STREAM
    with pytest.raises(DatasetError, match=f"{STREAM} of test"):
        panes.stream_in(str(tmp_path), None, "other")
    panes.register(str(tmp_path), OTHER, "test", TABLES)
    with pytest.raises(DatasetError, match="can't go on here"):
        panes.stream_in(str(tmp_path), None, "test")
