"""A cluster on this machine: started and stopped without a trace, seen, repaired, and open to this machine only."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from beam_etl.engines.flink import __main__ as command
from beam_etl.engines.flink import cluster, jars, processes, record, settings
from beam_etl.engines.flink.jars import Jars
from beam_etl.engines.flink.processes import Process
from beam_etl.engines.flink.record import ClusterError, Record
from beam_etl.engines.flink.settings import Plan
from beam_etl.pipelines import PIPELINES

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def run(*arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "beam_etl.engines.flink", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=seconds)


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def no_trace(folder: Path) -> bool:
    return not folder.exists() and processes.marked(str(folder)) == []


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a test has its cluster; whatever is left there is ended."""
    yield tmp_path / "a cluster"
    cluster.stop(str(tmp_path / "a cluster"))


def recorded(folder: Path, names: Sequence[str], ready: bool = True) -> list[Process]:
    """What a cluster leaves in its folder, with processes that only sleep."""
    plan = Plan(str(folder), 0, 2, 1 << 30, False, settings.choose_ports())
    settings.write_files(plan)
    started = [
        processes.spawn(name, SLEEP, folder / "log" / name, settings.environment(plan)) for name in names
    ]
    record.write(Record(plan, tuple(started), ready))
    return started


def kill(process: Process) -> None:
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not process.alive())


def test_nothing_runs_in_a_folder_where_nothing_was_started(folder: Path) -> None:
    assert cluster.running(str(folder)) is None
    assert not cluster.stop(str(folder))
    assert run("status", f"--folder={folder}").returncode == 1
    assert no_trace(folder)


def test_too_little_memory_is_refused_before_anything_is_made(folder: Path) -> None:
    asked = run("start", f"--folder={folder}", "--memory=512MiB")
    assert asked.returncode == 2
    assert "give at least 1024MiB" in asked.stderr
    assert no_trace(folder)


def test_high_availability_needs_a_job_manager(folder: Path) -> None:
    asked = run("start", f"--folder={folder}", "--task_managers=0", "--high_availability=true")
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
    shown = run("status", f"--folder={folder}")
    assert shown.returncode == 1
    assert f"{dead.pid}  ended" in shown.stdout
    assert run("stop", f"--folder={folder}").returncode == 0
    wait_until(lambda: not alive.alive())
    assert no_trace(folder)


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
    assert command.job_names() == sorted(PIPELINES)


@pytest.mark.parametrize(("asked", "answer"), [("dedupe", "Did you mean dedup?"), ("xyz", "There is: dedup")])
def test_an_unknown_job_is_told_before_a_cluster_is_started(asked: str, answer: str, folder: Path) -> None:
    done = run("run", f"--folder={folder}", asked, "--input=x")
    assert done.returncode == 2
    assert answer in done.stderr
    assert no_trace(folder)


@pytest.mark.parametrize(
    ("text", "expected"), [("1GiB", 1 << 30), ("768mib", 768 << 20), ("12", 12), ("3 KiB", 3072)]
)
def test_memory_is_read_with_its_unit(text: str, expected: int) -> None:
    assert command.memory_bytes(text) == expected


def watch(found: cluster.Running, seen: set[tuple[str, int]], done: threading.Event) -> None:
    """Collects what the processes of a cluster and their children listen on."""
    while not done.is_set():
        for pid in processes.marked(found.folder):
            seen.update(processes.listening(pid))
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flink_cluster", "embedded_flink"])
def test_while_a_job_runs_nothing_listens_beyond_this_machine(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    found: cluster.Running = request.getfixturevalue(kind)
    (tmp_path / "in.jsonl").write_text('{"text": "one two", "lang": "en"}\n{"text": "drei", "lang": "de"}\n')
    idle = {port for process in found.processes for _, port in processes.listening(process.pid)}
    seen: set[tuple[str, int]] = set()
    done = threading.Event()
    watcher = threading.Thread(target=watch, args=(found, seen, done))
    watcher.start()
    try:
        files = [f"--input={tmp_path / 'in.jsonl'}", f"--output={tmp_path / 'out'}"]
        ran = run("run", f"--folder={found.folder}", "token_count", *files)
    finally:
        done.set()
        watcher.join()
    assert ran.returncode == 0, ran.stderr
    assert [address for address, _ in seen if not processes.is_loopback(address)] == []
    assert len({port for _, port in seen} - idle) >= 5, "Beam's servers of the job were not seen"


@pytest.mark.slow
def test_ctrl_c_reaches_the_job_and_not_the_cluster(
    flink_cluster: cluster.Running, shared: Path, tmp_path: Path
) -> None:
    source = f"--input={shared / 'data/webtext/debdocs_sample_1pct.jsonl.gz'}"
    line = [sys.executable, "-m", "beam_etl.engines.flink", "run", f"--folder={flink_cluster.folder}"]
    flags = ["token_count", source, f"--output={tmp_path / 'out'}"]
    idle = set(processes.marked(flink_cluster.folder))
    with subprocess.Popen(
        [*line, *flags], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        wait_until(lambda: set(processes.marked(flink_cluster.folder)) - idle)  # a worker: the job runs
        os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert "interrupted" in said
    assert all(process.alive() for process in flink_cluster.processes)
    assert not (tmp_path / "out/_manifests").exists()


@pytest.mark.slow
def test_status_shows_every_process_the_slots_and_the_ports(flink_cluster: cluster.Running) -> None:
    shown = run("status", f"--folder={flink_cluster.folder}")
    assert shown.returncode == 0
    rows = {line.split()[0]: line.split() for line in shown.stdout.splitlines()[1:]}
    for process in flink_cluster.processes:
        _, pid, megabytes, _, *ports = rows[process.name]
        assert int(pid) == process.pid
        assert 50 < int(megabytes) < 2000
        assert ports
    assert flink_cluster.rest.rpartition(":")[2] in rows["jobmanager"]
    assert "2 of 2 task managers, 0 of 4 slots in use" in shown.stdout


@pytest.mark.slow
def test_starting_what_runs_says_so_and_other_settings_are_refused(flink_cluster: cluster.Running) -> None:
    again = run("start", f"--folder={flink_cluster.folder}")
    assert again.returncode == 0
    assert "runs already: 2 task managers of 2 slots" in again.stderr
    assert flink_cluster.rest in again.stdout
    other = run("start", f"--folder={flink_cluster.folder}", "--slots=3")
    assert other.returncode == 1
    assert "a cluster with other settings runs" in other.stderr


@pytest.mark.slow
def test_a_cluster_for_one_job_goes_with_it_and_the_exit_code_is_the_jobs(
    flink_jars: Jars, folder: Path, tmp_path: Path
) -> None:
    flags = [f"--input={tmp_path / 'nothing.jsonl'}", f"--output={tmp_path / 'out'}"]
    alone = [sys.executable, "-m", "beam_etl.pipelines.token_count", *flags]
    code = subprocess.run(alone, capture_output=True, check=False).returncode
    ran = run("run", f"--folder={folder}", "--task_managers=0", "token_count", *flags)
    assert code != 0
    assert ran.returncode == code
    assert "jobserver is up" in ran.stderr
    assert "nothing.jsonl" in ran.stderr
    assert no_trace(folder)


@pytest.mark.slow
def test_a_killed_process_is_seen_and_started_again(flink_jars: Jars, folder: Path) -> None:
    started = cluster.start(str(folder), task_managers=1)
    kill(started.process("taskmanager-1"))
    shown = run("status", f"--folder={folder}")
    assert shown.returncode == 1
    assert "ended: taskmanager-1" in shown.stdout
    assert cluster.running(str(folder)) == started
    repaired = cluster.restart(str(folder), "taskmanager-1")
    assert repaired.process("taskmanager-1").alive()
    wait_until(lambda: run("status", f"--folder={folder}").returncode == 0)
    with pytest.raises(ClusterError, match="no taskmanager-2 .* there is: jobmanager, taskmanager-1"):
        cluster.restart(str(folder), "taskmanager-2")
    assert run("stop", f"--folder={folder}").returncode == 0
    assert not any(process.alive() for process in repaired.processes)
    assert no_trace(folder)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_start_leaves_nothing(number: signal.Signals, flink_jars: Jars, folder: Path) -> None:
    line = [sys.executable, "-m", "beam_etl.engines.flink", "start", f"--folder={folder}"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as starting:
        wait_until(lambda: len(processes.marked(str(folder))) >= 3)
        starting.send_signal(number)
        _, said = starting.communicate(timeout=60)
    assert starting.returncode == 130
    assert "interrupted" in said
    assert no_trace(folder)


@pytest.mark.slow
def test_a_port_that_was_taken_meanwhile_is_replaced(
    flink_jars: Jars, folder: Path, monkeypatch: pytest.MonkeyPatch, embedded_flink: cluster.Running
) -> None:
    taken = int(embedded_flink.pool.rpartition(":")[2])
    choices = iter([{**settings.choose_ports(), "pool": taken}, settings.choose_ports()])
    monkeypatch.setattr(settings, "choose_ports", lambda: next(choices))
    said: list[str] = []
    started = cluster.start(str(folder), task_managers=0, say=said.append)
    assert "a port was taken meanwhile: trying others" in said
    assert started.pool != embedded_flink.pool


@pytest.mark.slow
def test_a_server_that_others_can_reach_is_noticed_and_ended(
    flink_jars: Jars, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, *others = flink_jars.class_path.split(os.pathsep)
    with zipfile.ZipFile(ours) as jar, zipfile.ZipFile(tmp_path / "bare.jar", "w") as bare:
        for name in jar.namelist():
            if name.startswith("beametl/"):
                bare.writestr(name, jar.read(name))
    unpatched = Jars(flink_jars.java, os.pathsep.join([str(tmp_path / "bare.jar"), *others]))
    monkeypatch.setattr(jars, "install", lambda say: unpatched)
    with pytest.raises(
        ClusterError, match=r"jobserver listens on 0\.0\.0\.0:\d+, which other machines can reach"
    ):
        cluster.start(str(folder), task_managers=0)
    assert no_trace(folder)


@pytest.mark.slow
def test_a_process_that_cannot_start_is_told_by_the_lines_of_its_log(
    flink_jars: Jars, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "METASPACE", 1)
    with pytest.raises(ClusterError) as error:
        cluster.start(str(folder), task_managers=0)
    assert "jobserver ended while it started" in str(error.value)
    assert "OutOfMemoryError: Metaspace" in str(error.value)
    assert no_trace(folder)
