"""What the plan of dedup expects, beside what crosses in process."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl import schema
from beam_etl.io.file_source import FileSource
from beam_etl.io.rewrite import with_split
from beam_etl.kernels.removals import describe
from beam_etl.observe.plan import plan
from beam_etl.pipelines.dedup import DECISION_BYTES, REMOVAL_BYTES, Config, build
from beam_etl.transforms.metrics import BYTES_CROSSED
from tests.beam import run

DOCUMENTS, PAIRS = 3000, 600
"""Two documents of five have a copy: transforms.decisions.CANDIDATE_SHARE."""

NEAR = 0.25


def corpus(folder: Path) -> Path:
    """Two files; the second has the copies."""
    draw = random.Random(5)
    words = [f"w{number}" for number in range(5000)]
    texts = [" ".join(draw.choices(words, k=60)) for _ in range(DOCUMENTS - PAIRS)]
    folder.mkdir()
    for number, part in enumerate((texts, texts[:PAIRS])):
        ids = [f"{draw.getrandbits(80):020x}" for _ in part]
        domains = [f"{place % 20}.example" for place in range(len(part))]
        pq.write_table(pa.table({"id": ids, "domain": domains, "text": part}), folder / f"{number}.parquet")
    return folder


def test_each_shuffle_is_expected_to_a_quarter(tmp_path: Path) -> None:
    config = Config(input=(str(corpus(tmp_path / "in")),), output=str(tmp_path / "out"))
    pipeline = run("--direct_num_workers=2")
    build(FileSource(pipeline, config.input, config.columns), config)
    expected = {step.label: step.expected_bytes for step in plan(pipeline).shuffles}
    result = pipeline.run()
    result.wait_until_finish()
    crossed: Counter[str] = Counter()
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.name == BYTES_CROSSED:
            crossed[next(label for label in expected if counter.key.step.startswith(label))] += counter.result
    report = next(label for label in expected if "Report" in label)
    assert expected.pop(report)  # of as many domains and sizes as the benchmarks' corpora have
    for label, planned in expected.items():
        assert crossed[label] == pytest.approx(planned, rel=NEAR), label


def decided(count: int) -> pa.RecordBatch:
    """Documents with a decision, as the second read gives them."""
    columns = {name: np.arange(count) for name in schema.DECISION.names}
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(values).cast(kind.type)
            for values, kind in zip(columns.values(), schema.DECISION, strict=True)
        ],
        schema=schema.DECISION,
    )
    for name, values in (("id", ["0123456789" * 2]), ("domain", ["one.org"]), ("text", ["some text"])):
        batch = batch.append_column(name, pa.array(values * count))
    return batch.replace_schema_metadata({schema.FILE_METADATA: b"some/file.parquet"})


def test_rows_are_as_large_as_the_plan_takes_them_for() -> None:
    found = decided(1000)
    (located,) = with_split(found.select(schema.DECISION.names), np.zeros(1, np.uint64).tobytes())
    assert located.nbytes / 1000 == pytest.approx(DECISION_BYTES, rel=0.02)
    assert describe(found, exact=None).nbytes / 1000 == pytest.approx(REMOVAL_BYTES, rel=0.1)
