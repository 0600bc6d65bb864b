"""Stacks of rows that are alike: every document comes back, and the first of each is told."""

import random
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from beam_etl.kernels import stacking
from beam_etl.kernels.candidates import RANK
from beam_etl.kernels.stacking import LAST_RANK, OTHERS, stack, unstack

LARGEST = 2**64 - 1
NODES = {
    "one after another": list(range(5000)),
    "far apart": [number * 2**44 + number for number in range(5000)],
    "random": [random.Random(seed).getrandbits(64) for seed in range(5000)],
    "the ends": [0, 1, 127, 128, 2**63 - 1, 2**63, LARGEST - 1, LARGEST],
    "one": [7],
    "none": [],
}
GROUPS = {"all alike": 1, "some": 40, "pairs": 2500, "hardly any": 100_000}


def made(nodes: list[int], groups: int, seed: int = 1) -> tuple[pa.RecordBatch, np.ndarray]:
    source = random.Random(seed)
    group = [source.randrange(groups) for _ in nodes]
    ranks = [source.choice([0, 1, 2**63, LARGEST]) for _ in nodes]
    shuffled = source.sample(nodes, len(nodes))
    columns = {
        "node": pa.array(shuffled, pa.uint64()),
        RANK: pa.array(ranks, pa.uint64()),
        "group": pa.array(group, pa.int64()),
    }
    return pa.record_batch(columns), np.array(group, np.int64)


@pytest.mark.parametrize("most", [3, stacking.STACK_ROWS], ids=["of 3", "of all"])
@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("nodes", NODES.values(), ids=NODES)
def test_every_document_comes_back_with_what_it_had_in_common(
    nodes: list[int], groups: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacking, "STACK_ROWS", most)
    rows, group = made(nodes, groups)
    stacked = stack(rows, group)
    assert stacked.num_rows == sum(-(-count // most) for count in np.bincount(group).tolist())
    for piece in (stacked, pa.concat_batches([stacked.slice(0, 3), stacked]).slice(min(3, len(stacked)))):
        of, node, rank = unstack(piece)
        told = list(zip(node.tolist(), piece.column("group").take(pa.array(of)).to_pylist(), strict=True))
        expected = zip(rows.column("node").to_pylist(), rows.column("group").to_pylist(), strict=True)
        assert sorted(told) == sorted(expected)
        assert node[: len(piece)].tolist() == piece.column("node").to_pylist()
        assert rank[: len(piece)].tolist() == piece.column(RANK).to_pylist()
        assert (rank[len(piece) :] == LAST_RANK).all()


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
def test_the_row_of_a_stack_is_the_one_of_smallest_rank_then_of_smallest_node(groups: int) -> None:
    rows, group = made(NODES["random"], groups)
    best: dict[int, tuple[int, int]] = defaultdict(lambda: (LARGEST + 1, 0))
    for row in rows.to_pylist():
        best[row["group"]] = min(best[row["group"]], (row[RANK], row["node"]))
    told = {row["group"]: (row[RANK], row["node"]) for row in stack(rows, group).to_pylist()}
    assert told == best


SIZES = {"one after another": 1.1, "every hundredth": 1.1, "every ten thousandth": 2.1, "anywhere": 9.2}


@pytest.mark.parametrize(("nodes", "size"), SIZES.items(), ids=SIZES)
def test_a_million_copies_take_a_few_bytes_each(nodes: str, size: float) -> None:
    count = 1 << 20
    step = {"one after another": 1, "every hundredth": 100, "every ten thousandth": 10_000}.get(nodes)
    some = (
        np.random.default_rng(1).integers(0, 1 << 64, count, np.uint64)
        if step is None
        else np.arange(count, dtype=np.uint64) * np.uint64(step)
    )
    rows = pa.record_batch({"node": pa.array(some), RANK: pa.array(np.zeros(count, np.uint64))})
    stacked = stack(rows, np.zeros(count, np.int64))
    assert stacked.num_rows == count // stacking.STACK_ROWS
    assert stacked.nbytes < size * count
    assert stacked.column(OTHERS).null_count == 0
