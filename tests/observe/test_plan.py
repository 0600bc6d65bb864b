import json

import apache_beam as beam
import pyarrow as pa
import pytest

from beam_etl import Aggregate, Rebalance, Shuffle, plan
from beam_etl.observe.cluster import Cluster, parse_cluster
from beam_etl.observe.plan import Plan, ShuffleStep
from beam_etl.observe.text import format_bytes, format_seconds
from beam_etl.transforms.shuffle import Distribute, Gather
from tests.beam import run

BATCH = pa.record_batch({"key": ["a"], "address": pa.array([1], pa.uint64())})
TB, GBPS = 10**12, 10**9


def same(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


PIPELINES = {
    "none": (lambda batches: batches | beam.Map(same), [], 0),
    "shuffle": (lambda batches: batches | "S" >> Shuffle(by=("key",)), ["S"], 0),
    "aggregate": (lambda batches: batches | "A" >> Aggregate(by=("key",), merge=same), ["A/Shuffle"], 0),
    "rebalance": (lambda batches: batches | "R" >> Rebalance(partitions=3), ["R"], 0),
    "handed out": (lambda batches: batches | "D" >> Distribute() | "G" >> Gather(), [], 2),
    "Beam's own": (
        lambda batches: batches | "B" >> beam.Map(lambda b: (1, b)) | "G" >> beam.GroupByKey(),
        ["G"],
        0,
    ),
    "inside a composite of Beam's": (
        lambda batches: batches | beam.Map(lambda b: b.num_rows) | "C" >> beam.combiners.Count.Globally(),
        ["C/CombineGlobally(CountCombineFn)/CombinePerKey"],
        0,
    ),
}


@pytest.mark.parametrize(("apply", "shuffles", "handed_out"), PIPELINES.values(), ids=PIPELINES.keys())
def test_shuffles_are_found_and_what_carries_no_rows_is_listed_apart(
    apply: object, shuffles: list[str], handed_out: int
) -> None:
    pipeline = run()
    apply(pipeline | beam.Create([BATCH]))  # type: ignore[operator]
    found = plan(pipeline)
    assert [step.label for step in found.shuffles] == shuffles
    assert len(found.handed_out) == handed_out


def test_rounds_are_shown_once_with_their_number() -> None:
    keys = ["bucket", *["key", "node"] * 20, "root", "root"]
    shuffles = tuple(ShuffleStep(f"Find/{i}", (key,), 4, 1, GBPS) for i, key in enumerate(keys))
    drawn = Plan(("Find",), shuffles, ("Find/Round 1/All", "Find/Round 2/All", "Find/Round 3/All", "Gather"))
    lines = [line.split(":")[0].strip() for line in drawn.to_text().splitlines()]
    by = [f"SHUFFLE by {key}" for key in ("bucket", "key", "node", "root")]
    assert lines[0] == "43 shuffles in 1 step"
    assert lines[2:-1] == [*by[:3], "20 times these 2", by[3], "2 times this one"]
    assert drawn.to_text().endswith("handed out without rows: Find/Round 1/All and 2 more, Gather")


def test_a_plan_tells_key_bytes_partitions_hops_and_network_time() -> None:
    pipeline = run()
    pipeline | beam.Create([BATCH]) | "Meet" >> Shuffle(by=("key",), expected_bytes=10 * TB)
    drawn = plan(pipeline)
    cluster = Cluster(nodes=100, nic_bits=25 * GBPS)
    text = drawn.to_text(cluster)
    partitions = "1,192,093 partitions of about 8.39 MB"
    for part in ("1 shuffle", "by key", "10 TB", partitions, "two hops", "63.4 s of network"):
        assert part in text
    step = json.loads(drawn.to_json(cluster))["shuffles"][0]
    assert (step["by"], step["hops"], step["expected_bytes"]) == (["key"], 2, 10 * TB)
    assert round(step["network_seconds"], 1) == 63.4
    assert step["key_bytes"] <= step["key_limit"] / 4 == 8 << 20


def test_ten_terabytes_on_a_hundred_nodes() -> None:
    at_full_bisection = parse_cluster("nodes=100,nic=25Gbps,bisection=1.0").seconds(10 * TB)
    assert round(at_full_bisection) == 32
    rule_of_thumb = parse_cluster("nodes=100,nic=25Gbps,bisection=0.02").seconds(10 * TB)
    assert 25 * 60 < rule_of_thumb < 30 * 60
    assert parse_cluster("nodes=1,nic=1Gbps").seconds(TB) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nodes=0,nic=1Gbps",
        "nodes=3",
        "nodes=3,nic=fast",
        "nodes=3,nic=1Gbps,bisection=2",
        "nodes=3,nic=1Gbps,x=1",
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nodes|nic"):
        parse_cluster(text)


SIZES = {0: "0 B", 999: "999 B", 1234: "1.23 KB", 10**9: "1 GB", 25 * 10**14: "2.5 PB", 10**18: "1 EB"}


@pytest.mark.parametrize(("size", "text"), SIZES.items())
def test_sizes_are_readable(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    {0: "under 0.01 s", 0.1234: "0.123 s", 90: "90 s", 1800: "30 min", 9000: "2.5 h"}.items(),
)
def test_times_are_readable(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
