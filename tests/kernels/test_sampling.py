"""So many rows of each key: those with the smallest hashes, whatever surrounds them."""

import random
from collections import Counter, defaultdict
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
import xxhash

from beam_etl.kernels import sampling
from beam_etl.kernels.sampling import sample_partition, smallest_rows
from beam_etl.testing import check_kernel, check_merge

ROWS = 3000
DRAWN = random.Random(3)
TABLE = pa.record_batch(
    {
        "domain": [
            None if n % 40 == 0 else "hot" if n % 3 else f"site{DRAWN.randrange(400)}" for n in range(ROWS)
        ],
        "id": [f"id {n}" for n in range(ROWS)],
        "text": [f"text {n}" for n in range(ROWS)],
    }
)


def expected(most: int) -> list[str]:
    """Of each domain the ids with the smallest hashes, in plain Python."""
    domains: dict[Any, list[str]] = defaultdict(list)
    for row in TABLE.to_pylist():
        domains[row["domain"]].append(row["id"])
    return sorted(
        one
        for ids in domains.values()
        for one in sorted(ids, key=lambda id: xxhash.xxh64_intdigest(id.encode()) >> 1)[:most]
    )


def pieces(rows: int, seed: int) -> list[pa.RecordBatch]:
    shuffled = TABLE.take(pa.array(random.Random(seed).sample(range(ROWS), ROWS)))
    return [shuffled.slice(start, rows) for start in range(0, ROWS, rows)]


@pytest.mark.parametrize(("most", "rows"), [(1, 100), (10, 1), (10, 100), (10, ROWS), (10_000, ROWS)])
def test_a_partition_keeps_the_smallest_of_each_key_however_it_comes(
    most: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "WAITING_ROWS", 500)
    found = sample_partition(pieces(rows, seed=rows), ("domain",), ("id",), most)
    assert sorted(id for batch in found for id in batch["id"].to_pylist()) == expected(most)


def test_what_a_bundle_cuts_can_be_cut_again() -> None:
    merge = partial(smallest_rows, by=("domain",), sample_by=("id",), most=10)
    check_merge(merge, pieces(700, seed=1))
    check_kernel(merge, TABLE, row_wise=False)
    assert sorted(merge(TABLE)["id"].to_pylist()) == expected(10)
    assert merge(TABLE)["id"].to_pylist() == [id for id in TABLE["id"].to_pylist() if id in set(expected(10))]


def test_rows_that_are_chosen_stay_when_others_are_gone() -> None:
    few = TABLE.filter(pa.array([n % 2 == 0 for n in range(ROWS)]))
    of_all, of_few = (
        set(smallest_rows(rows, ("domain",), ("id",), 50)["id"].to_pylist()) for rows in (TABLE, few)
    )
    assert of_all & set(few["id"].to_pylist()) <= of_few


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_equal_rows_go_by_their_address_and_without_one_there_are_never_more(most: int) -> None:
    rows = pa.record_batch(
        {
            "key": ["k"] * 6,
            "id": ["a", "b", "b", "a", "b", "b"],
            "address": pa.array([5, 1, 9, 2, 7, 3], pa.uint64()),
        }
    )
    order = sorted(
        range(6),
        key=lambda n: (xxhash.xxh64_intdigest(rows["id"][n].as_py().encode()), rows["address"][n].as_py()),
    )
    wanted = sorted(rows["address"][n].as_py() for n in order[:most])
    for batches in ([rows], [rows.slice(n, 1) for n in range(6)]):
        found = list(sample_partition(batches, ("key",), ("id",), most))
        assert sorted(a for batch in found for a in batch["address"].to_pylist()) == wanted
        bare = [batch.drop_columns(["address"]) for batch in batches]
        kept = [
            id for batch in sample_partition(bare, ("key",), ("id",), most) for id in batch["id"].to_pylist()
        ]
        assert Counter(kept) == Counter(rows["id"][n].as_py() for n in order[:most])


def test_an_empty_partition_stays_empty() -> None:
    assert list(sample_partition([], ("domain",), ("id",), 1)) == []
    assert smallest_rows(TABLE.slice(0, 0), ("domain",), ("id",), 1).num_rows == 0
