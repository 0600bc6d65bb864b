"""Duplicates of a stream on a real Flink: state, timers and windows there give what plain Python does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster
from beam_etl.engines.flink.jars import Jars
from beam_etl.pipelines.dedup import run
from tests.engines import launching
from tests.engines.faults import kill, wait_for
from tests.engines.streams import control, panes
from tests.pipelines.test_dedup_windows import NEAR, decided, families_of, written
from tests.streams import MINUTE
from tests.transforms.test_dedup_windows import SIZE, number
from tests.windowed_duplicates import decide_windows, near

pytestmark = [pytest.mark.slow, pytest.mark.long]

REMEMBER = ["--window=fixed:10m", "--remember=25m", "--remember_partitions=4"]


@pytest.fixture
def damaged(flink_jars: Jars, tmp_path: Path) -> Iterator[cluster.Running]:
    folder = str(tmp_path / "cluster")
    try:
        yield cluster.start(folder, task_managers=1, slots=2)
    finally:
        cluster.stop(folder)


@pytest.mark.parametrize("disorder", ["0s", "25m"])
def test_a_stream_is_windows_one_after_another(
    disorder: str, flink_cluster: cluster.Running, tmp_path: Path
) -> None:
    rows = families_of(8)
    given = written(tmp_path / "in/a.jsonl", rows).parent
    flags = [f"--input=replay:{given}", f"--output={tmp_path}/out", f"--replay_disorder={disorder}"]
    flags += [*REMEMBER, "--max_disorder=25m"]
    engine = [
        "--runner=flink",
        "--parallelism=2",
        "--shutdown_sources_after_idle_ms=3000",
        *flink_cluster.flags(),
    ]
    assert run([*flags, *engine]) == 0
    expected = decide_windows(rows, near(NEAR), size=SIZE, remember=25 * MINUTE, number=number)
    assert expected.removed
    assert decided(tmp_path / "out") == expected


@pytest.mark.parametrize("lost", ["task manager", "stopped with a savepoint"])
def test_what_is_remembered_is_there_after_a_restore(
    lost: str, damaged: cluster.Running, tmp_path: Path
) -> None:
    rows = sorted(families_of(8), key=lambda row: row["time"])
    windows = sorted({row["time"] // SIZE for row in rows})
    parts = [
        [row for row in rows if (row["time"] // SIZE in windows[:4]) == first] for first in (True, False)
    ]
    given, output = tmp_path / "in", tmp_path / "out"
    flags = [f"--input=watch:{given}/*.jsonl", f"--output={output}", *REMEMBER, "--max_disorder=0s"]
    flags += ["--idle_after=never", "--stream_splits=1", "--watch_ready=.done", "--watch_poll=500ms"]
    flags += ["--checkpointing_interval=1000", *launching.on(damaged, 2)]

    def published(window: int) -> None:
        end = (window + 1) * SIZE
        wait_for(f"window {window}", lambda: any(pane["end"] == end for pane in panes(output)) or None)

    Path(f"{written(given / 'a.jsonl', parts[0])}.done").touch()
    launched = launching.launch("dedup", flags, tmp_path / "first.log")
    published(windows[2])
    if lost == "task manager":
        kill(damaged.process("taskmanager-1").pid)
        cluster.restart(damaged.folder, "taskmanager-1")
    else:
        savepoint = control(damaged, "savepoint", "--stop=true", job="dedup")
        launched.succeed()
        again = [*flags, f"--savepoint_path={savepoint}"]
        launched = launching.launch("dedup", again, tmp_path / "again.log")
    Path(f"{written(given / 'b.jsonl', parts[1])}.done").touch()
    published(windows[-2])
    control(damaged, "drain", job="dedup")
    launched.succeed()
    expected = decide_windows(rows, near(NEAR), size=SIZE, remember=25 * MINUTE, number=number)
    assert expected.removed
    assert decided(output) == expected
