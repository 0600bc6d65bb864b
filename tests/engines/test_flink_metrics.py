"""Metrics of a job on Flink, under the labels of the pipeline's steps."""

import json
from base64 import b64encode
from collections.abc import Iterator

import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.metrics import MetricsFilter

from beam_etl.engines.flink.rest import FlinkRest
from beam_etl.engines.flink.runner import FlinkResult
from beam_etl.pipelines.shuffle_skews import shuffle_skews
from beam_etl.transforms.metrics import totals
from tests.engines.stub_flink import StubFlink

SIZES = "ref_AppliedPTransform_Join-By-key-Sizes_7"


@pytest.fixture
def stub() -> Iterator[StubFlink]:
    served = StubFlink()
    yield served
    served.stop()


def info(kind: str, space: str, name: str, *values: int) -> dict[str, object]:
    labels = {"PTRANSFORM": SIZES, "NAMESPACE": space, "NAME": name}
    payload = b64encode(b"".join(map(VarIntCoder().encode, values))).decode()
    return {"urn": f"beam:metric:user:{kind}:v1", "payload": payload, "labels": labels}


def test_steps_have_the_labels_of_the_pipeline_and_skew_is_told_of_all_tasks(stub: StubFlink) -> None:
    tasks = [
        [
            info("sum_int64", "beam_etl", "rows_out", 5),
            info("distribution_int64", "beam_etl", "partition_rows", 2, 30_000, 10_000, 20_000),
            info("distribution_int64", "beam_etl", "partition_bytes", 2, 300, 100, 200),
            info("distribution_int64", "beam_etl", "partitions", 1, 16, 16, 16),
            info("distribution_int64", "beam_etl.hot_key_rows", "url='a'", 1, 19_000, 19_000, 19_000),
        ],
        [
            info("sum_int64", "beam_etl", "rows_out", 2),
            info("distribution_int64", "beam_etl", "partition_rows", 1, 50_000, 50_000, 50_000),
            info("distribution_int64", "beam_etl", "partition_bytes", 1, 500, 500, 500),
            info("distribution_int64", "beam_etl", "partitions", 2, 32, 16, 16),
            info("distribution_int64", "beam_etl.hot_key_rows", "url='b'", 1, 48_000, 48_000, 48_000),
        ],
    ]
    stub.answers["/jobs/a/accumulators"] = {
        "user-task-accumulators": [
            {"type": "MetricsAccumulator", "value": json.dumps({"metrics": {"attempted": infos}})}
            for infos in tasks
        ]
    }
    found = FlinkResult(FlinkRest(stub.address), "a", {SIZES: "Join/By key/Sizes"}).metrics()
    (rows,) = found.query(MetricsFilter().with_step("Join/By key"))["counters"]
    assert (rows.key.step, rows.committed) == ("Join/By key/Sizes", 7)
    assert totals(found) == {"rows_out": 7}
    (skew,) = shuffle_skews(found)
    assert (skew.label, skew.partitions) == ("Join/By key", 16)
    assert (skew.rows.total, skew.rows.largest, skew.rows.hot_key) == (80_000, 50_000, "url='b'")
    assert skew.ratio(skew.rows) == 10
