"""A job on a stream, as a person launches and stops it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest, panes, staging
from beam_etl.pipelines import sort, stream_job, token_count
from beam_etl.pipelines.job import Job
from beam_etl.pipelines.runners import make_options

ROWS = 300
START = np.datetime64("2026-01-01T00:00:00", "us")
WINDOW = "--window=fixed:10m"
STREAM = "5c5c5c5c5c5c"


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 documents over half an hour."""
    folder = tmp_path_factory.mktemp("documents")
    times = START + np.sort(np.random.default_rng(1).integers(0, 30 * 60 * 10**6, ROWS))
    columns = {
        "id": np.arange(ROWS).astype(str),
        "language": ["en"] * ROWS,
        "time": pa.array(times),
        "text": ["a word"] * ROWS,
    }
    pq.write_table(pa.table(columns), folder / "a.parquet")
    return folder


def launch(documents: Path, output: Path, *flags: str, job: Job = token_count.JOB) -> int:
    given = [f"--input=replay:{documents}", f"--output={output}", "--runner=BundleBasedDirectRunner"]
    return job.run([*given, *flags])


def test_a_stream_tells_its_panes_and_in_the_end_how_late_rows_were(
    documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(documents, tmp_path / "out", WINDOW) == 0
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("window")]
    assert lines == [
        f"window 2026-01-01T00:{ten}0:00Z to 2026-01-01T00:{ten + 1}0:00Z, on time (pane 0): counts 1, "
        f"rejects 0, totals 1; version {ten + 2}"
        for ten in range(3)
    ]
    assert f"rows in windows: {ROWS} on time, 0 late, 0 too late" in told.out
    assert "disorder: 0 of 300 rows came after a later one" in told.out
    assert (
        "published: 3 windows from 2026-01-01T00:00:00Z to 2026-01-01T00:30:00Z: counts 3, totals 3"
        in told.out
    )
    arrived = pq.read_table(tmp_path / "out/arrivals", partitioning=None).group_by("window_start")
    times = pq.read_table(documents / "a.parquet")["time"].to_numpy()
    expected = np.bincount((times - START) // np.timedelta64(10, "m"))
    assert (
        arrived.aggregate([("on_time", "sum")]).sort_by("window_start")["on_time_sum"].to_pylist()
        == expected.tolist()
    )
    head = manifest.latest(str(tmp_path / "out"))
    assert head is not None
    assert not os.path.exists(staging.staging_folder(str(tmp_path / "out"), next(iter(head.streams))))


REFUSED: dict[str, tuple[Job, Sequence[str], str]] = {
    "no windows": (token_count.JOB, (), "--window=fixed:10m"),
    "replacing": (token_count.JOB, (WINDOW, "--overwrite=true"), "--overwrite=true is for input that ends"),
    "strict": (token_count.JOB, (WINDOW, "--strict=true"), "--strict=true is for input that ends"),
    "an object store, and Flink's checkpoints": (
        token_count.JOB,
        (WINDOW, "--output=s3://bucket/out", "--runner=flink"),
        "lie beside its panes",
    ),
    "a job on what ends": (sort.JOB, ("--by=id",), "takes no stream"),
    "going on where nothing is": (
        token_count.JOB,
        (WINDOW, "--savepoint_path=file:/s/_staging/5c5c5c5c5c5c/savepoints/savepoint-1"),
        "a savepoint of a stream 5c5c5c5c5c5c can't go on here",
    ),
}


@pytest.mark.parametrize(("job", "flags", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_a_stream_can_not_be_asked_is_refused(
    job: Job,
    flags: Sequence[str],
    reason: str,
    documents: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert launch(documents, tmp_path / "out", *flags, job=job) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_dataset_that_is_there_is_left_alone(
    documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert token_count.run([f"--input={documents}", f"--output={tmp_path / 'out'}"]) == 0
    assert launch(documents, tmp_path / "out", WINDOW) == 2
    assert "is a dataset already" in capsys.readouterr().err
    assert manifest.numbers(str(tmp_path / "out")) == [1]


def test_the_plan_of_a_stream_writes_nothing(
    documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(documents, tmp_path / "out", WINDOW, "--plan") == 0
    assert "Count tokens" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def catches(process: int, number: signal.Signals) -> bool:
    """Whether a process handles a signal, as Linux tells it."""
    told = Path(f"/proc/{process}/status").read_text().split("SigCgt:")[1].split()[0]
    return bool(int(told, 16) >> (number - 1) & 1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_stops_a_stream_and_what_is_published_is_told(
    number: signal.Signals, documents: Path, tmp_path: Path
) -> None:
    """With few rows a second the replay would take hours."""
    line = [
        *(sys.executable, "-m", "beam_etl.pipelines.token_count", "--runner=BundleBasedDirectRunner", WINDOW),
        *(f"--input=replay:{documents}", f"--output={tmp_path / 'out'}", "--replay_speed=0.2"),
    ]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as launched:
        deadline = time.monotonic() + 120
        while not catches(launched.pid, signal.SIGTERM):  # as it does while the stream runs
            assert launched.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert manifest.numbers(str(tmp_path / "out")) == [1]
        launched.send_signal(number)
        _, told = launched.communicate(timeout=60)
    assert launched.returncode == 128 + number
    assert "no pane is published" in told
    assert not (tmp_path / "out" / "_staging").exists()


def restarted(documents: Path, output: Path, *more: str) -> int:
    """Of a stream whose sources were told to end, with a Flink where none answers."""
    panes.register(str(output), STREAM, "token_count", {})
    folder = Path(staging.staging_folder(str(output), STREAM))
    for mark in ("end", "drained"):
        (folder / mark).touch()
    os.utime(manifest.manifest_path(str(output), 1), (0, 0))
    savepoint = f"--savepoint_path=file:{folder}/savepoints/savepoint-1"
    return launch(documents, output, WINDOW, savepoint, "--runner=flink", *more)


def test_a_restart_forgets_what_told_the_stream_to_end_and_keeps_what_it_has_published(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--streaming", "--job_name=job", "--flink_master=127.0.0.1:1"]
    monkeypatch.setattr(stream_job, "make_options", lambda *_: make_options("flink", flags))
    assert restarted(documents, tmp_path) == 1
    assert not {"end", "drained"} & set(os.listdir(staging.staging_folder(str(tmp_path), STREAM)))
    assert os.path.getmtime(manifest.manifest_path(str(tmp_path), 1)) > 0


def test_the_plan_of_a_restart_leaves_the_stream_alone(documents: Path, tmp_path: Path) -> None:
    assert restarted(documents, tmp_path, "--plan") == 0
    assert {"end", "drained"} <= set(os.listdir(staging.staging_folder(str(tmp_path), STREAM)))


def test_a_savepoint_is_for_flink_only(
    documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restarted(documents, tmp_path, "--runner=BundleBasedDirectRunner") == 2
    assert "savepoints are Flink's" in capsys.readouterr().err


def test_a_job_that_takes_the_place_of_one_publishes_as_that_one(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panes.register(str(tmp_path), STREAM, "token_count", {})
    monkeypatch.setattr(stream_job, "_updates", lambda *_: True)
    assert launch(documents, tmp_path, WINDOW) == 0
    head = manifest.latest(str(tmp_path))
    assert head is not None
    assert {file.pane.stream for file in head.table("counts") if file.pane} == {STREAM}
    assert head.streams[STREAM][panes.LAUNCH] == STREAM
