"""A real cluster: nothing open to other machines, nothing left of it, repaired when a process of it is lost."""

import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster, jars, processes, settings
from beam_etl.engines.flink.jars import Jars
from beam_etl.engines.flink.record import ClusterError
from beam_etl.engines.flink.rest import FlinkRest
from beam_etl.io import manifest
from tests.datasets import read_report
from tests.engines.clusters import command, kill, no_trace, wait_until

pytestmark = pytest.mark.slow


def watch(found: cluster.Running, seen: set[tuple[str, int]], done: threading.Event) -> None:
    """Collects what the processes of a cluster and their children listen on."""
    while not done.is_set():
        for pid in processes.marked(found.folder):
            seen.update(processes.listening(pid))
        time.sleep(0.5)


@pytest.mark.parametrize("kind", ["flink_cluster", pytest.param("embedded_flink", marks=pytest.mark.long)])
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
        ran = command("run", f"--folder={found.folder}", "token_count", *files)
    finally:
        done.set()
        watcher.join()
    assert ran.returncode == 0, ran.stderr
    assert [address for address, _ in seen if not processes.is_loopback(address)] == []
    assert len({port for _, port in seen} - idle) >= 5, "Beam's servers of the job were not seen"
    _check_report(tmp_path / "out")


def _check_report(output: Path) -> None:
    """The report of the job has what its workers counted."""
    found = manifest.latest(str(output))
    assert found is not None
    told = read_report(str(output), 1, found.run)
    stages = {stage["label"]: stage for stage in told["stages"]}
    assert stages["Count tokens/Count/Map/ParDo(_Map)"]["seconds"] > 0
    assert stages["Count tokens/Count/Map/ParDo(_Map)"]["rows_in"] == 2
    (shuffle,) = told["shuffles"]
    assert (shuffle["label"], shuffle["rows"] > 0) == ("Count tokens/Sum/Shuffle", True)
    assert shuffle["seconds"]["encoding"] > 0
    assert shuffle["seconds"]["merging"] > 0
    assert told["slowest"] in stages


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


def test_status_shows_every_process_the_slots_and_the_ports(flink_cluster: cluster.Running) -> None:
    rest = FlinkRest(flink_cluster.rest)  # a job that has just ended gives its slots back a moment later
    wait_until(lambda: rest.overview().free_slots == 4)
    shown = command("status", f"--folder={flink_cluster.folder}")
    assert shown.returncode == 0
    rows = {line.split()[0]: line.split() for line in shown.stdout.splitlines()[1:]}
    for process in flink_cluster.processes:
        _, pid, megabytes, _, *ports = rows[process.name]
        assert int(pid) == process.pid
        assert 50 < int(megabytes) < 2000
        assert ports
    assert flink_cluster.rest.rpartition(":")[2] in rows["jobmanager"]
    assert "2 of 2 task managers, 0 of 4 slots in use" in shown.stdout


def test_starting_what_runs_says_so_and_other_settings_are_refused(flink_cluster: cluster.Running) -> None:
    again = command("start", f"--folder={flink_cluster.folder}")
    assert again.returncode == 0
    assert "runs already: 2 task managers of 2 slots" in again.stderr
    assert flink_cluster.rest in again.stdout
    other = command("start", f"--folder={flink_cluster.folder}", "--slots=3")
    assert other.returncode == 1
    assert "a cluster with other settings runs" in other.stderr


def test_a_cluster_for_one_job_goes_with_it_and_the_exit_code_is_the_jobs(
    flink_jars: Jars, folder: Path, tmp_path: Path
) -> None:
    flags = [f"--input={tmp_path / 'nothing.jsonl'}", f"--output={tmp_path / 'out'}"]
    alone = [sys.executable, "-m", "beam_etl.pipelines.token_count", *flags]
    code = subprocess.run(alone, capture_output=True, check=False).returncode
    ran = command("run", f"--folder={folder}", "--task_managers=0", "token_count", *flags)
    assert code != 0
    assert ran.returncode == code
    assert "jobserver is up" in ran.stderr
    assert "nothing.jsonl" in ran.stderr
    assert no_trace(folder)


def test_a_killed_process_is_seen_and_started_again(flink_jars: Jars, folder: Path) -> None:
    started = cluster.start(str(folder), task_managers=1)
    kill(started.process("taskmanager-1"))
    shown = command("status", f"--folder={folder}")
    assert shown.returncode == 1
    assert "ended: taskmanager-1" in shown.stdout
    assert cluster.running(str(folder)) == started
    repaired = cluster.restart(str(folder), "taskmanager-1")
    assert repaired.process("taskmanager-1").alive()
    wait_until(lambda: command("status", f"--folder={folder}").returncode == 0)
    with pytest.raises(ClusterError, match="no taskmanager-2 .* there is: jobmanager, taskmanager-1"):
        cluster.restart(str(folder), "taskmanager-2")
    assert command("stop", f"--folder={folder}").returncode == 0
    assert not any(process.alive() for process in repaired.processes)
    assert no_trace(folder)


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


def test_a_process_that_cannot_start_is_told_by_the_lines_of_its_log(
    flink_jars: Jars, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "EMBEDDED_METASPACE", 1)
    with pytest.raises(ClusterError) as error:
        cluster.start(str(folder), task_managers=0)
    assert "jobserver ended while it started" in str(error.value)
    assert "OutOfMemoryError: Metaspace" in str(error.value)
    assert no_trace(folder)
