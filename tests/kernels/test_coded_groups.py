"""Groups by code: the same answers as a loop in Python, over chunks, nulls and the ends of int64."""

import random
from typing import Any

import pyarrow as pa
import pytest

from beam_etl.kernels.coded_groups import group_codes

LEAST, MOST = -(1 << 63), (1 << 63) - 1


def loop(rows: list[dict[str, Any]]) -> dict[Any, tuple[int, int, int, int, int]]:
    """By code: rows, sum of `a` (nulls are 0), values of `a`, smallest `b`, largest `b`."""
    found: dict[Any, tuple[int, int, int, int, int]] = {}
    for row in rows:
        count, total, valid, least, most = found.get(row["code"], (0, 0, 0, MOST, LEAST))
        a, b = row["a"], row["b"]
        found[row["code"]] = (
            count + 1,
            total + (a or 0),
            valid + (a is not None),
            min(least, b),
            max(most, b),
        )
    return found


@pytest.mark.parametrize("chunk", [1000, 7])
def test_answers_are_those_of_a_loop(chunk: int) -> None:
    chosen = random.Random(5)
    rows = [
        {
            "code": chosen.choice([None, 0, 1, 5, 6]),
            "a": chosen.choice([None, 3, -(1 << 52)]),
            "b": chosen.choice([LEAST, MOST, 0, -7]),
        }
        for _ in range(1000)
    ]
    kinds = pa.schema([("code", pa.int32()), ("a", pa.int64()), ("b", pa.int64())])
    table = pa.Table.from_batches(pa.Table.from_pylist(rows, kinds).to_batches(max_chunksize=chunk))
    columns = {"total": table["a"], "valid": table["a"], "least": table["b"], "most": table["b"]}
    wanted = {"rows": "count_all", "total": "sum", "valid": "count", "least": "min", "most": "max"}
    answer = group_codes(table["code"], 7, columns, wanted)
    assert answer is not None
    codes, found = answer
    columns_of = [found[name].to_pylist() for name in wanted]
    assert dict(zip(codes.to_pylist(), zip(*columns_of, strict=True), strict=True)) == loop(rows)


def test_limits_have_the_type_of_their_column() -> None:
    answer = group_codes(pa.array([0, 0], pa.int32()), 1, {"m": pa.array([3, 9], pa.int16())}, {"m": "max"})
    assert answer is not None
    assert answer[1]["m"].type == pa.int16()


LEFT_TO_ARROW = {
    "floats": (pa.array([1.5]), "min"),
    "unsigned": (pa.array([1], pa.uint64()), "max"),
    "text": (pa.array(["a"]), "min"),
    "limits of nulls": (pa.array([None], pa.int64()), "min"),
}


@pytest.mark.parametrize(("values", "function"), LEFT_TO_ARROW.values(), ids=LEFT_TO_ARROW)
def test_what_it_cant_add_up_it_leaves(values: pa.Array, function: str) -> None:
    assert group_codes(pa.array([0], pa.int32()), 1, {"v": values}, {"v": function}) is None


def test_codes_of_8_bits_have_room_for_nulls_beside_128_values() -> None:
    codes = pa.array([*range(128), None, None, 127], pa.int8())
    answer = group_codes(codes, 128, {}, {"rows": "count_all"})
    assert answer is not None
    found = dict(zip(answer[0].to_pylist(), answer[1]["rows"].to_pylist(), strict=True))
    assert found == {**dict.fromkeys(range(127), 1), 127: 2, None: 2}
