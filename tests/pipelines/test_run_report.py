"""The report of a run that was launched: its stages add up, the slow kernel and the hot key are named."""

import io
import json
import re
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pytest

from beam_etl.io import manifest
from beam_etl.io.columns import Columns
from beam_etl.io.file_source import FileSource
from beam_etl.io.write import FAILURES
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.execution import FAILED
from beam_etl.pipelines.job import DONE, USAGE, Job
from beam_etl.transforms.batches import MapBatches
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.shuffle import Shuffle
from tests.browser import Tables, opened
from tests.datasets import read_report

ROWS = 9000
REJECTED = 3
BUSY = 1.0
"""Seconds of the processor: on a busy machine all other steps take longer as well."""
WORDS = "some words that take some room in a partition, so that one is looked at"


@dataclass(frozen=True, kw_only=True)
class Config(JobConfig):
    @property
    def columns(self) -> Columns:
        return Columns(needed=("text", "domain"))


def slow(batch: pa.RecordBatch) -> pa.RecordBatch:
    end = time.thread_time() + (BUSY if batch.num_rows > 10 else 0)
    while time.thread_time() < end:
        pass
    return batch


def build(source: FileSource, config: Config) -> Mapping[str, Any]:
    documents, rejects, _ = source.documents()
    grouped = documents | "Slow" >> MapBatches(slow) | "Group" >> Shuffle(by=("domain",), partitions=4)
    return {"documents": grouped | "Ungroup" >> MapPartitions(kernel=iter), "rejects": rejects}


class Ran(NamedTuple):
    output: Path
    page: Path
    said: str
    wall: float
    report: dict[str, Any]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run on one worker, its report and its page."""
    folder = tmp_path_factory.mktemp("run")
    lines = [
        json.dumps({"text": f"{row} {WORDS}", "domain": "hot.example" if row % 5 else f"site{row}.example"})
        for row in range(ROWS)
    ]
    lines[1:1] = ["{", '{"text": 4}', "{ "]
    (folder / "in.jsonl").write_text("\n".join(lines))
    output, page = folder / "out", folder / "page.html"
    job, worker = Job("slowed", "Is busy.", Config, build), "--direct_num_workers=1"
    (folder / "few.jsonl").write_text("\n".join(lines[-2:]))
    job.run(
        [f"--input={folder}/few.jsonl", f"--output={folder}/few", worker]
    )  # compiles what is compiled once
    flags = [f"--input={folder}/in.jsonl", f"--output={output}", f"--report={page}", worker]
    said, start = io.StringIO(), time.monotonic()
    with redirect_stdout(said):
        code = job.run(flags)
    wall = time.monotonic() - start
    assert code == DONE
    found = manifest.latest(str(output))
    assert found is not None
    return Ran(output, page, said.getvalue(), wall, read_report(str(output), 1, found.run))


def stage(report: Mapping[str, Any], label: str) -> dict[str, Any]:
    (found,) = [stage for stage in report["stages"] if stage["label"] == label]
    return dict(found)


def test_on_one_worker_the_stages_add_up_to_the_wall_time(ran: Ran) -> None:
    told = [stage["seconds"] for stage in ran.report["stages"] + ran.report["around"]]
    assert all(seconds >= 0 for seconds in told)
    assert sum(told) == pytest.approx(ran.report["seconds"], rel=0.1)
    assert ran.report["seconds"] <= ran.wall
    shares = [stage["share"] for stage in ran.report["stages"] + ran.report["around"]]
    assert sum(shares) == pytest.approx(1, abs=0.001)


def test_the_kernel_that_is_slow_is_named(ran: Ran) -> None:
    assert ran.report["slowest"] == "Slow/Map"
    slowest = stage(ran.report, "Slow/Map")
    assert slowest["seconds"] >= 0.9 * BUSY
    assert (slowest["rows_in"], slowest["rows_out"]) == (ROWS, ROWS)
    assert "slowest stage: Slow\n" in ran.said


def test_the_hot_key_is_named_with_what_its_shuffle_took(ran: Ran) -> None:
    (shuffle,) = ran.report["shuffles"]
    assert (shuffle["label"], shuffle["by"], shuffle["rows"]) == ("Group", ["domain"], ROWS)
    assert shuffle["largest_to_mean"]["rows"] > 0.8 * 4
    assert shuffle["elements"] >= 4
    assert ran.report["hottest"] == {"shuffle": "Group", "key": "domain='hot.example'"}
    assert "hottest key: domain='hot.example' of Group" in ran.said
    assert all(seconds > 0 for seconds in shuffle["seconds"].values()), shuffle["seconds"]
    steps = stage(ran.report, "Group/Cut")["seconds"] + stage(ran.report, "Group/Sizes")["seconds"]
    crossing = sum(shuffle["seconds"][name] for name in ("cutting", "encoding", "decoding"))
    assert crossing <= steps + 1e-5


def test_rows_and_rejects_are_told(ran: Ran) -> None:
    assert ran.report["rows"] == {"started": ROWS + REJECTED, "rejected": REJECTED, "read": ROWS}
    assert ran.report["tables"] == {"documents": ROWS, "rejects": REJECTED}
    assert sum(ran.report["rejects"].values()) == REJECTED
    assert not any(re.search(r"\d", reason) for reason in ran.report["rejects"])
    written = stage(ran.report, "Write dataset/Write documents")
    assert (written["rows_in"], written["rows_out"]) == (ROWS, ROWS)
    found = manifest.latest(str(ran.output))
    assert found is not None
    assert written["bytes_out"] == sum(file.bytes for file in found.table("documents"))


def test_a_browser_reads_the_numbers_of_the_report(ran: Ran, tmp_path: Path) -> None:
    shown = Tables(opened(ran.page, tmp_path / "profile"))
    _, *rows = shown.found["where the time went"]
    seconds = {row[0].rstrip("*"): float(row[2]) for row in rows}
    assert seconds["Slow"] == pytest.approx(stage(ran.report, "Slow/Map")["seconds"], abs=0.001)
    assert sum(seconds.values()) == pytest.approx(ran.report["seconds"], rel=0.1)
    (_, shuffle) = shown.found["shuffles"]
    assert shuffle[0] == "Group by domain"
    assert shuffle[2] == f"{ROWS:,}"
    assert [row[2] for row in shown.found["rows"][1:4]] == [
        f"{ROWS + REJECTED:,}",
        f"{REJECTED}",
        f"{ROWS:,}",
    ]


@pytest.mark.parametrize(
    "page", ["out/page.html", "nowhere/page.html", "."], ids=["dataset", "absent", "folder"]
)
def test_a_page_that_cannot_be_written_is_told_before_the_run(
    page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "some words", "domain": null}')
    (tmp_path / "out").mkdir()
    flags = [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out", f"--report={tmp_path}/{page}"]
    assert Job("slowed", "Is busy.", Config, build).run(flags) == USAGE
    assert "--report=" in capsys.readouterr().err
    assert not any((tmp_path / "out").iterdir())


def refuse(source: FileSource, config: Config) -> Mapping[str, Any]:
    documents = source.documents().documents
    return {"documents": documents, FAILURES: documents | beam.Map(lambda _: "no").with_output_types(str)}


def test_a_run_that_publishes_nothing_tells_where_its_time_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "some words", "domain": null}')
    flags = [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out", f"--report={tmp_path}/page.html"]
    assert Job("refused", "Refuses.", Config, refuse).run(flags) == FAILED
    assert "Read documents/Read: 1 row " in capsys.readouterr().out
    assert "published nothing" in (tmp_path / "page.html").read_text()
    assert not (tmp_path / "out").exists()
