"""Models of one's own on a real Flink: scores are those of plain Python there as well."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from apache_beam.options.pipeline_options import PipelineOptions

from beam_etl import Columns, FitPerKey, ScoreWithModel, WriteDataset
from beam_etl.engines.flink import cluster
from beam_etl.io.file_source import FileSource
from tests.io.test_fit_per_key import LEAST, MOST, by_plain_python, made, partitioned, stored

Fitted = tuple[tuple[str, ...], int]


def functions() -> tuple[Any, Any, Any]:
    """Fit, score and predict as those of test_fit_per_key, but that workers which have no tests can take."""

    def fit(sample: pa.RecordBatch) -> Fitted | None:
        if set(sample.column("domain").to_pylist()) == {"none.example"}:
            return None
        return tuple(sample.column("id").to_pylist()), sum(map(len, sample.column("text").to_pylist()))

    def score(model: Fitted, batch: pa.RecordBatch) -> list[float]:
        ids, total = model
        fingerprint = xxhash.xxh32_intdigest(",".join(ids).encode())
        return [len(text) * len(ids) / total + fingerprint for text in batch.column("text").to_pylist()]

    def predict(factor: int, batch: pa.RecordBatch) -> list[int]:
        return [factor * len(text) for text in batch.column("text").to_pylist()]

    return fit, score, predict


@pytest.mark.slow
@pytest.mark.parametrize(
    "in_place", [False, pytest.param(True, marks=pytest.mark.long)], ids=["shuffled", "in place"]
)
def test_scores_are_those_of_plain_python(
    in_place: bool, embedded_flink: cluster.Running, tmp_path: Path
) -> None:
    documents = made()
    source = partitioned(tmp_path, documents) if in_place else stored(tmp_path / "docs", documents, 3)
    fit, score, predict = functions()
    flags = ["--runner=PortableRunner", "--parallelism=2", *embedded_flink.flags()]
    with beam.Pipeline(options=PipelineOptions([*flags, "--environment_cache_millis=1000"])) as pipeline:
        read = FileSource(pipeline, str(source), Columns(needed=("id", "domain", "text")))
        fitted = pipeline | FitPerKey(source=read, by="domain", fit=fit, score=score, least=LEAST, most=MOST)
        scored = fitted.batches | ScoreWithModel(
            load=partial(json.loads, "3"), predict=predict, column="length"
        )
        tables = {"documents": scored.batches, "rejects": (fitted.rejects, scored.rejects) | beam.Flatten()}
        tables | WriteDataset(output=str(tmp_path / "scored"))
    rows = pq.read_table(tmp_path / "scored/documents").to_pylist()
    assert sorted((row["id"], row["score"], row["own_model"]) for row in rows) == sorted(
        by_plain_python(documents)
    )
    assert all(row["length"] == 3 * len(row["text"]) for row in rows)
