from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from beam_etl.kernels import hashing, join_keys
from beam_etl.kernels.hash_join import hash_join
from beam_etl.kernels.join_rule import HOWS, INNER, JoinError, JoinRule
from beam_etl.kernels.join_table import JOINED_BYTES, PAIRS
from tests.joins import CASES, expected, pieces, rows_of, sides


def rule_of(left: pa.Table, right: pa.Table, how: str) -> JoinRule:
    return JoinRule(
        left=left.schema, right=right.schema, on=tuple(n for n in left.column_names if n[0] == "k"), how=how
    )


def joined(left: pa.Table, right: pa.Table, rule: JoinRule, **more: object) -> list[str]:
    mine = [rule.of_left(batch) for batch in pieces(left, 47)]
    others = [rule.of_right(batch) for batch in pieces(right, 31)]
    batches = list(hash_join(mine, others, rule, **more))
    assert all(batch.schema == rule.columns for batch in batches)
    return rows_of(batches)


@pytest.mark.parametrize("kinds", CASES)
@pytest.mark.parametrize("how", HOWS)
def test_rows_are_those_of_duckdb(kinds: tuple[str, ...], how: str) -> None:
    left, right = sides(kinds, seed=len(how))
    rule = rule_of(left, right, how)
    assert joined(left, right, rule) == expected(left, right, rule)


@pytest.mark.parametrize("how", HOWS)
def test_rows_are_the_same_where_a_side_is_held_in_parts(how: str) -> None:
    left, right = sides(("int", "string"), seed=3)
    rule = rule_of(left, right, how)
    assert joined(left, right, rule, held_bytes=1500) == expected(left, right, rule)


def test_an_inner_join_may_hold_the_left_side() -> None:
    left, right = sides(("string",), seed=4)
    rule = rule_of(left, right, INNER)
    assert joined(left, right, rule, holds_left=True) == expected(left, right, rule)


@pytest.mark.parametrize("how", HOWS)
def test_values_decide_where_hashes_collide(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = sides(("string", "int"), seed=5)
    rule = rule_of(left, right, how)
    honest = hashing.hash_rows
    monkeypatch.setattr(join_keys, "hash_rows", lambda keys: honest(keys) % np.uint64(3))
    assert joined(left, right, rule) == expected(left, right, rule)


@pytest.mark.parametrize("how", HOWS)
def test_a_side_may_have_no_rows(how: str) -> None:
    left, right = sides(("date",), seed=6)
    rule = rule_of(left, right, how)
    for mine, others in product((left, left.slice(0, 0)), (right, right.slice(0, 0))):
        assert joined(mine, others, rule) == expected(mine, others, rule)


def test_a_key_of_many_rows_on_both_sides_comes_in_bounded_batches() -> None:
    left = pa.table({"k": [7] * 3000, "text": ["x" * (5 << 20 if i == 5 else 10) for i in range(3000)]})
    right = pa.table({"k": [7] * 100, "n": range(100)})
    rule = rule_of(left, right, INNER)
    sizes = [
        (batch.num_rows, batch.nbytes)
        for batch in hash_join(
            [rule.of_left(batch) for batch in pieces(left, 1000)],
            [rule.of_right(right.to_batches()[0])],
            rule,
        )
    ]
    assert sum(rows for rows, _ in sizes) == 300_000
    assert max(rows for rows, _ in sizes) <= PAIRS
    assert max(size for _, size in sizes) < 3 * JOINED_BYTES


WIDENED = {
    "int32 and int64": (pa.int32(), pa.int64(), pa.int64()),
    "uint32 and int8": (pa.uint32(), pa.int8(), pa.int64()),
    "float and double": (pa.float32(), pa.float64(), pa.float64()),
    "string and large_string": (pa.string(), pa.large_string(), pa.large_string()),
    "dictionary and string": (pa.dictionary(pa.int8(), pa.string()), pa.string(), pa.string()),
    "view and string": (pa.string_view(), pa.string(), pa.large_string()),
    "fixed binary and binary": (pa.binary(1), pa.binary(), pa.large_binary()),
    "decimals": (pa.decimal128(5, 2), pa.decimal128(9, 4), pa.decimal128(9, 4)),
    "timestamps": (pa.timestamp("s", "UTC"), pa.timestamp("us", "UTC"), pa.timestamp("us", "UTC")),
    "null and int": (pa.null(), pa.int16(), pa.int16()),
}


@pytest.mark.parametrize(("left", "right", "wider"), WIDENED.values(), ids=WIDENED)
def test_keys_are_compared_in_the_wider_type(
    left: pa.DataType, right: pa.DataType, wider: pa.DataType
) -> None:
    def values(kind: pa.DataType) -> pa.Array:
        if pa.types.is_null(kind):
            return pa.nulls(3)
        if pa.types.is_binary(wider) or pa.types.is_large_binary(wider):
            return pa.array([b"1", b"2", None], kind)
        if pa.types.is_string(wider) or pa.types.is_large_string(wider):
            return pa.array(["1", "2", None], kind)
        if pa.types.is_timestamp(wider):
            return pa.array([1, 2, None], pa.timestamp("s", "UTC")).cast(kind)
        return pa.array([1, 2, None], kind)

    rule = JoinRule(
        left=pa.schema([("k", left)]), right=pa.schema([("k", right), ("n", pa.int8())]), on=("k",)
    )
    assert rule.columns.field("k").type == wider
    mine = rule.of_left(pa.record_batch({"k": values(left)}))
    others = rule.of_right(pa.record_batch([values(right), pa.array([1, 2, 3], pa.int8())], names=["k", "n"]))
    pairs = [row["n"] for batch in hash_join([mine], [others], rule) for row in batch.to_pylist()]
    assert pairs == ([] if pa.types.is_null(left) else [1, 2])


APART = {
    "string and int": (pa.string(), pa.int64()),
    "string and binary": (pa.string(), pa.binary()),
    "int and float": (pa.int64(), pa.float64()),
    "uint64 and int64": (pa.uint64(), pa.int64()),
    "zones": (pa.timestamp("us", "UTC"), pa.timestamp("us")),
    "lists": (pa.list_(pa.int8()), pa.list_(pa.int8())),
}


@pytest.mark.parametrize(("left", "right"), APART.values(), ids=APART)
def test_types_that_do_not_go_together_are_named(left: pa.DataType, right: pa.DataType) -> None:
    with pytest.raises(JoinError) as told:
        JoinRule(left=pa.schema([("k", left)]), right=pa.schema([("k", right)]), on=("k",))
    assert f"'k' is {left}" in str(told.value)
    assert f"'k' is {right}" in str(told.value)


WRONG = {
    "no key": ({"on": ()}, "at least one column"),
    "a key twice": ({"on": ("k", "k")}, "each once"),
    "a key that is absent": ({"on": ("n",)}, "the left side has no column 'n'; it has 'k', 'v', 'right_v'"),
    "an unknown kind": ({"how": "right"}, "inner, left, semi, anti, outer"),
    "a name that is taken": ({}, "'right_v', which the left side has already"),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_a_join_that_can_not_be_is_refused(given: dict[str, object], message: str) -> None:
    sides_ = {
        "left": pa.schema([("k", pa.int8()), ("v", pa.int8()), ("right_v", pa.int8())]),
        "right": pa.schema([("k", pa.int8()), ("v", pa.int8()), ("n", pa.int8())]),
    }
    with pytest.raises(JoinError, match=message):
        JoinRule(**{**sides_, "on": ("k",), **given})


def test_nan_equals_nan_and_zero_has_no_sign() -> None:
    left, right = (
        pa.table({"k": [float("nan"), -0.0, 1.0]}),
        pa.table({"k": [float("nan"), 0.0], "n": [1, 2]}),
    )
    rule = rule_of(left, right, INNER)
    assert [row[-2] for row in joined(left, right, rule)] == ["2", "1"]  # as text, 0.0 sorts before nan
