"""Jobs that are killed at any step, and outputs that can't be written: a reader sees one version whole, or nothing."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest
from beam_etl.pipelines import clean, token_count, verify
from tests.engines.digests import contents
from tests.engines.fragile import mount, unmount
from tests.faults import EQUAL, LOCAL, NEW, NOTHING, OLD, FaultReport
from tests.stored import documents, json_lines

REPOSITORY = Path(__file__).parents[1]
CREATE, REPLACE = "token_count, a new dataset", "token_count, in place of a version"


@dataclass(frozen=True)
class Step:
    """Where a process kills itself: at a call of a function, the n-th with such a text among its arguments."""

    module: str
    function: str
    text: str = ""
    call: int = 0
    after: bool = False
    published: bool = False
    """Whether the commit has been made by then."""

    @property
    def place(self) -> tuple[str, str, str, int, bool]:
        return self.module, self.function, self.text, self.call, self.after


STEPS = {
    "before it reads": Step("beam_etl.io.splits", "open_split"),
    "while it reads": Step("beam_etl.io.splits", "to_documents", call=2),
    "before its first file": Step("beam_etl.io.data_files", "OpenFile.__init__"),
    "while it writes": Step("beam_etl.io.data_files", "HashedFile.write", call=3),
    "when a file is finished": Step("beam_etl.io.data_files", "OpenFile.close", after=True),
    "before the attempt is chosen": Step("beam_etl.io.durable", "create_if_absent", "outcome.json"),
    "when the attempt is chosen": Step("beam_etl.io.durable", "create_if_absent", "outcome.json", after=True),
    "before the first file is moved": Step("os", "rename", "/_staging/"),
    "between two files that are moved": Step("os", "rename", "/_staging/", call=2),
    "before the manifest": Step("beam_etl.io.publishing", "publish"),
    "when the manifest is there": Step("os", "link", "/_manifests/", after=True, published=True),
    "before the rest goes": Step("beam_etl.io.staging", "remove_staging", published=True),
    "while the rest goes": Step("beam_etl.io.staging", "remove_staging", after=True, published=True),
}
WITH_ONE_THAT_IS_REPLACED = {
    "while replaced files go": Step("beam_etl.io.versions", "remove_replaced", published=True),
}


class Jobs:
    """Starts jobs as processes of their own; see tests/killed_jobs.py."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "tests.killed_jobs"]
        self._process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def start(self, flags: Sequence[str], step: Step | None = None) -> int:
        """The id of the process of a job, which kills itself at a step."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([flags, None if step is None else step.place]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def code(self) -> int:
        """The exit code of the job that was started last, below 0 for a signal."""
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    started = Jobs()
    yield started
    started.end()


def rows_of(dataset: Path) -> str:
    """A digest of what somebody reads who goes by the manifest; NOTHING where there is none."""
    current = manifest.latest(str(dataset))
    if current is None:
        return NOTHING
    rows = []
    for file in current.files:
        # `read_table` returns while a thread of Arrow's may still hold the file, and then a disk can't be unmounted
        with pq.ParquetFile(dataset / file.path) as stored:
            read = stored.read(use_threads=False).to_pylist()
        rows += [json.dumps([file.table, row], default=str, sort_keys=True) for row in read]
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


class World:
    """An old version of a dataset, and a job that makes a new one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started = 0
        rows = documents(400)
        for name, some in (("old", rows[:100]), ("new", rows[50:])):
            (folder / name).mkdir()
            for number in range(4):
                (folder / name / f"{number}.jsonl").write_bytes(json_lines(some[number::4]))
            assert token_count.run(self.flags(folder / f"{name} version", name)) == 0
        self.expected = contents(folder / "new version")
        self._names = {
            NOTHING: NOTHING,
            rows_of(folder / "old version"): OLD,
            rows_of(folder / "new version"): NEW,
        }

    def flags(self, output: Path, source: str = "new") -> list[str]:
        by = ["--by=language", "--documents=true", "--overwrite=true", "--direct_num_workers=1"]
        return [f"--input={self.folder / source}", f"--output={output}", *by]

    def start(self, job: str) -> Path:
        """A dataset for a job."""
        self._started += 1
        output = self.folder / f"dataset {self._started}"
        if job == REPLACE:
            shutil.copytree(self.folder / "old version", output)
        return output

    def saw(self, output: Path) -> str:
        return self._names[rows_of(output)]

    def recover(self, output: Path) -> tuple[str, int]:
        """EQUAL after another run, and how many files `clean` removes before that."""
        before = files_of(output)
        if manifest.latest(str(output)) is not None:
            assert clean.run([str(output), "--idle_hours=0"]) == 0
        removed = before - files_of(output)
        assert token_count.run(self.flags(output)) == 0
        assert contents(output) == self.expected
        assert verify.run([str(output)]) == 0
        return EQUAL, removed


def files_of(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("killed"))


CASES = [
    *((CREATE, name, step) for name, step in STEPS.items()),
    *((REPLACE, name, step) for name, step in (STEPS | WITH_ONE_THAT_IS_REPLACED).items()),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "when", "step"),
    [
        pytest.param(
            *case,
            id=f"{case[1]}, {case[0]}",
            marks=() if case[:2] == (REPLACE, "between two files that are moved") else pytest.mark.long,
        )
        for case in CASES
    ],
)
def test_a_job_that_is_killed_at_a_step_has_published_all_or_nothing(
    job: str, when: str, step: Step, world: World, jobs: Jobs, faults: FaultReport
) -> None:
    output = world.start(job)
    jobs.start(world.flags(output), step)
    assert jobs.code() == -signal.SIGKILL
    saw = world.saw(output)
    assert saw == (NEW if step.published else OLD if job == REPLACE else NOTHING)
    again, removed = world.recover(output)
    faults.kill(LOCAL, job, when, saw, again, removed)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("job", [CREATE, REPLACE])
def test_a_job_that_is_killed_at_any_moment_has_published_all_or_nothing(
    job: str, world: World, jobs: Jobs, faults: FaultReport
) -> None:
    start = time.monotonic()
    jobs.start(world.flags(world.start(job)))
    assert jobs.code() == 0
    whole = time.monotonic() - start
    for seed in range(50):
        output = world.start(job)
        process = jobs.start(world.flags(output))
        time.sleep(random.Random(f"{seed} {job}").random() * whole)
        with contextlib.suppress(ProcessLookupError):  # it has ended just now
            os.kill(process, signal.SIGKILL)
        assert jobs.code() in (0, -signal.SIGKILL)
        saw = world.saw(output)
        assert saw in (NEW, OLD if job == REPLACE else NOTHING)
        again, removed = world.recover(output)
        faults.moment(LOCAL, job, saw, again, removed)


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A small filesystem of its own."""
    if reason := mount(folder, size):
        pytest.skip(f"no small disk: {reason}")
    try:
        yield folder
    finally:
        unmount(folder)


@pytest.mark.slow
@pytest.mark.parametrize("job", [CREATE, REPLACE])
def test_a_disk_that_fills_fails_the_job_and_leaves_what_was_there(
    job: str, world: World, faults: FaultReport, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    noise = random.Random(1)
    rows = [{"text": noise.randbytes(50_000).hex(), "lang": "en"} for _ in range(20)]
    (tmp_path / "in/a.jsonl").write_bytes(json_lines(rows))
    with mounted(tmp_path / "disk", "600k") as disk:
        output = disk / "out"
        if job == REPLACE:
            shutil.copytree(world.folder / "old version", output)
        before = files_of(output)
        flags = [*world.flags(output), f"--input={tmp_path}/in", "--by=language"]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "beam_etl.pipelines.token_count", *flags],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        told = done.stderr
        assert done.returncode == 1, told
        assert "No space left on device" in told
        assert "nothing was published" in told
        saw = world.saw(output)
        assert saw == (OLD if job == REPLACE else NOTHING)
        assert files_of(output) == before
    faults.fault(LOCAL, f"the disk fills ({job})", 1, f"exit code 1, no space left on device; {saw}")


@pytest.mark.slow
def test_an_output_that_is_read_only_is_told_before_the_job(
    world: World, faults: FaultReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path / "disk", "8m") as disk:
        shutil.copytree(world.folder / "old version", disk / "out")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert token_count.run(world.flags(disk / "out")) == 2
        told = capsys.readouterr().err
        assert "Read-only file system" in told
        assert "Traceback" not in told
        assert world.saw(disk / "out") == OLD
    faults.fault(LOCAL, "the output is read-only", 1, f"exit code 2 before the job; {OLD}")
