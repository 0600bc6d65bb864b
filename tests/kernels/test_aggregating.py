import math
import random
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from beam_etl.kernels import aggregating
from beam_etl.kernels.aggregating import merge_states, no_rows, summarize_rows
from beam_etl.kernels.aggregations import StatePlan, parse_aggregations, percent_name
from beam_etl.kernels.answers import finish_states
from beam_etl.testing import check_merge, sorted_rows
from tests.tables import ask, odd_table

ROWS = 3000
ASKED = [
    *(
        "count",
        "count:s",
        "count:f",
        "sum:i",
        "mean:i",
        "min:i",
        "max:i",
        "sum:large",
        "mean:large",
        "max:large",
    ),
    *(
        "sum:b",
        "sum:x",
        "mean:x",
        "min:f",
        "max:f",
        "min:s",
        "max:s",
        "min:d",
        "max:b",
        "distinct:s",
        "distinct:f",
    ),
    *("p50:i", "p0:i", "p100:i", "p99.9:x", "p10:f", "p50:s", "p75:d"),
]
IN_DUCKDB = {"distinct": "count(DISTINCT {})", "mean": "avg({})"}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return odd_table(ROWS)


def plan_of(table: pa.Table, by: tuple[str, ...], asked: list[str], approximate: bool = False) -> StatePlan:
    return StatePlan(by, parse_aggregations(asked), table.schema, approximate)


def answer(table: pa.Table, plan: StatePlan, rows: int) -> pa.RecordBatch:
    """Summarized in batches of so many rows, merged, and finished."""
    states = [summarize_rows(batch, plan) for batch in table.to_batches(max_chunksize=rows)]
    return finish_states(merge_states(pa.concat_batches(states), plan), plan)


def in_sql(asked: str) -> str:
    function, _, column = asked.partition(":")
    name = f"{column}_{function}" if column else function
    if function[0] == "p":
        return f'quantile_disc({column}, {Decimal(function[1:]) / 100}) AS "{name}"'
    form = IN_DUCKDB.get(function, f"{function}({{}})")
    return f"{form.format(column or '*')} AS {name}"


def close(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, float):
        same = math.isnan(found) if math.isnan(expected) else math.isclose(found, expected, rel_tol=1e-9)
        return same or found == expected
    return bool(found == expected)


@pytest.mark.parametrize("rows", [ROWS, 190])
@pytest.mark.parametrize("by", [(), ("i",), ("s", "b")], ids=",".join)
def test_answers_are_duckdbs(by: tuple[str, ...], rows: int, table: pa.Table) -> None:
    found = answer(table, plan_of(table, by, ASKED), rows).to_pylist()
    selected = ", ".join([*by, *map(in_sql, ASKED)])
    expected = ask(f"SELECT {selected} FROM t {'GROUP BY ' + ', '.join(by) if by else ''}", t=table)
    groups = {tuple(row[name] for name in by): row for row in expected}
    assert {tuple(row[name] for name in by) for row in found} == set(groups)
    assert len(found) == len(groups)
    for row in found:
        other = groups[tuple(row[name] for name in by)]
        differ = {name: (value, other[name]) for name, value in row.items() if not close(value, other[name])}
        assert not differ


CODED = ["count", "count:i", "sum:i", "mean:i", "sum:b", "max:k", "min:k", "max:i"]


@pytest.mark.parametrize("many", [1, ROWS * ROWS], ids=["by code", "by Arrow"])
@pytest.mark.parametrize("asked", [CODED[:7], CODED, [*CODED, "p50:i", "sum:x"]], ids=len)
def test_dictionaries_are_grouped_by_their_codes(
    asked: list[str], many: int, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part has a dictionary of its own, one of them with a value twice, one with a value that no row has."""
    monkeypatch.setattr(aggregating, "MANY_ROWS", many)
    parts = [table.slice(begin, 700) for begin in range(0, ROWS, 700)]
    coded = [part.set_column(1, "s", part["s"].combine_chunks().dictionary_encode()) for part in parts]
    twice = coded[0]["s"].chunk(0)
    more = pa.concat_arrays([twice.dictionary, pa.array(["nowhere"]), twice.dictionary])
    indices = pc.add(twice.indices, pa.array([len(twice.dictionary) + 1] * 350 + [0] * 350, pa.int32()))
    coded[0] = coded[0].set_column(1, "s", pa.DictionaryArray.from_arrays(indices, more))
    whole = pa.concat_tables(coded)
    plan = StatePlan(("s",), parse_aggregations(asked), whole.schema)
    found = finish_states(merge_states(summarize_rows(whole, plan), plan), plan)
    assert found.equals(answer(table, plan_of(table, ("s",), asked), ROWS))
    alone = [summarize_rows(part, plan) for part in coded]
    assert finish_states(merge_states(pa.concat_batches(alone), plan), plan).equals(found)


@pytest.mark.parametrize("by", [("s", "k"), ("k", "s"), ("s", "b"), ("i",)], ids=",".join)
def test_rows_are_grouped_by_all_columns_where_one_is_coded(
    by: tuple[str, ...], table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregating, "MANY_ROWS", 1)
    coded = table.set_column(table.column_names.index("s"), "s", table["s"].dictionary_encode())
    plan = plan_of(coded, by, ["count", "sum:i"])
    found = finish_states(merge_states(summarize_rows(coded, plan), plan), plan).to_pylist()
    names = ", ".join(by)
    expected = ask(
        f"SELECT {names}, count(*) AS count, sum(i)::BIGINT AS i_sum FROM t GROUP BY {names}", t=table
    )
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_groups_of_nan_and_of_both_zeros_are_one(table: pa.Table) -> None:
    found = answer(table, plan_of(table, ("f",), ["count"]), ROWS).to_pylist()
    expected = ask("SELECT f, count(*) AS count FROM t GROUP BY f", t=table)
    assert sorted(map(repr, (row["count"] for row in found))) == sorted(
        repr(row["count"]) for row in expected
    )
    assert len(found) == len(expected)


def test_sums_of_doubles_are_those_of_fsum_whatever_the_order() -> None:
    chosen = random.Random(3)
    numbers = [chosen.uniform(-1, 1) * 10.0 ** chosen.randrange(-300, 300) for _ in range(4000)]
    numbers += [1e308, 1e308, -1e308, 5e-324, 1e16, 1.0, -1e16]
    for _ in range(3):
        chosen.shuffle(numbers)
        table = pa.table({"x": numbers})
        found = answer(table, plan_of(table, (), ["sum:x"]), 700).to_pylist()
        assert found == [{"x_sum": math.fsum(numbers)}]


INFINITIES = {
    "nan": ([1.0, math.nan], math.nan),
    "inf": ([1.0, math.inf], math.inf),
    "minus inf": ([1.0, -math.inf], -math.inf),
    "both": ([math.inf, -math.inf], math.nan),
    "too large": ([1.7e308, 1.7e308], math.inf),
    "nothing": ([None, None], None),
}


@pytest.mark.parametrize(("numbers", "expected"), INFINITIES.values(), ids=INFINITIES)
def test_sums_of_no_finite_numbers(numbers: list[float], expected: float) -> None:
    table = pa.table({"x": pa.array(numbers, pa.float64(), from_pandas=False)})
    assert repr(answer(table, plan_of(table, (), ["sum:x"]), 1).to_pylist()) == repr([{"x_sum": expected}])


def test_a_sum_beyond_int64_is_exact() -> None:
    table = pa.table({"g": [1, 1, 2], "v": pa.array([(1 << 64) - 1, (1 << 64) - 1, 3], pa.uint64())})
    found = answer(table, plan_of(table, ("g",), ["sum:v", "mean:v"]), 1)
    assert [int(value.as_py()) for value in found.column("v_sum")] == [2 * ((1 << 64) - 1), 3]
    assert found.column("v_mean").to_pylist() == [float((1 << 64) - 1), 3.0]


def test_a_sum_of_decimals_of_over_38_digits_is_exact() -> None:
    most = Decimal("9" * 38)
    table = pa.table({"g": [1] * 50 + [2], "v": pa.array([most] * 51, pa.decimal128(38, 0))})
    found = answer(table, plan_of(table, ("g",), ["sum:v", "mean:v"]), 20)
    assert found.to_pylist() == [
        {"g": 1, "v_sum": 50 * int(most), "v_mean": float(most)},
        {"g": 2, "v_sum": most, "v_mean": float(most)},
    ]


def test_decimals_are_added_exactly() -> None:
    table = pa.table({"v": pa.array([Decimal("0.10"), Decimal("0.20"), None], pa.decimal128(9, 2))})
    found = answer(table, plan_of(table, (), ["sum:v", "mean:v", "max:v"]), 1).to_pylist()
    assert found == [{"v_sum": Decimal("0.30"), "v_mean": 0.15, "v_max": Decimal("0.20")}]


def test_no_rows_are_one_row_of_nulls() -> None:
    table = odd_table(0)
    plan = plan_of(table, (), ["count", "count:i", "sum:i", "sum:x", "p50:i", "distinct:s", "min:s"])
    found = finish_states(merge_states(no_rows(plan), plan), plan).to_pylist()
    expected = {
        "count": 0,
        "i_count": 0,
        "i_sum": None,
        "x_sum": None,
        "i_p50": None,
        "s_distinct": 0,
        "s_min": None,
    }
    assert found == [expected]


def test_merging_is_associative_and_commutative(table: pa.Table) -> None:
    plan = plan_of(table, ("s",), ASKED)
    check_merge(
        partial(merge_states, plan=plan),
        [summarize_rows(b, plan) for b in table.to_batches(max_chunksize=500)],
    )


def test_dictionaries_are_their_values(table: pa.Table) -> None:
    place = table.column_names.index("s")
    encoded = table.set_column(place, "s", table["s"].dictionary_encode())
    asked = ["count", "distinct:s", "max:s"]
    found, plain = (answer(some, plan_of(some, ("s",), asked), 500) for some in (encoded, table))
    assert sorted_rows(found) == sorted_rows(plain)


@pytest.mark.parametrize("column", ["i", "x", "f"])
def test_approximate_quantiles_keep_their_error(column: str, table: pa.Table) -> None:
    asked = [f"p{percent}:{column}" for percent in (0, 1, 25, 50, 90, 99, 100)]
    exact, near = (
        answer(table, plan_of(table, ("b",), asked, how), 400).to_pylist() for how in (False, True)
    )
    for row, other in zip(exact, near, strict=True):
        for name, value in row.items():
            assert close(other[name], value) or abs(other[name] - value) <= abs(value) / 256 + 5e-324 * 2**45


WRONG = {
    "no such column": (("nothing",), ["count"], KeyError, "no column 'nothing'; there are f, s"),
    "sum of text": ((), ["sum:s"], TypeError, "column 's' is string: s_sum needs numbers"),
    "one name twice": (("count",), ["count"], ValueError, "columns of different names"),
}


@pytest.mark.parametrize(("by", "asked", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_has_no_answer_is_told(
    by: tuple[str, ...], asked: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan_of(odd_table(1), by, asked)


@pytest.mark.parametrize("text", ["median:x", "sum", "p101:x", "p50", ":x", "px:x"])
def test_unknown_aggregations_are_told(text: str) -> None:
    with pytest.raises(ValueError, match="is none of count"):
        parse_aggregations([text])


def test_quantiles_are_percents() -> None:
    assert list(map(percent_name, ["0", "0.5", "0.999", "1"])) == ["p0", "p50", "p99.9", "p100"]
    for wrong in ("1.5", "-0.1", "half", "0.123456789"):
        with pytest.raises(ValueError, match="is no quantile"):
            percent_name(wrong)
