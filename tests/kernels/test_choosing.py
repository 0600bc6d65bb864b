import random
from collections import defaultdict

import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels import stacking
from beam_etl.kernels.candidates import LOW, RANK
from beam_etl.kernels.choosing import MEMBER_FACT, choose, facts_only, join_facts, keep_first
from beam_etl.testing import sorted_rows

SIZE = 128


def made_up(clusters: int, low: bool, seed: int = 1) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Members, and facts of them and others."""
    source = random.Random(seed)
    nodes = [source.getrandbits(64) for _ in range(8 * clusters)]
    members = []
    for number in range(clusters):
        some = nodes[5 * number : 5 * number + source.randint(2, 5)]
        members += [
            {"node": node, "cluster": min(some), "cluster_size": len(some), "band": source.randrange(16)}
            for node in some
        ]
    source.shuffle(members)
    facts = {
        "node": pa.array(nodes, pa.uint64()),
        RANK: pa.array([source.choice([0, 1, 2**63, 2**64 - 1]) for _ in nodes], pa.uint64()),
    }
    if low:
        facts[LOW] = pa.array([bytes(source.choices((0, 1), k=SIZE)) for _ in nodes], pa.binary(SIZE))
    return pa.RecordBatch.from_pylist(members, schema.MEMBER), pa.record_batch(facts)


def cut(batch: pa.RecordBatch, size: int) -> list[pa.RecordBatch]:
    return [batch.slice(at, size) for at in range(0, batch.num_rows, size)]


@pytest.mark.parametrize("size", [1, 33, 10_000])
@pytest.mark.parametrize("low", [False, True], ids=["near", "verified"])
def test_the_smallest_rank_then_the_smallest_node_stays(low: bool, size: int) -> None:
    members, facts = made_up(100, low)
    batches = [*cut(members, size), *cut(facts, size)]
    random.Random(size).shuffle(batches)
    joined = pa.concat_batches(join_facts(batches))
    assert joined.schema == MEMBER_FACT
    found = pa.concat_batches(choose(cut(joined, size)))
    assert found.schema == schema.DECISION
    rank = dict(zip(facts["node"].to_pylist(), facts[RANK].to_pylist(), strict=True))
    bytes_of = dict(zip(facts["node"].to_pylist(), facts[LOW].to_pylist(), strict=True)) if low else {}
    clusters = defaultdict(list)
    for row in members.to_pylist():
        clusters[row["cluster"]].append(row["node"])
    best = {cluster: min(nodes, key=lambda node: (rank[node], node)) for cluster, nodes in clusters.items()}
    told = sorted(members.to_pylist(), key=lambda row: (row["cluster"], row["node"]))
    assert found.select(schema.MEMBER.names).to_pylist() == told
    assert found["survivor"].to_pylist() == [best[row["cluster"]] for row in told]
    expected: list[float | None] = [None] * len(told)
    if low:
        for place, row in enumerate(told):
            pair = zip(bytes_of[row["node"]], bytes_of[best[row["cluster"]]], strict=True)
            share = sum(one == other for one, other in pair) / SIZE
            expected[place] = pytest.approx((share - 1 / 256) / (1 - 1 / 256), abs=1e-6)
    assert found["similarity"].to_pylist() == expected


@pytest.mark.parametrize("low", [False, True], ids=["near", "verified"])
def test_members_of_large_clusters_that_are_alike_are_one_row_and_are_decided_like_others(
    low: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, size = random.Random(3), 2000
    nodes = [source.getrandbits(64) for _ in range(2 * size)]
    clusters = [sorted(nodes[:size]), nodes[size : size + 4]]
    members = [
        {"node": node, "cluster": min(some), "cluster_size": len(some), "band": source.randrange(2)}
        for some in clusters
        for node in some
    ]
    kinds = [bytes(source.choices((0, 1), k=SIZE)) for _ in range(3)]
    facts = {
        "node": pa.array(nodes, pa.uint64()),
        RANK: pa.array([source.choice([1, 2, 2**64 - 1]) for _ in nodes], pa.uint64()),
        **({LOW: pa.array([source.choice(kinds) for _ in nodes], pa.binary(SIZE))} if low else {}),
    }
    batches = [
        *cut(pa.RecordBatch.from_pylist(members, schema.MEMBER), 300),
        *cut(pa.record_batch(facts), 300),
    ]
    decided = {}
    for threshold in (100, 10**9):
        monkeypatch.setattr(stacking, "STACK_FROM", threshold)
        joined = [batch for batch in join_facts(batches) if batch.num_rows]
        assert {batch.schema for batch in joined} <= {MEMBER_FACT, MEMBER_FACT.append(stacking.FIELD)}
        rows = sum(batch.num_rows for batch in joined)
        assert rows == (len(members) if threshold > size else 4 + 2 * (3 if low else 1))
        decided[threshold] = pa.concat_batches(choose(joined)).to_pylist()
    assert decided[100] == decided[10**9]
    assert len(decided[100]) == len(members)


def test_members_of_earlier_runs_have_no_facts_and_stay() -> None:
    members = pa.RecordBatch.from_pylist(
        [{"node": node, "cluster": 4, "cluster_size": 3, "band": 1} for node in (2**63 + 1, 4, 2**63 + 9)],
        schema.MEMBER,
    )
    facts = pa.record_batch(
        {"node": pa.array([2**63 + 9, 2**63 + 1, 2**63], pa.uint64()), RANK: pa.array([0, 5, 0], pa.uint64())}
    )
    joined = list(join_facts([facts, members]))
    told = {row["node"]: row[RANK] for batch in joined for row in batch.to_pylist()}
    assert told == {4: 0, 2**63 + 9: 0, 2**63 + 1: 5}
    assert {row["survivor"] for row in pa.concat_batches(choose(joined)).to_pylist()} == {4}


def test_similarity_is_told_where_both_documents_have_their_bytes() -> None:
    """A document of an earlier run without them changes nothing for other clusters that it meets."""
    members, facts = made_up(20, low=True)
    earlier = pa.RecordBatch.from_pylist(
        [
            {"node": node, "cluster": 4, "cluster_size": 2, "band": 1}
            for node in (4, facts["node"][-1].as_py())
        ],
        schema.MEMBER,
    )
    alone = pa.concat_batches(choose(join_facts([members, facts])))
    mixed = pa.concat_batches(choose(join_facts([pa.concat_batches([earlier, members]), facts])))
    assert None not in alone["similarity"].to_pylist()
    assert mixed.slice(2).to_pylist() == alone.to_pylist()
    assert mixed["similarity"].to_pylist()[:2] == [None, None]


def test_facts_without_members_join_nothing() -> None:
    _, facts = made_up(3, low=True)
    assert list(join_facts([facts])) == []


def test_the_first_is_kept_without_facts() -> None:
    members, _ = made_up(30, low=False)
    found = keep_first(members)
    assert found.schema == schema.DECISION
    expected = [{**row, "survivor": row["cluster"], "similarity": None} for row in members.to_pylist()]
    assert found.to_pylist() == expected


def test_facts_have_the_columns_that_were_asked_for() -> None:
    _, facts = made_up(3, low=True)
    assert sorted_rows(facts_only(facts.append_column("more", facts["node"]))) == sorted_rows(facts)
    assert facts_only(facts.select(["node"])).to_pydict() == {"node": facts["node"].to_pylist()}
