"""What ends the process that reads it, holds it up or takes all memory is rejected, and the rest is read."""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from apache_beam.metrics import Metrics

from beam_etl.child_process import how_it_ended
from beam_etl.io import sandbox, splits, suspects
from beam_etl.io.careful import carefully
from beam_etl.io.changes import CHANGED, lasts
from beam_etl.io.columns import Columns
from beam_etl.io.counting import Counts, counting
from beam_etl.io.files import match_files
from beam_etl.io.formats import FileEntry, Split
from beam_etl.io.formats.base import Limits, limited
from beam_etl.io.isolate import FatalError
from beam_etl.io.read import _plan_splits
from beam_etl.io.rejects import Reject
from beam_etl.io.sandbox import isolated
from beam_etl.io.split_copy import Copying, copy_split
from beam_etl.io.splits import plan_splits, read_split
from beam_etl.io.watched import StuckError, watched
from beam_etl.transforms.metrics import StepMetrics
from tests.faults import LOCAL, FaultReport
from tests.io.deadly import DeadlyLines

KNOWN = limited(DeadlyLines(), Limits(record_seconds=1))

REASONS = {
    "crash": "reading it ends the process (SIGSEGV)",
    "fill": "reading it takes over 2 GiB of memory",
    "hang": "reading it takes over 1 s, which --max_record_seconds allows",
}

DEEDS_TOLD = {
    "crash": "a record ends the process that reads it, which is started again",
    "fill": "a record takes all memory",
    "hang": "reading a record never ends",
}


@pytest.fixture(autouse=True)
def own_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None that others have left."""
    monkeypatch.setattr(suspects, "folder", lambda: tmp_path / "notes")
    monkeypatch.setattr(suspects, "_known", set())
    monkeypatch.setattr(suspects, "_idle", [])


def only_split(path: Path) -> Split:
    (split,) = plan_splits(match_files(str(path))[0], KNOWN, 1 << 20)
    return split


READ = """
import json, sys
from pathlib import Path
from beam_etl.io.changes import CHANGED, lasts
from beam_etl.io.columns import Columns
from beam_etl.io.splits import read_split
from tests.io.test_careful import KNOWN, only_split
for found in read_split(only_split(Path(sys.argv[1])), KNOWN, Columns()):
    if hasattr(found, "reason"):
        print(json.dumps([found.payload.decode(), found.reason, found.position, found.rows, found.digest.hex()]))
    else:
        print(json.dumps(found.column("text").to_pylist()))
"""


@pytest.mark.long
def test_a_process_that_ended_by_what_it_read_tells_the_next_one_which_reads_the_rest(
    tmp_path: Path, faults: FaultReport
) -> None:
    """Always run is tests/pipelines/test_surviving.py, which takes the same way with one deed."""
    deeds = tuple(REASONS)
    path = tmp_path / "a.txt"
    path.write_text("\n".join(f"before {deed}\n{deed}" for deed in deeds))
    first, second = (
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", READ, str(path)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        for _ in range(2)
    )
    assert first.returncode == -signal.SIGSEGV
    assert second.returncode == 0, second.stderr
    *rejects, documents = map(json.loads, second.stdout.splitlines())
    assert documents == [f"before {deed}" for deed in deeds]
    assert {payload: reason for payload, reason, *_ in rejects} == {deed: REASONS[deed] for deed in deeds}
    for payload, _, position, rows, digest in rejects:
        assert position == path.read_text().index(f"\n{payload}") + 1
        assert (rows, digest) == (1, hashlib.sha256(payload.encode()).hexdigest())
        faults.fault(LOCAL, DEEDS_TOLD[payload], 1, f"a reject: {REASONS[payload]}; the rest is read")


def never_done() -> Iterator[int]:
    yield 1
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10_000_000)  # some seconds, without Python's lock
    yield 2


def test_what_takes_too_long_is_left_to_itself() -> None:
    with pytest.raises(StuckError):
        list(watched(never_done, 0.2))


def test_waiting_is_not_taking_long() -> None:
    answered = threading.Event()

    def waiting() -> Iterator[int]:
        answered.wait()
        yield 1

    threading.Timer(1, answered.set).start()
    assert list(watched(waiting, 0.1)) == [1]


def test_items_come_in_order_and_then_what_was_raised() -> None:
    def failing() -> Iterator[int]:
        yield from range(5000)
        raise OSError("no more")

    found: list[int] = []
    with pytest.raises(OSError, match="no more"):
        found.extend(watched(failing, 10))
    assert found == list(range(5000))


def test_who_stops_early_ends_what_makes_the_rest() -> None:
    closed = threading.Event()

    def making() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(1 << 20)
        finally:
            closed.set()

    items = watched(making, 10)
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert closed.wait(10)


SPLIT = Split(FileEntry(0, "a.txt", 7), 0, 7)


def silent(seconds: float) -> Iterator[int]:
    time.sleep(seconds)
    yield 1


@pytest.mark.parametrize("ticks", [itertools.count(), itertools.repeat(0)], ids=["slow", "still"])
def test_a_silent_process_is_still_only_if_it_takes_no_time(
    ticks: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(isolated(partial(iter, [1, 2]), 10)) == [1, 2]
    monkeypatch.setattr(sandbox, "WAITS", 0)
    monkeypatch.setattr(sandbox, "LEAST_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(sandbox._Reader, "_ticks", lambda _: next(ticks))
    if isinstance(ticks, itertools.count):
        assert list(isolated(partial(silent, 0.5), 10)) == [1]
        return
    with pytest.raises(FatalError, match=r"stood still for 0.1 s"):
        list(isolated(partial(silent, 600), 10))


def test_the_time_of_a_process_is_known() -> None:
    reader = sandbox._Reader()
    assert list(reader.items((partial(iter, [1]), {}, 0, 10), 10)) == [1]
    assert reader._ticks() > 0  # it has imported what it needs
    reader.end()
    assert reader._ticks() == 0


def counting_apart(own: int) -> Iterator[int]:
    """Counts what it gives; this process has no memory for the second."""
    counter = Metrics.counter("beam_etl", "given")
    counter.inc()
    yield 1
    if os.getpid() == own:
        raise MemoryError
    counter.inc()
    yield 2


@pytest.mark.parametrize("apart", [False, True])
def test_what_is_counted_is_counted_once_wherever_it_is_read(apart: bool) -> None:
    counts = Counts()
    with counting(counts):
        items = list(carefully(SPLIT, 10, partial(counting_apart, os.getpid() if apart else 0)))
    assert items == [1, 2]
    assert counts == {("beam_etl", "given"): 2, **({("beam_etl", "read_apart"): 1} if apart else {})}


class EndsBehindTwo(DeadlyLines):
    def splits(self, file: FileEntry, split_bytes: int) -> Iterator[Split]:
        yield Split(file, 0, 10, first=0, rows=3)
        yield Split(file, 10, 30, first=3, rows=5)
        raise FatalError("as it says")


@pytest.mark.parametrize("size", [30, 40])
def test_splits_behind_those_that_were_planned_are_a_problem_by_themselves(size: int) -> None:
    planned = list(plan_splits(FileEntry(0, "a.txt", size), EndsBehindTwo(), 10))
    file = planned[0].file
    rest = [Split(file, 30, 40, first=8, problem="as it says", number=2)]
    assert planned[2:] == (rest if size == 40 else [])
    assert [split.number for split in planned[:2]] == [0, 1]


@pytest.mark.parametrize(
    ("taken", "told"),
    [
        (["0-0-0-10", "0-1-10-30"], "as it says"),
        (["0-1-10-30", "0-3-35-40"], f"{CHANGED}: as it says, and"),
        (["1-3-35-40"], "as it says"),
    ],
    ids=["before it", "behind it", "of another file"],
)
def test_what_was_taken_over_is_not_rejected_too(taken: list[str], told: str, tmp_path: Path) -> None:
    """Where it can't be planned any more: then the run as a whole is told why it isn't published."""
    (tmp_path / "a.txt").write_bytes(bytes(40))
    file = FileEntry(0, f"{tmp_path}/a.txt", 40)
    *planned, rest = _plan_splits(file, EndsBehindTwo(), 10, taken)
    assert [split.name for split in planned] == [
        name for name in ("0-0-0-10", "0-1-10-30") if name not in taken
    ]
    assert (rest.start, rest.number) == (30, 2)
    assert rest.problem.startswith(told)


def test_documents_that_were_given_are_not_told_as_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb\nc\n")
    split = only_split(tmp_path / "a.txt")
    given = pa.record_batch({"address": pa.array([0, 2], pa.uint64())})

    def reading() -> Iterator[pa.RecordBatch]:
        yield given
        raise FatalError("as it says")

    first, rest = splits._rejecting_what_ends(split, KNOWN, reading)
    assert first is given
    assert isinstance(rest, Reject)
    assert (rest.position, rest.bytes, rest.reason) == (3, 6, "behind the document at 2: as it says")


def in_another_process(own: int) -> Iterator[pa.RecordBatch | int]:
    """Batches and a number; this process has no memory for the second."""
    batch = pa.record_batch({"n": [0, 1, 2, 3]}, metadata={"from": "here"})
    yield batch.slice(1, 2)
    if os.getpid() == own:
        raise MemoryError
    yield batch
    yield os.getpid()


def test_what_memory_is_not_enough_for_goes_on_in_another_process() -> None:
    part, whole, process = carefully(SPLIT, 10, partial(in_another_process, os.getpid()))
    assert part.to_pydict() == {"n": [1, 2]}
    assert whole.to_pydict() == {"n": [0, 1, 2, 3]}
    assert whole.schema.metadata == {b"from": b"here"}
    assert process != os.getpid()
    assert not suspects.is_suspect(SPLIT)


def raising() -> Iterator[int]:
    yield 1
    raise FileNotFoundError(2, "it is gone")


def ending() -> Iterator[int]:
    yield 1
    os._exit(7)


def killed() -> Iterator[int]:
    yield 1
    os.kill(os.getpid(), signal.SIGKILL)


def test_another_process_raises_what_this_one_would() -> None:
    suspects.add(SPLIT)
    items = carefully(SPLIT, 10, raising)
    assert next(items) == 1
    with pytest.raises(FileNotFoundError) as raised:
        next(items)
    assert raised.value.errno == 2


def test_answers_that_nobody_took_are_not_those_of_the_next_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(content: bytes) -> pa.RecordBatch:
        raise MemoryError

    batches = [pa.RecordBatch.from_pydict({"n": [n]}) for n in range(3)]
    with monkeypatch.context() as patched:
        patched.setattr("beam_etl.io.sandbox.decode", no_memory)
        with pytest.raises(MemoryError):
            list(isolated(partial(iter, batches), 10))
    assert list(isolated(partial(iter, [7, 8]), 10)) == [7, 8]


@pytest.mark.parametrize(("code", "told"), [(3, "exit code 3"), (-11, "SIGSEGV"), (-40, "signal 40")])
def test_an_end_is_told_in_words(code: int, told: str) -> None:
    assert how_it_ended(code) == told


@pytest.mark.parametrize(
    ("make", "how", "may_pass"),
    [(ending, "exit code 7", False), (killed, "SIGKILL", True)],
    ids=["ends", "is killed"],
)
def test_what_ends_processes_at_no_place_that_is_told_is_given_up(
    make: Callable[[], Iterator[int]], how: str, may_pass: bool
) -> None:
    """A process is killed where the machine's memory is short: another run may read what this one couldn't."""
    suspects.add(SPLIT)
    items = carefully(SPLIT, 10, make)
    assert next(items) == 1
    with pytest.raises(FatalError, match=rf"ends the process \({how}\)") as raised:
        next(items)
    assert lasts(str(raised.value)) != may_pass


def test_what_can_be_read_apart_only_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\ncrash\nb")
    split = only_split(tmp_path / "a.txt")
    suspects.add(split)
    copying = Copying(
        known=KNOWN,
        first=Columns(),
        wanted=Columns(),
        stored=KNOWN.schema(str(tmp_path / "a.txt")),
        output=str(tmp_path / "out"),
        run="a" * 12,
        file_digits=1,
        split_digits=1,
    )
    with pytest.raises(ValueError, match="process of their own only"):
        list(copy_split(split, [], copying, StepMetrics()))


def test_notes_are_this_users_own_and_say_nothing_when_nothing_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb")
    split = only_split(tmp_path / "a.txt")
    items = read_split(split, KNOWN, Columns())
    next(items)
    assert suspects.folder().stat().st_mode & 0o777 == 0o700
    assert {note.read_bytes() for note in suspects.folder().iterdir()} == {bytes(32)}
    assert not suspects.is_suspect(split)


def test_a_note_has_its_room_before_anything_stands_there() -> None:
    """Else to put one where the disk is full would end the process."""
    with suspects.note_of(SPLIT):
        [note] = suspects.folder().iterdir()
        assert note.stat().st_blocks


def test_where_the_disk_is_full_nothing_is_noted_and_nothing_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with suspects.note_of(SPLIT):
            pass
    assert not [path for path in open_files() if path.startswith(str(suspects.folder()))]
    assert not list(suspects.folder().iterdir())


def open_files() -> Iterator[str]:
    """What this process has open; others of its threads open and close files meanwhile."""
    for handle in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(f"/proc/self/fd/{handle}")
