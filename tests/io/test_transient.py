"""Errors of reading and writing that pass are tried again: the same rows come out, once each, and tries are counted."""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest

from beam_etl import WriteDataset
from beam_etl.io import transient
from beam_etl.io.formats import avro, jsonl, lines, parquet
from beam_etl.io.read import ReadDocuments
from beam_etl.io.stores import local
from beam_etl.io.transient import TRIES, retried
from beam_etl.pipelines.verify import verify
from beam_etl.transforms.metrics import totals
from tests.beam import counters, run
from tests.stored import KEPT, STORED, documents, keep, write

ROWS = documents(3000)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transient, "FIRST_SECONDS", 0)


class Flaky:
    """A file some of whose reads fail, as a network filesystem's do."""

    reads = 0

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        Flaky.reads += 1
        if Flaky.reads in (1, 3, 4):
            raise OSError(errno.ESTALE, "Stale file handle")
        return bytes(self._file.read(size))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "Flaky":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.mark.parametrize("stored", STORED[1:], ids=[found.name for found in STORED[1:]])
def test_a_transient_error_costs_no_row_and_repeats_none(
    stored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, stored.name, stored.encode(ROWS))
    read = ReadDocuments(patterns=str(path))
    open_file = lines.Stream.__init__.__globals__["open_file"]
    for module in (avro, jsonl, parquet):
        monkeypatch.setattr(module, "open_file", lambda name: Flaky(open_file(name)), raising=False)
    monkeypatch.setitem(lines.Stream.__init__.__globals__, "open_file", lambda name: Flaky(open_file(name)))
    KEPT.clear()
    pipeline = run()
    found = pipeline | read
    _ = found.documents | beam.Map(keep, "documents")
    _ = found.rejects | "Rejects" >> beam.Map(keep, "rejects")
    Flaky.reads = 0
    counted = counters(pipeline, "ReadDocuments")
    texts = [row["text"] for batch in KEPT["documents"] for row in batch.to_pylist()]
    assert texts == [row["text"] for row in ROWS]
    assert not KEPT["rejects"]
    assert counted["reads_retried"] > 0


def failing(times: int, error: OSError) -> Any:
    """What gives 0 to 9, but fails so often after each third item."""
    left = dict.fromkeys(range(0, 10, 3), times)

    def items() -> Iterator[int]:
        for item in range(10):
            if left.get(item, 0):
                left[item] -= 1
                raise error
            yield item

    return items


def test_what_passes_in_time_is_not_seen() -> None:
    assert list(retried(failing(TRIES - 1, OSError(errno.EIO, "")))) == list(range(10))


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_does_not_pass_is_raised(number: int) -> None:
    with pytest.raises(OSError, match="forever") as raised:
        list(retried(failing(1000, OSError(number, "forever"))))
    assert raised.value.errno == number


FAILING = (2, 3, 5)
"""Calls that fail."""


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_transient_error_of_writing_or_of_the_commit_costs_no_row_and_is_counted(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_some, link, rename = local.write_some, os.link, os.rename
    calls: Counter[str] = Counter()

    def flaky(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def fails_now_and_then(*arguments: Any) -> Any:
            calls[name] += 1
            if calls[name] in FAILING:
                raise OSError(number, "it passes")
            return function(*arguments)

        return fails_now_and_then

    rows = pa.record_batch({"id": [f"document {n}" for n in range(1000)]})
    pipeline = run()
    pieces = pipeline | beam.Create([rows.slice(at, 100) for at in range(0, 1000, 100)])
    _ = {"documents": pieces} | WriteDataset(output=str(tmp_path / "out"), format="jsonl", file_bytes=2000)
    monkeypatch.setattr(local, "write_some", flaky("write", write_some))
    monkeypatch.setattr(os, "link", flaky("link", link))
    monkeypatch.setattr(os, "rename", flaky("rename", rename))
    found = pipeline.run()
    found.wait_until_finish()
    failed = sum(call <= count for count in calls.values() for call in FAILING)
    assert min(calls.values()) >= FAILING[0]
    assert 3 < totals(found.metrics())["writes_retried"] <= failed  # files are moved side by side
    report = verify(str(tmp_path / "out"))
    assert report.sound
    assert report.rows == rows.num_rows
