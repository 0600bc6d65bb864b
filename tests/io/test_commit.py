"""Attempts at one commit, whatever an engine makes of them: each row is published once, or not at all."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import WriteDataset
from beam_etl.io import durable, manifest, publishing, staging
from beam_etl.io.commit import CONFLICT, FAILED, PUBLISHED, clean_run, settle
from beam_etl.io.data_files import OpenFile
from beam_etl.io.formats import format_named
from beam_etl.io.manifest import Manifest
from tests.attempts import (
    HAPPENINGS,
    OTHER,
    RUN,
    Schedule,
    Steps,
    World,
    attempt,
    check_published_once,
    listed,
    rows_of,
    seen,
    stage,
    watched,
)
from tests.beam import run as pipeline_of
from tests.faults import LOCAL, FaultReport

GIVEN_UP = ["given up"]


def steps_of_a_commit(tmp_path: Path) -> int:
    dataset = tmp_path / "alone"
    steps = Steps()
    with watched(tmp_path, steps.before):
        assert attempt(dataset) == PUBLISHED
    assert {"link", "rename", "unlink"} <= set(steps.names)
    return steps.done


@pytest.mark.parametrize("happening", HAPPENINGS.values(), ids=HAPPENINGS)
def test_whatever_happens_between_two_steps_each_row_is_published_once(
    tmp_path: Path, happening: Callable[[World], None]
) -> None:
    for stop in range(steps_of_a_commit(tmp_path)):
        world = World(tmp_path / f"at {stop}")
        steps = Steps(stop, partial(happening, world))
        check_published_once(world, watched(tmp_path, steps.before))
        assert not (world.dataset / "_staging").exists()


def test_a_run_that_replaces_this_one_meanwhile_stays_whole(tmp_path: Path) -> None:
    """Its attempt may then be told of a conflict; it never touches the other's files."""
    for stop in range(steps_of_a_commit(tmp_path)):
        world = World(tmp_path / f"at {stop}")
        with watched(tmp_path, Steps(stop, world.overwrite).before):
            world.attempt()
        world.attempt()
        assert seen(world.dataset) == listed(world.dataset)
        assert listed(world.dataset) in (rows_of(OTHER), rows_of(RUN))
        assert publishing.is_published(str(world.dataset), OTHER) == (world.verdicts[OTHER] == {PUBLISHED})


def test_a_run_that_is_given_up_meanwhile_is_published_whole_or_never(tmp_path: Path) -> None:
    for stop in range(steps_of_a_commit(tmp_path)):
        world = World(tmp_path / f"at {stop}")
        with watched(tmp_path, Steps(stop, world.give_up).before):
            world.attempt()
        assert clean_run(str(world.dataset), RUN) == (world.verdicts[RUN] == {PUBLISHED})
        world.check()
        assert world.verdicts[RUN] <= {PUBLISHED, FAILED}
        assert world.dataset.exists() == (world.verdicts[RUN] == {PUBLISHED})


@pytest.mark.parametrize("reasons", [[], GIVEN_UP], ids=["reasons inside", "reasons outside"])
def test_the_first_attempt_decides_whether_there_is_something_against_it(
    tmp_path: Path, reasons: list[str]
) -> None:
    """An attempt, and a worker that writes on, inside an attempt that comes to the contrary."""
    inner = [] if reasons else GIVEN_UP
    for stop in range(steps_of_a_commit(tmp_path)):
        world = World(tmp_path / f"at {stop}")

        def happening(world: World = world) -> None:
            world.attempt(reasons=inner)
            stage(world.dataset, RUN, 1)

        with watched(tmp_path, Steps(stop, happening).before):
            world.attempt(reasons=reasons)
        world.attempt()
        world.check()
        (verdict,) = world.verdicts[RUN]
        assert staging.verdict(str(world.dataset), RUN) == (GIVEN_UP if verdict == FAILED else [])
        assert not list((world.dataset / "_staging").rglob("part-*"))


Work = Callable[[World], None]
ATTEMPT: Work = World.attempt
ANOTHER: Work = partial(World.attempt, run=OTHER)
REFUSING: Work = partial(World.attempt, reasons=GIVEN_UP)

TEAMS: dict[str, list[Work]] = {
    "two attempts": [ATTEMPT, ATTEMPT],
    "three attempts": [ATTEMPT, ATTEMPT, ATTEMPT],
    "two attempts and another run": [ATTEMPT, ATTEMPT, ANOTHER],
    "two attempts of two runs": [ATTEMPT, ANOTHER, ATTEMPT, ANOTHER],
    "two attempts, one with a reason against it": [ATTEMPT, REFUSING],
    "an attempt, and giving up": [ATTEMPT, World.give_up],
    "two attempts, and giving up": [ATTEMPT, ATTEMPT, World.give_up],
}


@pytest.mark.parametrize("kills", [0, 0.03], ids=["all live", "some are killed"])
@pytest.mark.parametrize("team", TEAMS.values(), ids=TEAMS)
def test_attempts_in_any_order_of_their_steps_publish_each_row_once(
    tmp_path: Path, team: list[Work], kills: float
) -> None:
    for seed in range(40):
        world = World(tmp_path / str(seed))
        Schedule(tmp_path, seed, kills).run([partial(work, world) for work in team])
        if World.give_up not in team:
            world.attempt()  # as an engine does that doesn't know of the others
        published = [clean_run(str(world.dataset), run) for run in (RUN, OTHER)]
        world.check(agreed=World.give_up not in team)  # who begins after that may publish, whole
        if World.give_up not in team and REFUSING not in team:
            assert any(published)
        assert not (world.dataset / "_staging").exists()
        assert any(published) == any(path.is_file() for path in world.dataset.rglob("*"))


def test_files_that_somebody_removed_are_told_and_nothing_is_published(tmp_path: Path) -> None:
    made = stage(tmp_path, RUN, 1)
    (tmp_path / "_staging" / RUN / made.files[1].path).unlink()
    for _ in range(2):
        assert settle(str(tmp_path), made, []) == FAILED
    (reason,) = staging.verdict(str(tmp_path), RUN)
    assert made.files[1].path in reason
    assert manifest.latest(str(tmp_path)) is None
    assert not clean_run(str(tmp_path), RUN)
    assert seen(tmp_path) == []


BATCH = pa.record_batch({"id": [f"document {number}" for number in range(1000)]})


def open_late(dataset: Path) -> OpenFile:
    path = f"documents/{staging.file_name(0, RUN, staging.new_attempt(), '.jsonl')}"
    writer = partial(format_named("jsonl").writer, columns=BATCH.schema)
    return OpenFile(str(dataset), RUN, path, BATCH.schema, writer)


def test_while_a_run_is_cleaned_up_nobody_can_write_or_publish_any_of_it(tmp_path: Path) -> None:
    made = stage(tmp_path, RUN, 1)
    with staging.closed(str(tmp_path), RUN):
        with pytest.raises(staging.GONE):
            open_late(tmp_path)
        assert settle(str(tmp_path), made, []) == FAILED
        assert settle(str(tmp_path), Manifest(1, RUN, (), {}), []) == FAILED
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_after_the_commit_goes_nowhere(tmp_path: Path) -> None:
    assert attempt(tmp_path) == PUBLISHED
    late = open_late(tmp_path)
    late.writer.write(BATCH)
    file, _ = late.close(BATCH.num_rows)
    assert file.bytes > BATCH.num_rows
    assert settle(str(tmp_path), Manifest(1, RUN, (file,), {"documents": {}}), []) == PUBLISHED
    assert {path.name for path in tmp_path.iterdir()} == {"_manifests", "documents", "removals"}
    assert seen(tmp_path) == rows_of(RUN)


def _commit_at_once(folder: str, rounds: int, barrier: Barrier, verdicts: Any) -> None:
    for number in range(rounds):
        made = stage(Path(folder) / str(number), RUN, 1)
        barrier.wait()
        verdicts.put((number, settle(f"{folder}/{number}", made, [])))


def test_processes_that_commit_at_the_same_moment_agree(tmp_path: Path) -> None:
    context, processes, rounds = multiprocessing.get_context("spawn"), 2, 25
    barrier, verdicts = context.Barrier(processes), context.Queue()
    started = [
        context.Process(target=_commit_at_once, args=(str(tmp_path), rounds, barrier, verdicts))
        for _ in range(processes)
    ]
    for process in started:
        process.start()
    found = [verdicts.get(timeout=120) for _ in range(processes * rounds)]
    for process in started:
        process.join()
    assert {verdict for _, verdict in found} == {PUBLISHED}
    for number in range(rounds):
        assert seen(tmp_path / str(number)) == listed(tmp_path / str(number)) == rows_of(RUN)
        assert not (tmp_path / str(number) / "_staging").exists()


def _commit_in_turn(folder: str, run: str, rounds: int, barrier: Barrier, verdicts: Any) -> None:
    for number in range(rounds):
        made = stage(Path(folder) / str(number), run, 1)
        barrier.wait()
        verdicts.put((number, run, settle(f"{folder}/{number}", made, [])))


@pytest.mark.parametrize("rounds", [12, pytest.param(100, marks=pytest.mark.long)])
def test_of_two_that_make_a_dataset_at_once_one_wins_and_the_other_is_told(
    rounds: int, tmp_path: Path, faults: FaultReport
) -> None:
    context, both = multiprocessing.get_context("spawn"), (RUN, OTHER)
    barrier, verdicts = context.Barrier(2), context.Queue()
    started = [
        context.Process(target=_commit_in_turn, args=(str(tmp_path), run, rounds, barrier, verdicts))
        for run in both
    ]
    for process in started:
        process.start()
    found = [verdicts.get(timeout=120) for _ in range(2 * rounds)]
    for process in started:
        process.join()
    for number in range(rounds):
        told = {run: verdict for at, run, verdict in found if at == number}
        assert sorted(told.values()) == [CONFLICT, PUBLISHED]
        winner = next(run for run, verdict in told.items() if verdict == PUBLISHED)
        assert seen(tmp_path / str(number)) == listed(tmp_path / str(number)) == rows_of(winner)
        assert not (tmp_path / str(number) / "_staging").exists()
    faults.fault(
        LOCAL,
        "two processes make a dataset at once",
        rounds,
        "one is there whole, the other is told each time",
    )


def _killed_at(folder: str, name: str, call: int) -> None:
    called, calls = getattr(os, name), iter(range(1_000))

    def killing(*arguments: Any) -> Any:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return called(*arguments)

    made = stage(Path(folder), RUN, 1)
    setattr(os, name, killing)
    settle(folder, made, [])


KILLS = {"between two moves": ("rename", 2), "before the manifest": ("link", 1)}


@pytest.mark.parametrize(("name", "call"), KILLS.values(), ids=KILLS)
def test_what_a_killed_process_left_is_finished_by_the_next_attempt(
    tmp_path: Path, name: str, call: int
) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_killed_at, args=(str(tmp_path), name, call)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert manifest.latest(str(tmp_path)) is None
    assert len(seen(tmp_path)) == (2 if name == "rename" else 5)
    assert attempt(tmp_path) == PUBLISHED
    assert seen(tmp_path) == listed(tmp_path) == rows_of(RUN)
    assert not (tmp_path / "_staging").exists()


FAULTS = {
    "none": None,
    "while files are moved": (os, "rename", 1),
    "before the manifest": (publishing, "publish", 0),
    "after the manifest": (durable, "sync_folder", 1),
    "while it cleans up": (staging, "remove_staging", 0),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_graph_that_runs_once_more_with_files_of_other_names_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: tuple[Any, str, int] | None
) -> None:
    """As an engine does that lost a machine, and everything it had."""
    pipeline = pipeline_of("--direct_num_workers=2")
    documents = pipeline | beam.Create([BATCH.slice(start, 100) for start in range(0, 1000, 100)])
    verdict = {"documents": documents} | WriteDataset(output=str(tmp_path / "out"), file_bytes=1000)
    assert_that(verdict, equal_to([PUBLISHED]))
    with monkeypatch.context() as patch:
        if fault:
            module, name, call = fault
            called, calls = getattr(module, name), iter(range(1000))

            def failing(*arguments: Any) -> Any:
                if next(calls) == call:
                    raise OSError("the machine is gone")
                return called(*arguments)

            patch.setattr(module, name, failing)
            with pytest.raises(OSError, match="the machine is gone"):
                pipeline.run().wait_until_finish()
        else:
            pipeline.run().wait_until_finish()
    before = listed_paths(tmp_path / "out")
    for _ in range(2):
        pipeline.run().wait_until_finish()
        assert sorted(pq.read_table(tmp_path / "out/documents")["id"].to_pylist()) == sorted(
            BATCH["id"].to_pylist()
        )
        assert before in ([], listed_paths(tmp_path / "out"))
        assert not (tmp_path / "out/_staging").exists()


def listed_paths(dataset: Path) -> list[str]:
    found = manifest.latest(str(dataset))
    return [file.path for file in found.files] if found else []


def test_what_an_engine_starts_after_the_run_was_given_up_is_never_published(tmp_path: Path) -> None:
    dataset = str(tmp_path / "out")
    assert not clean_run(dataset, "aaaaaaaaaaaa", for_good=True)
    assert settle(dataset, Manifest(1, "aaaaaaaaaaaa", (), {"documents": {}}), ()) == FAILED
    assert manifest.latest(dataset) is None
    assert settle(dataset, Manifest(1, "bbbbbbbbbbbb", (), {"documents": {}}), ()) == PUBLISHED
    assert os.listdir(dataset) == [manifest.FOLDER]
