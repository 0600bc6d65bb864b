"""Tables that are put down come back as they were, and what a later run may take over is told from their folder."""

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.io.changes import CHANGED
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats import FileEntry, Split
from beam_etl.io.isolate import MAY_PASS
from beam_etl.io.rejects import Reject, reject_batches
from beam_etl.io.spill import (
    RECORD,
    After,
    HandOutSpilled,
    ReadSpilled,
    SpillTables,
    _Spill,
    find_spilled,
    once,
)
from beam_etl.io.spill_files import Spilled, SpillFile, SplitFile, find_splits, read_spilled
from beam_etl.io.stores.local import LocalStore
from beam_etl.io.taken_splits import list_taken
from beam_etl.io.whole_splits import WholeSplits
from tests.beam import run

BATCH_ROWS = 500


def compare(found: list[Spilled], expected: list[Spilled]) -> None:
    assert found == expected


SPLIT_ROWS = 2 * BATCH_ROWS


def documents(file: int, first: int, rows: int = BATCH_ROWS) -> pa.RecordBatch:
    """Documents of a file, from a position on; a split has two batches."""
    positions = [(file << schema.POSITION_BITS) + first + row for row in range(rows)]
    told = {schema.ADDRESS: pa.array(positions, pa.uint64()), schema.TEXT: [f"text {n}" for n in positions]}
    split = str((file << schema.POSITION_BITS) + first // SPLIT_ROWS * SPLIT_ROWS)
    return pa.record_batch(told).replace_schema_metadata(
        {schema.FILE_METADATA: f"{file}.jsonl", schema.SPLIT_METADATA: split}
    )


BATCHES = [documents(file, first) for file in (0, 3) for first in range(0, 4 * BATCH_ROWS, BATCH_ROWS)]
BATCHES_OF_FIVE = [documents(0, first) for first in range(0, 5 * SPLIT_ROWS, BATCH_ROWS)]


def put_down(
    folder: Path,
    spill_bytes: int = 1 << 20,
    batches: Sequence[pa.RecordBatch] = BATCHES,
    after: Path | None = None,
) -> None:
    with run() as pipeline:
        told = pipeline | "Batches" >> beam.Create(batches, reshuffle=False).with_output_types(pa.RecordBatch)
        none = pipeline | "None" >> beam.Create([], reshuffle=False).with_output_types(pa.RecordBatch)
        spilled = {"documents": (told,), "rejects": (none,)} | SpillTables(
            folder=str(folder),
            run="0123456789ab",
            spill_bytes=spill_bytes,
            after=None if after is None else After(str(after)),
        )
        _ = spilled | ReadSpilled(table="documents")


@pytest.mark.parametrize("spill_bytes", [1, 1 << 20], ids=["a stream a batch", "a stream a split"])
def test_streams_hold_neighbouring_documents_of_one_split(spill_bytes: int, tmp_path: Path) -> None:
    put_down(tmp_path / "put", spill_bytes)
    files = sorted(find_spilled(str(tmp_path / "put")).files, key=lambda file: file.first)
    assert len(files) == (len(BATCHES) if spill_bytes == 1 else 4)
    found = [batch for file in files for batch in read_spilled(file)]
    assert found == BATCHES
    assert [batch.schema.metadata for batch in found] == [batch.schema.metadata for batch in BATCHES]
    assert sum(file.rows for file in files) == sum(batch.num_rows for batch in BATCHES)
    assert [file.first for file in files] == [
        next(read_spilled(file))[schema.ADDRESS][0].as_py() for file in files
    ]


@pytest.mark.parametrize("told", [True, False], ids=["splits are told", "splits aren't told"])
def test_splits_that_come_in_any_order_lie_in_streams_with_nothing_between(
    told: bool, tmp_path: Path
) -> None:
    """As workers get them: every other split of a file is another worker's."""
    every_other = [batch for start in (0, 2, 4, 1, 3) for batch in BATCHES_OF_FIVE[2 * start : 2 * start + 2]]
    if not told:
        every_other = [batch.replace_schema_metadata(None) for batch in every_other]
    put_down(tmp_path / "put", batches=every_other)
    files = sorted(find_spilled(str(tmp_path / "put")).files, key=lambda file: file.first)
    assert len(files) == (5 if told else 10)
    addresses = [n for file in files for batch in read_spilled(file) for n in batch["address"].to_pylist()]
    assert addresses == list(range(5 * SPLIT_ROWS))


def test_only_a_whole_and_sound_first_part_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "put"
    assert not find_spilled(str(folder)).files
    put_down(folder)
    [first, *_] = find_spilled(str(folder)).files
    record = (folder / RECORD).read_bytes()
    (folder / RECORD).unlink()
    found = find_spilled(str(folder))
    assert not found.files
    assert "has finished any of it" in found.why
    (folder / RECORD).write_bytes(record)
    content = Path(first.path).read_bytes()
    Path(first.path).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    found = find_spilled(str(folder))
    assert not found.files
    assert found.why == f"{first.path} isn't as it was written (SHA-256)"
    assert find_spilled(str(folder), check=False).files
    Path(first.path).unlink()
    found = find_spilled(str(folder))
    assert not found.files
    assert found.why == f"{first.path} is gone"
    for damaged in (record, record[:-9], b'{"after": "", "streams": [["a"]]}'):
        (folder / RECORD).write_bytes(damaged)
        assert not find_spilled(str(folder)).files
        put_down(folder)
        assert len(find_spilled(str(folder)).files) == 4


def test_a_part_is_taken_over_with_the_part_it_was_made_of_only(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    put_down(second, after=first)
    assert not find_spilled(str(second), after=find_spilled(str(first)).digest).files
    put_down(first)
    put_down(second, after=first)
    assert find_spilled(str(second), after=find_spilled(str(first)).digest).files
    put_down(first)  # into other files
    assert not find_spilled(str(second), after=find_spilled(str(first)).digest).files


def test_a_part_is_not_recorded_where_another_run_recorded_what_it_was_made_of(tmp_path: Path) -> None:
    """An equal run that went on beside: rows are the same, but not the streams that they lie in."""
    folder, run = str(tmp_path), "0123456789ab"
    put_down(tmp_path)
    taken_over = find_spilled(folder).digest
    assert After(folder).digest_for(run) == After(folder, taken_over).digest_for("another") == taken_over
    assert After(folder).digest_for("another") is None
    put_down(tmp_path)
    assert After(folder, taken_over).digest_for(run) is None


def test_a_part_that_is_not_recorded_leaves_no_earlier_record(tmp_path: Path) -> None:
    put_down(tmp_path / "put")
    assert find_spilled(str(tmp_path / "put")).files
    put_down(tmp_path / "put", after=tmp_path / "nowhere")
    assert not find_spilled(str(tmp_path / "put")).files


def of_splits(folder: Path, aside: bool) -> list[Spilled]:
    """Two splits that two threads work on; a step of its own beside the others where it isn't of their stage."""
    splits = [Split(FileEntry(file, f"{file}.jsonl", 9), 0, 9) for file in (0, 1)]
    found: list[Spilled] = []

    def work(split: Split) -> None:
        around = WholeSplits(str(folder))
        steps = [
            _Spill(str(folder), name, 1 << 20, place, 2) for place, name in enumerate(("documents", "counts"))
        ]
        for step in steps[aside:]:
            step.start_bundle()
        with around(split) as shown:
            batch = shown(documents(split.file.number, 0))
            for step in steps[aside:]:
                found.extend(step.process(batch.drop_columns(["address"]) if step is steps[1] else batch))
        for step in steps[aside:]:
            found.extend(windowed.value for windowed in step.finish_bundle())

    for split in splits:
        thread = threading.Thread(target=work, args=(split,))
        thread.start()
        thread.join()
    return found


def test_a_split_that_was_worked_on_twice_counts_once(tmp_path: Path) -> None:
    streams = [*of_splits(tmp_path, aside=False), *of_splits(tmp_path, aside=False)]
    assert len(streams) == 8
    kept = once(streams)
    assert sorted((stream.split, stream.table) for stream in kept) == [
        (split, table) for split in ("0-0-0-9", "1-0-0-9") for table in ("counts", "documents")
    ]
    assert len({stream.path for stream in kept}) == 2
    found = find_splits(str(tmp_path))
    assert {(file.split, file.documents, file.bytes) for file in found.files} == {
        ("0-0-0-9", BATCH_ROWS, 9),
        ("1-0-0-9", BATCH_ROWS, 9),
    }
    assert {stream.path for file in found.files for stream in file.streams} == {
        stream.path for stream in kept
    }


def test_a_split_is_not_whole_where_a_step_is_done_elsewhere(tmp_path: Path) -> None:
    """An engine may cut a stage in two: then what is found in the folder of one must not stand for both."""
    streams = of_splits(tmp_path, aside=True)
    assert [(stream.table, stream.rows, stream.split) for stream in streams] == [
        ("counts", BATCH_ROWS, "")
    ] * 2
    assert not find_splits(str(tmp_path)).files


REJECTED = {
    "changed": (f"{CHANGED}: it is gone", False),
    "killed": (f"reading it ends the process (SIGKILL){MAY_PASS}", False),
    "damaged": ("no text", True),
}


@pytest.mark.parametrize(("reason", "lasts"), REJECTED.values(), ids=REJECTED)
def test_a_split_that_another_run_may_read_otherwise_does_not_last(
    reason: str, lasts: bool, tmp_path: Path
) -> None:
    split = Split(FileEntry(0, "0.jsonl", 9), 0, 9)
    step = _Spill(str(tmp_path), "rejects", 1 << 20, 0, 1)
    step.start_bundle()
    with WholeSplits(str(tmp_path))(split) as shown:
        shown(rejected(reason))
        assert not list(step.process(pa.record_batch({"reason": [reason]})))
    [stream] = [windowed.value for windowed in step.finish_bundle()]
    assert stream.lasts == lasts
    assert bool(find_splits(str(tmp_path)).files) == lasts


def test_a_bundle_that_fails_leaves_no_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a store its upload would stay."""
    left = list[str]()
    releasing = SpillFile.release
    monkeypatch.setattr(SpillFile, "release", lambda file: left.append(file.path) or releasing(file))
    step = _Spill(str(tmp_path), "rejects", 1 << 20, None, 1)
    step.start_bundle()
    assert not list(step.process(pa.record_batch({"reason": ["no text"]})))
    step.teardown()
    assert left == [str(path) for path in tmp_path.iterdir()]


def rejected(reason: str) -> Reject:
    return Reject("0.jsonl", 0, reason, None, 0, bytes(32), b"")


@pytest.mark.parametrize(("reason", "lasts"), REJECTED.values(), ids=REJECTED)
def test_what_another_run_may_read_otherwise_is_not_recorded_where_a_step_is_done_elsewhere(
    reason: str, lasts: bool, tmp_path: Path
) -> None:
    """There nothing but the reject itself tells of it."""
    rejects = list(reject_batches([rejected(reason)]))
    with run() as pipeline:
        told = pipeline | beam.Create(rejects, reshuffle=False).with_output_types(pa.RecordBatch)
        spilled = {"rejects": (told,)} | SpillTables(folder=str(tmp_path / "put"), run="0123456789ab")
        _ = spilled | ReadSpilled(table="rejects")
    assert bool(find_spilled(str(tmp_path / "put")).files) == lasts


def many_splits(folder: Path, number: int) -> list[SplitFile]:
    """As they lie in a folder, each with its own digest."""
    digests = (hashlib.sha256(str(n).encode()).hexdigest() for n in range(number))
    return [
        SplitFile(name, 9, 99, (Spilled("documents", f"{folder}/{name}.arrows", 9, 99, digest, n, 0, name),))
        for n, digest in enumerate(digests)
        for name in (f"{n}-0-0-9",)
    ]


def test_splits_that_are_taken_over_are_a_small_part_of_a_job(tmp_path: Path) -> None:
    """So is a whole part: of millions of splits, too, no list travels with the job or its steps."""
    content = b'{"text": "Some words."}\n'
    (tmp_path / "0.jsonl").write_bytes(content)
    folder = tmp_path / "put"
    splits = many_splits(folder, 2500)
    splits[0] = splits[0]._replace(split=f"0-0-0-{len(content)}")
    taken = list_taken(str(folder), "0123456789ab", splits)
    with run() as pipeline:
        found = FileSource(pipeline, str(tmp_path / "*.jsonl")).documents(skip=taken)
        tables = {"documents": (found.documents,), "rejects": (found.rejects,)}
        _ = tables | SpillTables(folder=str(folder), run="0123456789ab", taken=taken)
    assert len(pipeline.to_runner_api().SerializeToString()) < 100_000
    streams = [stream for file in splits for stream in file.streams]
    assert find_spilled(str(folder), check=False).files == tuple(sorted(streams))
    with run() as pipeline:
        handed = pipeline | HandOutSpilled(folder=str(folder)) | "List" >> beam.combiners.ToList()
        assert len(pipeline.to_runner_api().SerializeToString()) < 100_000
        _ = handed | "Check" >> beam.Map(lambda found: compare(sorted(found), sorted(streams)))


def test_a_file_that_goes_while_it_is_looked_at_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever published meanwhile has removed it."""
    of_splits(tmp_path, aside=False)
    assert len(find_splits(str(tmp_path)).files) == 2
    listed, _ = sorted(tmp_path.glob("split-*"))
    names = LocalStore.names

    def going(store: LocalStore, folder: str) -> list[str]:
        found = names(store, folder)
        listed.unlink()
        return found

    monkeypatch.setattr(LocalStore, "names", going)
    found = find_splits(str(tmp_path))
    assert [file.split for file in found.files] == ["1-0-0-9"]
    assert not found.damaged
