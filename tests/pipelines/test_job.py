"""Launching: what a person sees of a job that must not publish, and what every part of a run has in common."""

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest

from beam_etl.io.columns import Columns
from beam_etl.io.file_source import FileSource
from beam_etl.io.write import FAILURES
from beam_etl.pipelines import flags
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.execution import FAILED
from beam_etl.pipelines.interrupt import Interrupted, abandoning
from beam_etl.pipelines.job import Job


@dataclass(frozen=True, kw_only=True)
class Config(JobConfig):
    @property
    def columns(self) -> Columns:
        return Columns()


def too_many(batch: pa.RecordBatch) -> str:
    return f"{batch.num_rows} documents are too many. Use --input=LESS."


def build(source: FileSource, config: Config) -> Mapping[str, Any]:
    documents = source.documents().documents
    return {"documents": documents, FAILURES: documents | beam.Map(too_many).with_output_types(str)}


def test_a_failed_verdict_tells_why_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "some words"}))
    job = Job("strict", "Refuses.", Config, build)
    assert job.run([f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out"]) == FAILED
    assert "strict: 1 documents are too many. Use --input=LESS." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_name_of_a_run_is_its_own_and_no_flag() -> None:
    argv = ["--input=a.jsonl", "--output=out"]
    one, other = (flags.parse(Config, argv, "job", "A job.")[0] for _ in range(2))
    assert one.run != other.run
    assert one == other
    assert "run" not in one.to_json()
    assert flags.parse(Config, [*argv, "--run=mine"], "job", "A job.")[1] == ["--run=mine"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_a_finaliser_swallowed_is_told_at_the_next_look() -> None:
    class Finalised:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with abandoning((), "run", in_process=False) as signals:
        signals.check()
        Finalised()
        with pytest.raises(Interrupted):
            signals.check()
