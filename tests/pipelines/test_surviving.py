"""A job in process outlives what ends a process: the record that did it is rejected, and all others are there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from beam_etl.pipelines import curate, job
from tests.faults import LOCAL, FaultReport

REPOSITORY = Path(__file__).parents[2]

JOB = """
import sys
from beam_etl.io import formats
from tests.io.deadly import DeadlyLines
formats._BY_NAME["text"] = DeadlyLines()
from beam_etl.pipelines import token_count
sys.exit(token_count.run())
"""


def launched(script: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *flags],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_job_that_meets_a_deadly_record_rejects_it(tmp_path: Path, faults: FaultReport) -> None:
    (tmp_path / "in").mkdir()
    for name, lines in {"a": "one\ncrash\ntwo", "b": "three\nfour"}.items():
        (tmp_path / "in" / f"{name}.txt").write_text(lines)
    flags = ("--format=text", "--by=file", "--max_reject_fraction=1", "--tokenizer=words")
    done = launched(JOB, tmp_path, f"--input={tmp_path}/in/*.txt", f"--output={tmp_path}/out", *flags)
    assert done.returncode == 0, done.stderr
    assert "ended by SIGSEGV while it read. The job starts again" in done.stderr
    tables: dict[str, Any] = {
        name: ds.dataset(str(tmp_path / "out" / name), format="parquet").to_table().to_pylist()
        for name in ("counts", "rejects")
    }
    counts = {Path(row["file"]).name: row["documents"] for row in tables["counts"] if row["file"]}
    assert counts == {"a.txt": 2, "b.txt": 2}
    told = {(Path(row["file"]).name, row["position"], row["payload"]) for row in tables["rejects"]}
    assert told == {("a.txt", 4, b"crash")}
    assert {row["reason"] for row in tables["rejects"]} == {"reading it ends the process (SIGSEGV)"}
    assert not list((tmp_path / "out").glob("_staging/*"))
    faults.fault(
        LOCAL, "a record ends the process of a job, launched once", 1, "a reject; the same job reads the rest"
    )


@pytest.mark.parametrize("own", [True, False], ids=["launched by its command", "called by a program"])
def test_curate_outlives_such_a_record_too(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its flags come from a file besides: those of the process are its own all the same."""
    (tmp_path / "in.txt").write_text("one")
    (tmp_path / "steps.toml").write_text(f'input = ["{tmp_path}/in.txt"]\nformat = "text"\n[tokens]\n')
    flags = [f"--config={tmp_path}/steps.toml", f"--output={tmp_path}/out"]
    monkeypatch.setattr(sys, "argv", ["curate", *flags])
    apart = list[str]()
    monkeypatch.setattr(job, "surviving", lambda work, name: apart.append(name) or 0)
    monkeypatch.setattr(job.Job, "_launch", lambda *launched: 0)
    assert curate.run(None if own else flags) == 0
    assert apart == (["curate"] if own else [])


CASES = """
import atexit, json, os, pty, signal, sys, threading, time
from pathlib import Path
from beam_etl.io import suspects
from beam_etl.io.formats import FileEntry, Split
from beam_etl.pipelines.surviving import MOST_STARTS, surviving

folder = Path(sys.argv[1])

def reading_and(signal_number):
    # Each start reads something else, as if all of it were deadly.
    with open(folder / "starts", "a") as starts:
        starts.write("x")
    number = (folder / "starts").stat().st_size
    with suspects.note_of(Split(FileEntry(0, f"{signal_number} {number}.txt", 7), 0, 7)) as note:
        note.put()
        os.kill(os.getpid(), signal_number)

def told(signal_number):
    def tell(number, frame):
        with open(folder / "signals", "a") as signals:
            signals.write(f"{number} ")
    signal.signal(signal_number, tell)
    (folder / "child").write_text(str(os.getpid()))
    while not (folder / "signals").exists():
        time.sleep(0.01)
    time.sleep(0.3)
    return len((folder / "signals").read_text().split())

def at_a_terminal():
    # A process with a terminal of its own, where somebody presses Ctrl-C.
    (folder / "child").unlink(missing_ok=True)
    (folder / "signals").unlink(missing_ok=True)
    process, terminal = pty.fork()
    if not process:
        os._exit(surviving(lambda: told(signal.SIGINT), "job"))
    while not (folder / "child").exists() or not (folder / "child").read_text():
        time.sleep(0.01)
    os.write(terminal, b"\\x03")
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

def interrupted_at_its_end():
    # Ctrl-C while threads of the work are waited for.
    def interrupt():
        while sys._current_frames()[threading.main_thread().ident].f_code.co_name != "_shutdown":
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    threading.Thread(target=interrupt).start()
    atexit.register((folder / "left").write_text, "by the work")
    print("said by the work")
    return 3

def crash_beside_another():
    # Another process of this user has ended while it read, meanwhile.
    other = os.fork()
    if not other:
        reading_and(signal.SIGSEGV)
    os.waitpid(other, 0)
    crash()

def crash():
    os.kill(os.getpid(), signal.SIGSEGV)

def wait():
    (folder / "child").write_text(str(os.getpid()))
    time.sleep(60)

def ended(work, sent=None):
    (folder / "child").unlink(missing_ok=True)
    process = os.fork()
    if not process:
        os._exit(surviving(work, "job"))
    if sent is not None:
        while not (folder / "child").exists() or not (folder / "child").read_text():
            time.sleep(0.01)
        os.kill(process, sent)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if sent is None:
        return code
    for _ in range(500):
        child = Path("/proc") / (folder / "child").read_text()
        if not child.exists() or ") Z" in (child / "stat").read_text():
            return code
        time.sleep(0.01)
    return "the child lives"

outcomes = {
    "an exit code": ended(lambda: 3),
    "a crash of no reader": ended(crash),
    "killed while it read": ended(lambda: reading_and(signal.SIGKILL)),
    "terminated": ended(wait, signal.SIGTERM),
    "interrupted by a program": ended(lambda: told(signal.SIGINT), signal.SIGINT),
    "interrupted at a terminal": at_a_terminal(),
    "interrupted at its end": ended(interrupted_at_its_end),
    "left": (folder / "left").read_text(),
    "the first one is killed": ended(wait, signal.SIGKILL),
}
(folder / "starts").unlink()
outcomes["a crash beside another job's"] = ended(crash_beside_another)
outcomes["starts beside another job"] = (folder / "starts").stat().st_size
(folder / "starts").unlink()
outcomes["crashes without end"] = ended(lambda: reading_and(signal.SIGABRT))
outcomes["starts"] = (folder / "starts").stat().st_size == MOST_STARTS
print(json.dumps(outcomes))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a process ends with its parent on Linux alone")
def test_how_the_work_ended_is_how_the_process_does(tmp_path: Path) -> None:
    done = launched(CASES, tmp_path, str(tmp_path))
    assert done.returncode == 0, done.stderr
    said, outcomes = done.stdout.splitlines()
    assert said == "said by the work"
    assert json.loads(outcomes) == {
        "an exit code": 3,
        "a crash of no reader": -signal.SIGSEGV,
        "killed while it read": -signal.SIGKILL,
        "a crash beside another job's": -signal.SIGSEGV,
        "starts beside another job": 1,
        "terminated": -signal.SIGTERM,
        "interrupted by a program": 1,
        "interrupted at a terminal": 1,
        "interrupted at its end": 3,
        "left": "by the work",
        "the first one is killed": -signal.SIGKILL,
        "crashes without end": -signal.SIGABRT,
        "starts": True,
    }
