import json
import subprocess
import sys

import pyarrow as pa
import pytest

from beam_etl.kernels.partition import group_keys, hash_partition, plan_partitions, split_by_number

GB, TB, MIB = 10**9, 10**12, 1 << 20
KEYS = pa.record_batch({"key": [f"key {i % 997}" for i in range(5000)], "row": range(5000)})


def test_every_row_goes_to_one_partition_in_its_order() -> None:
    parts = dict(split_by_number(KEYS, hash_partition(KEYS, ["key"], 16)))
    assert sorted(row for part in parts.values() for row in part["row"].to_pylist()) == list(range(5000))
    assert list(parts) == sorted(parts)
    for number, part in parts.items():
        assert part["row"].to_pylist() == sorted(part["row"].to_pylist())
        assert set(hash_partition(part, ["key"], 16).tolist()) == {number}


def test_equal_keys_meet_in_one_partition_and_keys_spread() -> None:
    partition_of: dict[str, int] = {}
    for key, number in zip(KEYS["key"].to_pylist(), hash_partition(KEYS, ["key"], 16).tolist(), strict=True):
        assert partition_of.setdefault(key, number) == number
    sizes = [list(partition_of.values()).count(number) for number in range(16)]
    assert min(sizes) > 997 / 16 / 2


def test_numbers_do_not_depend_on_the_process() -> None:
    code = (
        "import json, pyarrow as pa; from beam_etl.kernels.partition import hash_partition;"
        "batch = pa.record_batch({'key': [f'key {i}' for i in range(50)]});"
        "print(json.dumps(hash_partition(batch, ['key'], 1000).tolist()))"
    )
    ran = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    here = hash_partition(pa.record_batch({"key": [f"key {i}" for i in range(50)]}), ["key"], 1000)
    assert json.loads(ran[0]) == json.loads(ran[1]) == here.tolist()


def test_a_missing_key_column_is_named_with_those_there_are() -> None:
    with pytest.raises(KeyError, match="'domain'.*key, row"):
        hash_partition(KEYS, ["domain"], 4)


PLANS = {
    "nothing": (0, 32 * MIB, 1, 1),
    "1 GB on Flink": (1 * GB, 32 * MIB, 120, 1),
    "1 TB on Flink": (1 * TB, 32 * MIB, 119_210, 2),
    "10 TB on Flink": (10 * TB, 32 * MIB, 1_192_093, 2),
    "10 TB on Dataflow": (10 * TB, 1024 * MIB, 37_253, 2),
    "1 TB on Dataflow": (1 * TB, 1024 * MIB, 3726, 2),
    "200 GB on Dataflow": (200 * GB, 1024 * MIB, 746, 1),
}


@pytest.mark.parametrize(("expected", "limit", "partitions", "hops"), PLANS.values(), ids=PLANS.keys())
def test_partitions_are_a_quarter_of_the_limit_and_small_slices_take_two_hops(
    expected: int, limit: int, partitions: int, hops: int
) -> None:
    plan = plan_partitions(expected, limit)
    assert (plan.partitions, plan.hops) == (partitions, hops)
    assert expected / (plan.groups * plan.salts) <= limit / 4 or plan.hops == 1
    if hops == 2:
        assert abs(plan.groups - plan.group_size) <= 1


def test_the_keys_of_a_first_hop_are_whole_groups_spread_over_salts() -> None:
    plan = plan_partitions(1 * TB, 32 * MIB)
    seen: dict[int, set[int]] = {}
    for start in range(0, 5000, 50):
        numbers = hash_partition(KEYS.slice(start, 50), ["key"], plan.partitions)
        keys = group_keys(numbers, plan)
        assert len({key % plan.salts for key in keys.tolist()}) == 1
        for number, key in zip(numbers.tolist(), keys.tolist(), strict=True):
            assert key // plan.salts == number // plan.group_size
            seen.setdefault(key // plan.salts, set()).add(key)
    assert max(map(len, seen.values())) > 5


def test_an_unknown_size_gets_a_fixed_number_of_partitions() -> None:
    assert (plan_partitions(None, 32 * MIB).partitions, plan_partitions(None, 32 * MIB, 3).partitions) == (
        64,
        3,
    )


def test_a_plan_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="partitions >= 1, got 0, 1, 0"):
        plan_partitions(0, 1, 0)
