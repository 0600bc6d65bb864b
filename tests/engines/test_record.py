"""The folder of a cluster: what is taken for one, what is never touched, and what a damaged record leads to."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster, processes, record, settings
from beam_etl.engines.flink.record import ClusterError, Record
from beam_etl.engines.flink.settings import Plan

DAMAGED = {
    "cut off": '{"plan": {',
    "no record": "[]",
    "of another version": '{"plan": {"folder": "x"}, "processes": [], "ready": true}',
}


def test_folders_that_are_called_like_a_clusters_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "thesis.txt").write_text("years of work")
    for act in (cluster.start, cluster.stop, cluster.running):
        with pytest.raises(ClusterError, match="holds other files"):
            act(str(tmp_path))
    assert (tmp_path / "log" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_record_that_cannot_be_read_is_told_and_its_folder_stays(text: str, tmp_path: Path) -> None:
    (tmp_path / record.FILE).write_text(text)
    for act in (cluster.start, cluster.stop, cluster.running):
        with pytest.raises(ClusterError, match=r"cluster\.json is damaged, or .* remove the folder"):
            act(str(tmp_path))
    assert (tmp_path / record.FILE).read_text() == text


def test_processes_with_a_damaged_record_are_ended(tmp_path: Path) -> None:
    plan = Plan(str(tmp_path / "cluster"), 0, 1, 1 << 30, False, settings.choose_ports())
    settings.write_files(plan)
    record.write(Record(plan, ()))
    process = processes.spawn(
        "pool", ["/bin/sleep", "600"], plan.path("log/pool.log"), settings.environment(plan)
    )
    plan.path(record.FILE).write_text("{")
    assert cluster.stop(plan.folder)
    assert not process.alive()
    assert not plan.path().exists()


def test_others_cannot_look_into_a_folder_that_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    with record.locked(str(folder), print):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_process_is_known_in_another_time_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("ps"):
        pytest.skip("no ps here")
    monkeypatch.setattr(processes, "_PROC", tmp_path / "no proc, as on macOS")
    born = []
    for zone in ("Asia/Tokyo", "America/New_York"):
        monkeypatch.setenv("TZ", zone)
        born.append(processes.birth(os.getpid()))
    assert born[0]
    assert born[0] == born[1]
