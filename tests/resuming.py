"""Jobs that are killed in processes of their own, and what the next ones say that go on with `--resume=true`.

`python -m tests.resuming` loads the pipelines once and forks for each order on its standard input, a line of JSON:
job, flags, where it dies (as `killed_jobs.arm` takes it), and bytes of a split. It answers with an exit code each.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest, staging
from beam_etl.io.read import ReadDocuments
from beam_etl.io.stores import store_of
from beam_etl.pipelines import curate, extract
from tests.killed_jobs import arm
from tests.kills import forked

JOBS = {"curate": curate.run, "extract": extract.run}

SPLIT_FILE = ("beam_etl.io.spill_files", "SpillFile.close_split", "")
RECORD = ("beam_etl.io.spill", "_record", "")
SETTLE = ("beam_etl.io.write", "settle", "")
IN_LAST_READ = ("beam_etl.io.apply_decisions", "_Apply._applied", "")

NOTHING, ALL = "starting from the beginning", "all steps that look at documents one by one"
LINES = "the removal of repeated lines"


class Order(NamedTuple):
    """A job that dies."""

    job: str
    given: list[str]
    where: Sequence[Any]


def kill(*orders: Order) -> None:
    """Runs jobs that are killed (SIGKILL), and have published nothing by then."""
    split_bytes = ReadDocuments.__init__.__kwdefaults__["split_bytes"]
    told = "".join(json.dumps([*order, split_bytes]) + "\n" for order in orders)
    command = [sys.executable, "-m", "tests.resuming"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, check=False, input=told, text=True
    )
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(orders), done.stderr


def resumed(order: Order, output: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a run says when it goes on where one died."""
    assert manifest.latest(output) is None
    capsys.readouterr()
    assert JOBS[order.job]([*order.given, "--resume=true"]) == 0
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"{order.job}: ")]


def check_said(said: Sequence[str], told: Sequence[str]) -> None:
    assert len(said) == len(told), said
    assert all(what in line for what, line in zip(told, said, strict=True)), said


def taken(told: Sequence[str]) -> tuple[str, ...]:
    """What a run said that it takes over."""
    return tuple(what for what in told if what != NOTHING)


def numbered(files: int, rows: int) -> dict[str, bytes]:
    """Files of documents of which a line is in all, and every third document is there twice."""
    texts = [
        f"The same in all of them.\nThis is the text of number {n - n % 3 // 2:03}."
        for n in range(files * rows)
    ]
    told = [json.dumps({"id": f"{n:03}", "text": text}) + "\n" for n, text in enumerate(texts)]
    return {f"{n}.jsonl": "".join(told[n * rows : (n + 1) * rows]).encode() for n in range(files)}


def rows(dataset: str, name: str) -> list[str]:
    """Of a table, wherever it is."""
    found = manifest.latest(dataset)
    assert found is not None
    contents = (store_of(dataset).read(f"{dataset}/{file.path}") for file in found.table(name))
    tables = [pq.read_table(pa.BufferReader(content)).to_pylist() for content in contents]
    return sorted(json.dumps(row, default=str) for row in chain.from_iterable(tables))


def check_same(output: str, expected: str, *more: str) -> None:
    """A dataset has the rows of another one, and what was put down on the way is gone."""
    for name in ("documents", "removals", "rejects", "funnel", "edits", *more):
        assert rows(output, name) == rows(expected, name), name
    assert rows(output, "documents")
    assert staging.entries(f"{output}/{staging.FOLDER}") == []


def _die(job: str, given: list[str], where: Sequence[Any], split_bytes: int) -> int:
    os.dup2(2, 1)  # its standard output is for answers
    ReadDocuments.__init__.__kwdefaults__["split_bytes"] = split_bytes
    arm(*where)
    return JOBS[job](given)


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        _, status = os.waitpid(forked(lambda order=order: _die(*order)), 0)  # type: ignore[misc]
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
