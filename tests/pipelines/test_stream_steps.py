"""The steps of each pipeline on a stream keep their names: see tests/steps.py."""

from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor

from beam_etl.pipelines import dedup, domain_score, flags, inverted_index, token_count
from beam_etl.pipelines.job import Job
from beam_etl.pipelines.stream_job import build_stream
from beam_etl.pipelines.stream_sources import open_stream
from tests.beam import run
from tests.steps import STEPS, check_steps

JOBS: dict[str, tuple[Job, tuple[str, ...]]] = {
    "token_count": (token_count.JOB, ()),
    "token_count_early": (token_count.JOB, ("--early_firing=1m", "--allowed_lateness=1h")),
    "token_count_discarding": (token_count.JOB, ("--accumulation=discarding",)),
    "domain_score": (domain_score.JOB, ()),
    "inverted_index": (inverted_index.JOB, ()),
    "dedup": (dedup.JOB, ()),
}


class _Leaves(PipelineVisitor):
    def __init__(self) -> None:
        self.names: list[str] = []

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        self.names.append(transform_node.full_label)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("documents") / "a.parquet"
    times = pa.array([np.datetime64("2026-01-01T00:00:00", "us")])
    columns = {"id": ["a"], "url": ["http://a.example/"], "language": ["en"], "time": times, "text": ["word"]}
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(("name", "job"), [(name, job) for name, (job, _) in JOBS.items()], ids=JOBS)
def test_steps_keep_their_names(name: str, job: Job, documents: Path, tmp_path: Path) -> None:
    given = ["--window=fixed:10m", *JOBS[name][1], f"--input=replay:{documents}", f"--output={tmp_path}/out"]
    config, _ = flags.parse(job.config, [*given, "--runner=flink"], name, "")
    pipeline, leaves = run(), _Leaves()
    build_stream(job, config, open_stream(pipeline, config), "5c5c5c5c5c5c", {}, None)
    assert isinstance(pipeline, beam.Pipeline)
    pipeline.visit(leaves)
    check_steps(STEPS / f"{name}.txt", leaves.names)
