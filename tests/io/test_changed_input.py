"""Input that changes while a job reads it a second time: a verdict, since to try again would be in vain."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest

from beam_etl.io import dedup_files, manifest, staging
from beam_etl.io import rewrite as rewrite_module
from beam_etl.io.columns import Columns
from beam_etl.io.file_source import FileSource
from beam_etl.io.rewrite import RewriteDocuments
from beam_etl.io.write import FAILURES, WriteDataset
from beam_etl.pipelines import dedup
from tests.beam import run
from tests.stored import documents, json_lines, write

WANTED = Columns(needed=("id", "text"))
ROWS = documents(300)


@dataclass(frozen=True)
class Wrong:
    """A decision about no document."""

    position: int
    message: str


WRONG = {
    "between two": Wrong(5, r"a\.jsonl: the document at position 5 is not there any more"),
    "behind all": Wrong(1 << 40, rf"a\.jsonl: the document at position {1 << 40} is not there any more"),
}


def failures_of(folder: Path, node: int | None) -> list[str]:
    """What rewriting has against a run with a decision about `node`."""
    write(folder, "in/a.jsonl", json_lines(ROWS))
    pipeline, name = run(), staging.new_run()
    source = FileSource(pipeline, str(folder / "in"), WANTED)
    source.documents()
    batch = pa.record_batch({"node": pa.array([] if node is None else [node], pa.uint64())})
    output = str(folder / "out")
    again = (
        pipeline
        | beam.Create([batch])
        | RewriteDocuments(source=source, columns=WANTED, output=output, run=name)
    )
    tables = {"documents": again.files, "found": again.found, FAILURES: again.failures}
    _ = tables | WriteDataset(output=output, run=name)
    pipeline.run().wait_until_finish()
    assert manifest.latest(output) is None
    assert not list((folder / "out").rglob("part-*"))
    return staging.verdict(output, name)


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_document_that_is_gone_fails_the_run(wrong: Wrong, tmp_path: Path) -> None:
    (reason,) = failures_of(tmp_path, wrong.position)
    assert re.search(wrong.message, reason)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (
        lambda file: file.write_bytes(json_lines(ROWS[:10])),
        r"a\.jsonl: it has \d+ bytes, and had \d+: the file",
    ),
    "removed": (Path.unlink, r"a\.jsonl: it is gone: the file changed"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_file_that_changed_after_it_was_read_fails_the_run(
    tmp_path: Path, change: Callable[[Path], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a word of its documents would tell: none has a decision."""
    copied = rewrite_module.copy_split

    def change_first(split: Any, *others: Any) -> Any:
        change(Path(split.file.path))
        return copied(split, *others)

    monkeypatch.setattr(rewrite_module, "copy_split", change_first)
    (reason,) = failures_of(tmp_path, None)
    assert re.search(message, reason)


JOBS = {
    "shuffled": (rewrite_module, []),
    "partitioned": (dedup_files, ["--within=id", "--partitioned=true"]),
}


@pytest.mark.parametrize(("module", "flags"), JOBS.values(), ids=JOBS)
def test_a_job_whose_input_goes_away_says_so_and_publishes_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    flags: list[str],
) -> None:
    write(tmp_path, "in/a.jsonl", json_lines(ROWS))
    copied = module.copy_split

    def remove_first(split: Any, *others: Any) -> Any:
        Path(split.file.path).unlink()
        return copied(split, *others)

    monkeypatch.setattr(module, "copy_split", remove_first)
    assert dedup.run([f"--input={tmp_path}/in", f"--output={tmp_path}/out", *flags]) == 1
    assert "a.jsonl: it is gone: the file changed while the job ran. Run again." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
