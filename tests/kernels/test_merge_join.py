import pyarrow as pa
import pytest

from beam_etl.kernels.join_rule import HOWS, INNER, JoinRule
from beam_etl.kernels.merge_join import OrderError, merge_join
from tests.joins import CASES, expected, rows_of, runs, sides


def joined(left: pa.Table, right: pa.Table, rule: JoinRule, files: tuple[int, int], rows: int) -> list[str]:
    mine = [[rule.of_left(batch) for batch in run] for run in runs(left, rule, files[0], rows)]
    others = [[rule.of_right(batch) for batch in run] for run in runs(right, rule, files[1], rows)]
    return rows_of(merge_join(mine, others, rule))


@pytest.mark.parametrize("kinds", CASES)
@pytest.mark.parametrize("how", HOWS)
def test_rows_are_those_of_duckdb(kinds: tuple[str, ...], how: str) -> None:
    left, right = sides(kinds, seed=len(how))
    rule = JoinRule(
        left=left.schema, right=right.schema, on=tuple(f"k{i}" for i in range(len(kinds))), how=how
    )
    assert joined(left, right, rule, (3, 2), 7) == expected(left, right, rule)


@pytest.mark.parametrize("how", HOWS)
def test_rows_do_not_depend_on_files_and_batches(how: str) -> None:
    left, right = sides(("int", "string"), seed=8, rows=60)
    rule = JoinRule(left=left.schema, right=right.schema, on=("k0", "k1"), how=how)
    wanted = expected(left, right, rule)
    for files, rows in (((1, 1), 1), ((1, 4), 5), ((2, 1), 1000)):
        assert joined(left, right, rule, files, rows) == wanted, (files, rows)


@pytest.mark.parametrize("how", HOWS)
def test_a_side_may_have_no_files_or_rows(how: str) -> None:
    left, right = sides(("string",), seed=6)
    rule = JoinRule(left=left.schema, right=right.schema, on=("k0",), how=how)
    for mine, others in (
        (left.slice(0, 0), right),
        (left, right.slice(0, 0)),
        (left.slice(0, 0), right.slice(0, 0)),
    ):
        for files in ((int(mine.num_rows > 0), int(others.num_rows > 0)), (2, 2)):
            assert joined(mine, others, rule, files, 10) == expected(mine, others, rule)


def test_a_key_of_many_batches_holds_the_smaller_side() -> None:
    many = [pa.record_batch({"k": [7] * 1000, "m": range(i * 1000, i * 1000 + 1000)}) for i in range(300)]
    few = pa.record_batch({"k": [7, 7, 8], "n": [1, 2, 3]})
    for left, right in (([*many], [few]), ([few], [*many])):
        rule = JoinRule(left=left[0].schema, right=right[0].schema, on=("k",), how=INNER)
        found = merge_join([map(rule.of_left, left)], [map(rule.of_right, right)], rule)
        before, most, rows = pa.total_allocated_bytes(), 0, 0
        for batch in found:
            rows += batch.num_rows
            most = max(most, pa.total_allocated_bytes() - before)
        assert rows == 600_000
        assert most < 2 << 20  # all that there is of the larger side: 4.8 MB


@pytest.mark.parametrize(
    "rows",
    {
        "in a batch": [[1, 3, 2]],
        "between batches": [[1, 3], [2, 4]],
        "a null before a key": [[1, None, 2]],
        "a null in an earlier batch": [[1, None], [2]],
    }.items(),
    ids=lambda pair: pair[0],
)
def test_rows_out_of_order_are_told(rows: tuple[str, list[list[int | None]]]) -> None:
    batches = [pa.record_batch({"k": pa.array(keys, pa.int64())}) for keys in rows[1]]
    rule = JoinRule(left=batches[0].schema, right=batches[0].schema, on=("k",))
    with pytest.raises(OrderError, match="not sorted by k"):
        list(merge_join([batches], [batches], rule))
