"""Conditions beside DuckDB, which reads the same text; and parts that are left out never have a row that is chosen."""

import datetime as dt
import decimal
import random
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from beam_etl.kernels.partition_paths import values_of
from beam_etl.kernels.partition_request import parse_partitioning
from beam_etl.kernels.partition_rows import partition_rows
from beam_etl.kernels.pruning import partition_facts
from beam_etl.kernels.where import Fact, WhereError, bind, can_hold, chosen, columns_of, comparable_value
from beam_etl.kernels.where_text import parse_where

UTC = dt.timezone.utc
ROWS = 300
RANDOM = random.Random(5)


def column(values: list[Any], kind: pa.DataType | None = None) -> pa.Array:
    return pa.array([None if RANDOM.random() < 0.15 else RANDOM.choice(values) for _ in range(ROWS)], kind)


BATCH = pa.record_batch(
    {
        "n": column([-3, 0, 1, 7, 2**40], pa.int64()),
        "x": column([-0.5, 0.0, 2.25, 1e9]),
        "s": column(["", "a", "b'c", "zebra", "Ω"]),
        "d": column([dt.date(2025, 12, 31), dt.date(2026, 1, 1), dt.date(2026, 2, 1)], pa.date32()),
        "t": column(
            [dt.datetime(2026, 1, day, 12, tzinfo=UTC) for day in (1, 2, 3)], pa.timestamp("us", "UTC")
        ),
        "b": column([True, False]),
        "p": column([decimal.Decimal("1.50"), decimal.Decimal("2.00")], pa.decimal128(8, 2)),
        "k": column(["de", "en"]).dictionary_encode(),
    }
)
TYPES = {field.name: field.type for field in BATCH.schema}

ATOMS = [
    *(
        "n >= 1",
        "n != 7",
        "n in (0, 7, 9)",
        "not n < 0",
        "n not in (1, 7)",
        "n is null",
        "x > 0.0",
        "x <= 2.25",
    ),
    *(
        "s = 'a'",
        "s > 'b'",
        "s in ('', 'Ω')",
        "s = 'b''c'",
        "s is not null",
        "d >= '2026-01-01'",
        "d = '2026-02-01'",
    ),
    *(
        "t < '2026-01-02 12:00:00'",
        "t <> '2026-01-01 12:00:00'",
        "b = true",
        "p >= 2.0",
        "k = 'de'",
        "k in ('en')",
    ),
]
CONDITIONS = [
    *ATOMS,
    *(
        f"{'not ' * RANDOM.randrange(2)}({RANDOM.choice(ATOMS)} {RANDOM.choice(['and', 'or', 'AND NOT'])} "
        f"{RANDOM.choice(ATOMS)}) {RANDOM.choice(['and', 'or'])} {RANDOM.choice(ATOMS)}"
        for _ in range(60)
    ),
]


def places(condition: str) -> list[int]:
    bound = bind(parse_where(condition), TYPES)
    return pc.indices_nonzero(chosen(BATCH, bound)).to_pylist()


def test_conditions_choose_the_rows_that_duckdb_chooses() -> None:
    table = pa.Table.from_batches([BATCH]).append_column("row", pa.array(range(ROWS)))
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    connection.register("rows", table)
    chosen_rows = 0
    for condition in CONDITIONS:
        expected = connection.execute(f"select row from rows where {condition} order by row").fetchall()
        assert places(condition) == [row for (row,) in expected], condition
        chosen_rows += len(expected)
    assert chosen_rows > 20 * ROWS


def facts_of(batch: pa.RecordBatch) -> dict[str, list[Fact]]:
    """What statistics would tell."""
    facts = {}
    for name in batch.schema.names:
        values = batch.column(name)
        values = values.dictionary_decode() if name == "k" else values
        bounds = pc.min_max(values)
        low, high = (comparable_value(bounds[which]) for which in ("min", "max"))
        facts[name] = [Fact(low, high, values.null_count < len(values), values.null_count > 0)]
    return facts


def test_a_part_without_a_chosen_row_may_be_left_out_and_no_other() -> None:
    left_out = 0
    for condition in CONDITIONS:
        bound = bind(parse_where(condition), TYPES)
        for start in range(0, ROWS, 3):
            part = BATCH.slice(start, 3)
            holds = can_hold(bound, facts_of(part))
            assert holds or not pc.any(chosen(part, bound)).as_py(), condition
            left_out += not holds
    assert left_out > 1000


SPECS = ["hash:s:8", "range:n:3", "time:d:month", "time:t:day", "value:k", "time:d:day,hash:n:5", "value:d"]


@pytest.mark.parametrize("spec", SPECS)
def test_partitions_are_left_out_by_their_names(spec: str) -> None:
    partitioning = parse_partitioning(spec.split(","))
    if spec.startswith("range"):
        from beam_etl.kernels.partition_bounds import with_bounds

        partitioning = with_bounds(partitioning, [BATCH])
    numbers, folders = partition_rows(BATCH, partitioning)
    left_out = 0
    for condition in CONDITIONS:
        bound = bind(parse_where(condition), TYPES)
        mask = chosen(BATCH, bound).to_numpy(zero_copy_only=False)
        for number, folder in enumerate(folders):
            values = values_of(partitioning, f"documents/{folder}/part")
            holds = can_hold(bound, partition_facts(partitioning, values, TYPES))
            assert holds or not mask[numbers == number].any(), (condition, folder)
            left_out += not holds
    assert left_out


REFUSED = {
    "": "it ends where the name of a column",
    "n >": "it ends where a value",
    "n = null": "use `is null`",
    "n = 1 and": "it ends",
    "n 1": "is expected at '1'",
    "(n = 1": "`\\)` is expected",
    "n = 1 s = 2": "and, or, or the end is expected at 's = 2'",
    "n in ()": "a value is expected",
    "n = 'a": "can't read",
    "n = x": "'x' can't be compared with column 'n', which is int64",
    "d > soon": "'soon' can't be compared with column 'd', which is date32",
    "__import__('os') = 1": "is expected at",
}


@pytest.mark.parametrize(("text", "told"), REFUSED.items(), ids=REFUSED)
def test_what_is_no_condition_is_told(text: str, told: str) -> None:
    with pytest.raises(WhereError, match=told):
        bind(parse_where(text), TYPES)


def test_names_and_values_may_stand_bare_or_in_quotes() -> None:
    assert parse_where("date >= 2026-01-01 and domain = a.example") == parse_where(
        "\"date\" >= '2026-01-01' AND 'domain' == \"a.example\""
    )
    assert columns_of(parse_where('"or" = 1 or not ("is null" is null and b in (1))')) == (
        "or",
        "is null",
        "b",
    )


def test_a_list_may_have_thousands_of_values_and_nan_is_found_in_one() -> None:
    types = {"n": pa.int64(), "x": pa.float64()}
    many = bind(parse_where(f"n in ({', '.join(map(str, range(5000)))})"), types)
    assert can_hold(many, {"n": [Fact(4999, 6000)]})
    assert not can_hold(many, {"n": [Fact(5000, 6000)]})
    assert can_hold(bind(parse_where("x in (nan)"), types), {"x": [Fact(1.0, 2.0)]})
    assert chosen(
        pa.record_batch({"x": [1.0, float("nan")]}), bind(parse_where("x in (nan)"), types)
    ).to_pylist() == [
        False,
        True,
    ]
