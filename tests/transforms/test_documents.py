"""A kernel that fails on a document: that one is a reject, and all others come out as if it weren't there."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from beam_etl import schema
from beam_etl.kernels import repeated_lines, token_counts
from beam_etl.pipelines import dedup, domain_score, inverted_index, lines, token_count
from beam_etl.transforms import domain_score as scoring
from beam_etl.transforms import inverted_index as indexing
from beam_etl.transforms import near_duplicates
from beam_etl.transforms.batches import MAX_FAILING
from beam_etl.transforms.documents import MapDocuments
from tests.beam import run
from tests.stored import KEPT, json_lines, keep, write

POISON = "poison"


def refuse(batch: pa.RecordBatch) -> None:
    if pc.any(pc.match_substring(batch.column("text"), POISON)).as_py():
        raise ValueError(f"{POISON} in\na text")


def lengths(batch: pa.RecordBatch) -> pa.RecordBatch:
    refuse(batch)
    return pa.record_batch({"address": batch.column("address"), "n": pc.utf8_length(batch.column("text"))})


def documents_of(texts: list[str]) -> pa.RecordBatch:
    address = pa.array([(3 << schema.POSITION_BITS) + 10 * n for n in range(len(texts))], pa.uint64())
    batch = pa.record_batch({"address": address, "text": pa.array(texts, pa.large_string())})
    return batch.replace_schema_metadata({schema.FILE_METADATA: b"in/a.jsonl"})


def mapped(texts: list[str]) -> None:
    KEPT.clear()
    with run() as pipeline:
        done = pipeline | beam.Create([documents_of(texts)]) | MapDocuments(lengths, stage="measure")
        _ = done.batches | beam.Map(keep, "batches")
        _ = done.rejects | "Rejects" >> beam.Map(keep, "rejects")


@pytest.mark.parametrize("bad", [[], [0], [7], [99], [3, 4, 50], list(range(0, 100, 2))], ids=str)
def test_each_document_passes_or_is_a_reject(bad: list[int]) -> None:
    texts = [f"{POISON} {n}" if n in bad else "x" * n for n in range(100)]
    mapped(texts)
    passed = [row for batch in KEPT["batches"] for row in batch.to_pylist()]
    assert [row["n"] for row in passed] == [n for n in range(100) if n not in bad]
    rejects = [row for batch in KEPT["rejects"] for row in batch.to_pylist()]
    assert rejects == [
        {
            "file": "in/a.jsonl",
            "position": 10 * n,
            "stage": "measure",
            "reason": "ValueError: poison in a text",
            "rows": 1,
            "bytes": len(texts[n]),
            "digest": hashlib.sha256(texts[n].encode()).digest(),
            "payload": texts[n].encode(),
        }
        for n in bad
    ]


def test_a_kernel_that_fails_on_most_documents_is_what_is_wrong() -> None:
    with pytest.raises(Exception, match=r"lengths failed on in/a\.jsonl, positions 1000 to 1000"):
        mapped([POISON] * (MAX_FAILING + 1))


JOBS: dict[str, tuple[Callable[[list[str]], int], list[str], Any, str, str]] = {
    "token_count": (
        token_count.run,
        ["--documents=true", "--by=domain"],
        token_counts.DocumentCounter,
        "__call__",
        "documents",
    ),
    "inverted_index": (inverted_index.run, [], indexing, "invert_batches", "documents"),
    "lines": (lines.run, ["--match=exact"], repeated_lines, "_compared", "documents"),
    "domain_score": (domain_score.run, [], scoring.CountDomains, "__call__", ""),
}


def poisoned(function: Callable[..., Any]) -> Callable[..., Any]:
    def fails(*arguments: Any, **options: Any) -> Any:
        for argument in arguments:
            for batch in argument if isinstance(argument, list) else [argument]:
                if isinstance(batch, pa.RecordBatch) and "text" in batch.schema.names:
                    refuse(batch)
        return function(*arguments, **options)

    return fails


def some_input(folder: Path) -> list[str]:
    rows = [{"text": f"some text {n}", "url": f"https://a{n % 3}.example/{n}"} for n in range(40)]
    rows[17]["text"] = f"some {POISON}"
    write(folder, "in/a.jsonl", json_lines(rows))
    return [f"--input={folder}/in", f"--output={folder}/out"]


@pytest.mark.parametrize(("job", "flags", "owner", "name", "table"), JOBS.values(), ids=JOBS)
def test_jobs_reject_what_their_kernel_fails_on(
    job: Callable[[list[str]], int],
    flags: list[str],
    owner: Any,
    name: str,
    table: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, name, poisoned(getattr(owner, name)))
    given = some_input(tmp_path)
    assert job([*given, *flags, "--strict=true"]) == 3
    assert job([*given, *flags, "--max_reject_fraction=0.1"]) == 0
    [reject] = pq.read_table(tmp_path / "out/rejects").to_pylist()
    assert reject["payload"] == f"some {POISON}".encode()
    assert reject["stage"] != "read"
    if table:
        assert pq.read_table(tmp_path / "out" / table).num_rows == 39


def test_a_job_that_reads_again_publishes_nothing_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(near_duplicates, "sign", poisoned(near_duplicates.sign))
    assert dedup.run(some_input(tmp_path)) == 1
    told = capsys.readouterr().err
    assert f"{tmp_path}/in/a.jsonl: the document at position " in told
    assert "can't be used (sign: ValueError: poison in a text)" in told
    assert "Traceback" not in told
