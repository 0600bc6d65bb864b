import random
from typing import Any

import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels.applying import (
    apply_decisions,
    apply_in_partition,
    is_decision,
    sorted_decisions,
    with_address,
)
from beam_etl.kernels.hashing import hash_values
from beam_etl.testing import sorted_rows

METADATA = {schema.FILE_METADATA: b"a/file.parquet", b"own": b"kept"}


def documents(count: int) -> pa.RecordBatch:
    """With columns of the user, one of which has the name of a decision's."""
    return pa.record_batch(
        {
            "address": pa.array([7 * place for place in range(count)], pa.uint64()),
            "text": pa.array([f"text {place}" for place in range(count)], pa.large_string()),
            "tags": pa.array([["a"] * (place % 3) for place in range(count)]),
            "cluster": pa.array([f"own {place}" for place in range(count)]),
        }
    ).replace_schema_metadata(METADATA)


def decisions(clusters: list[list[int]]) -> pa.RecordBatch:
    """The last document of each cluster stays."""
    rows = [
        {"node": node, "cluster": min(nodes), "cluster_size": len(nodes), "band": 1, "survivor": nodes[-1]}
        for nodes in clusters
        for node in nodes
    ]
    return pa.RecordBatch.from_pylist(rows, schema.DECISION)


CASES: dict[str, tuple[int, list[list[int]]]] = {
    "some": (10, [[0, 14, 63], [7, 21]]),
    "of other documents too": (4, [[0, 7000], [1, 2], [22, 21]]),
    "none": (5, []),
    "all but one": (5, [[0, 7, 14, 21, 28]]),
    "no documents": (0, [[0, 7]]),
}


@pytest.mark.parametrize(("count", "clusters"), CASES.values(), ids=CASES)
def test_what_is_kept_and_removed_is_what_was_there(count: int, clusters: list[list[int]]) -> None:
    batch, wanted = documents(count), sorted_decisions([decisions(clusters)])
    kept, found = apply_decisions(batch, wanted)
    survivors = {node: nodes[-1] for nodes in clusters for node in nodes}
    rows = batch.to_pylist()
    assert kept.to_pylist() == [
        row for row in rows if survivors.get(row["address"], row["address"]) == row["address"]
    ]
    assert kept.schema.equals(batch.schema, check_metadata=True)
    told = {row["node"]: row for row in wanted.to_pylist()}
    assert found.to_pylist() == [{**row, **told[row["address"]]} for row in rows if row["address"] in told]
    assert found.schema.metadata == METADATA


def test_the_order_and_cut_of_a_partition_do_not_matter() -> None:
    batch, wanted = documents(50), decisions([[7 * place, 7 * (49 - place)] for place in range(20)])
    expected = apply_decisions(batch, sorted_decisions([wanted]))
    for seed in range(3):
        parts = [batch.slice(at, 7) for at in range(0, 50, 7)] + [
            wanted.slice(at, 9) for at in range(0, 40, 9)
        ]
        random.Random(seed).shuffle(parts)
        made = list(apply_in_partition(parts))
        for whole, some in zip(expected, zip(*made, strict=True), strict=True):
            assert sorted_rows(pa.concat_batches(some)) == sorted_rows(whole)


def test_decisions_are_told_from_documents() -> None:
    assert is_decision(decisions([]))
    assert is_decision(decisions([]).append_column("address", pa.array([], pa.uint64())))
    assert not is_decision(documents(1))
    assert not is_decision(apply_decisions(documents(1), decisions([[0, 7]])).found)


@pytest.mark.parametrize("ids", [["a", "b"], [3, 4]], ids=["strings", "numbers"])
def test_documents_are_named_by_their_id(ids: list[Any]) -> None:
    """And not by their place in a file, which an address without a position would tell wrongly."""
    batch = documents(2).append_column("key", pa.array(ids))
    for given in (batch, batch.drop_columns(["address"])):
        named = with_address(given, "key")
        assert named["address"].to_pylist() == hash_values(pa.array(ids)).tolist()
        assert named.schema.field("address") == schema.DOCUMENT.field("address")
        assert (
            named.select(["text", "tags", "key"]).to_pylist()
            == batch.select(["text", "tags", "key"]).to_pylist()
        )
        assert named.schema.metadata == {b"own": b"kept"}


def test_a_document_without_an_id_is_told() -> None:
    batch = documents(3).append_column("key", pa.array(["a", None, None]))
    with pytest.raises(ValueError, match="2 documents of a batch have no 'key'"):
        with_address(batch, "key")
