"""A cluster on this machine, without Java: what is refused, what is left of one that crashed, and who is spared."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from beam_etl.engines.flink import __main__ as main
from beam_etl.engines.flink import cluster, processes, record, settings
from beam_etl.engines.flink.processes import Process
from beam_etl.engines.flink.record import ClusterError, Record
from beam_etl.engines.flink.settings import Plan
from beam_etl.pipelines import PIPELINES
from tests.engines.clusters import command, kill, no_trace, wait_until
from tests.test_plans import NO_JOBS

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def recorded(folder: Path, names: Sequence[str], ready: bool = True) -> list[Process]:
    """What a cluster leaves in its folder, with processes that only sleep."""
    plan = Plan(str(folder), 0, 2, 1 << 30, False, settings.choose_ports())
    settings.write_files(plan)
    started = [
        processes.spawn(name, SLEEP, folder / "log" / name, settings.environment(plan)) for name in names
    ]
    record.write(Record(plan, tuple(started), ready))
    return started


def test_nothing_runs_in_a_folder_where_nothing_was_started(folder: Path) -> None:
    assert cluster.running(str(folder)) is None
    assert not cluster.stop(str(folder))
    assert command("status", f"--folder={folder}").returncode == 1
    assert no_trace(folder)


@pytest.mark.parametrize(("memory", "told"), [("512MiB", "give at least 1024MiB"), ("0", "no memory at all")])
def test_too_little_memory_is_refused_before_anything_is_made(memory: str, told: str, folder: Path) -> None:
    asked = command("start", f"--folder={folder}", f"--memory={memory}")
    assert asked.returncode == 2
    assert told in asked.stderr
    assert no_trace(folder)


def test_high_availability_needs_a_job_manager(folder: Path) -> None:
    asked = command("start", f"--folder={folder}", "--task_managers=0", "--high_availability=true")
    assert asked.returncode == 2
    assert "use --task_managers" in asked.stderr
    assert no_trace(folder)


def test_a_folder_with_other_files_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    for act in (cluster.start, cluster.stop, cluster.running):
        with pytest.raises(ClusterError, match="holds other files"):
            act(str(folder))
    assert (folder / "thesis.txt").read_text() == "years of work"
    (folder / "thesis.txt").unlink()


@pytest.mark.parametrize("mark", ",:|")
def test_a_path_that_flink_would_cut_is_refused(mark: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="take it for several paths"):
        cluster.start(str(tmp_path / f"a{mark}b"))


def test_a_cluster_of_which_nothing_is_left_does_not_run(folder: Path) -> None:
    for process in recorded(folder, ["jobserver", "pool"]):
        kill(process)
    assert cluster.running(str(folder)) is None
    assert cluster.stop(str(folder))
    assert no_trace(folder)


@pytest.mark.parametrize("ready", [True, False], ids=["crashed", "start broken off"])
def test_leftovers_are_named_with_the_command_that_cleans_up(ready: bool, folder: Path) -> None:
    dead, alive = recorded(folder, ["jobserver", "pool"], ready)
    kill(dead)
    with pytest.raises(ClusterError) as error:
        cluster.start(str(folder), task_managers=0)
    assert f"stop --folder={folder}` cleans up" in str(error.value)
    assert ("jobserver ended" in str(error.value)) == ready
    assert alive.alive()
    shown = command("status", f"--folder={folder}")
    assert shown.returncode == 1
    assert f"{dead.pid}  ended" in shown.stdout
    assert command("stop", f"--folder={folder}").returncode == 0
    wait_until(lambda: not alive.alive())
    assert no_trace(folder)


def test_a_process_of_a_broken_start_is_not_started_again_alone(folder: Path) -> None:
    recorded(folder, ["pool"], ready=False)
    with pytest.raises(ClusterError, match="a start that was broken off"):
        cluster.restart(str(folder), "pool")
    assert cluster.stop(str(folder))


def test_a_job_that_asks_for_another_cluster_than_runs_is_told(folder: Path) -> None:
    recorded(folder, ["pool"])
    asked = command("run", f"--folder={folder}", "--slots=3", "--memory=2GiB", "token_count", "--input=x")
    assert asked.returncode == 1
    assert "a cluster with other settings runs" in asked.stderr
    assert cluster.stop(str(folder))


def test_processes_are_found_when_their_record_is_gone(folder: Path) -> None:
    (process,) = recorded(folder, ["pool"])
    (folder / record.FILE).unlink()
    with pytest.raises(ClusterError, match="cleans up"):
        cluster.start(str(folder), task_managers=0)
    assert cluster.stop(str(folder))
    assert not process.alive()
    assert no_trace(folder)


def test_a_process_that_got_the_number_of_a_dead_one_is_spared(folder: Path) -> None:
    (process,) = recorded(folder, ["pool"])
    wait_until(lambda: time.time() - process.since > 0.1)  # birth is told in hundredths of a second
    with subprocess.Popen(SLEEP) as other:
        try:
            stored = json.loads((folder / record.FILE).read_text())
            stored["processes"] = [{**asdict(process), "pid": other.pid}]
            (folder / record.FILE).write_text(json.dumps(stored))
            assert cluster.running(str(folder)) is None
            cluster.stop(str(folder))
            assert other.poll() is None
        finally:
            other.kill()
    assert no_trace(folder)


def test_one_command_at_a_time(folder: Path) -> None:
    said: list[str] = []
    recorded(folder, ["pool"])
    with record.locked(str(folder), said.append):
        other = threading.Thread(target=cluster.stop, args=(str(folder), said.append))
        other.start()
        wait_until(lambda: said)
        assert "waiting for another command" in said[0]
        assert cluster.running(str(folder)) is not None
    other.join(60)
    assert no_trace(folder)


def test_a_lock_that_went_with_its_folder_keeps_nobody_out(folder: Path) -> None:
    with record.locked(str(folder), str):
        os.rename(folder, folder.with_name("elsewhere"))
        with record.locked(str(folder), str):
            assert folder.is_dir()
    folder.with_name("elsewhere").rmdir()


def test_the_jobs_are_the_pipelines() -> None:
    assert main.job_names() == sorted(set(PIPELINES) - NO_JOBS)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("dedupe", "Did you mean dedup?"), ("xyz", "There is: aggregate, compact_index, curate")],
)
def test_an_unknown_job_is_told_before_a_cluster_is_started(asked: str, answer: str, folder: Path) -> None:
    done = command("run", f"--folder={folder}", asked, "--input=x")
    assert done.returncode == 2
    assert answer in done.stderr
    assert no_trace(folder)


@pytest.mark.parametrize(
    ("text", "expected"), [("1GiB", 1 << 30), ("768mib", 768 << 20), ("12", 12), ("3 KiB", 3072)]
)
def test_memory_is_read_with_its_unit(text: str, expected: int) -> None:
    assert main.memory_bytes(text) == expected
