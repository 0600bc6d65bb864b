"""What tests of joins have in common: random tables of every kind of key, and DuckDB's answer."""

import datetime
import random
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from beam_etl.kernels.join_rule import JoinRule

KINDS: dict[str, tuple[pa.DataType, Callable[[int], Any]]] = {
    "int": (pa.int64(), lambda i: i - 5),
    "string": (pa.string(), lambda i: "" if i == 3 else f"kéy {i}"),
    "binary": (pa.binary(), lambda i: bytes([i, 255, 0])),
    "date": (pa.date32(), lambda i: datetime.date(2026, 1, 1) + datetime.timedelta(i - 9)),
    "decimal": (pa.decimal128(12, 3), lambda i: Decimal(i * 7 - 20) / 8),
    "float": (pa.float64(), lambda i: [0.0, -0.0, -1.5][i] if i < 3 else i / 3),
    "time": (
        pa.timestamp("us"),
        lambda i: i * 9_000_001 - 60_000_000,
    ),
    "bool": (pa.bool_(), lambda i: i % 2 == 0),
}
"""Name -> type, and the value of a small number."""

FEW = [("string",), ("int", "string"), ("date", "decimal", "binary")]
GRID = FEW + [(kind,) for kind in KINDS if kind != "string"]
"""Kinds of the key columns; those of every run of the tests, and all."""

CASES = [
    pytest.param(kinds, id="+".join(kinds), marks=() if kinds in FEW else pytest.mark.long) for kinds in GRID
]
"""GRID for tests that are quick with a few of them."""


def sides(
    kinds: tuple[str, ...], seed: int, rows: int = 120, distinct: int = 25
) -> tuple[pa.Table, pa.Table]:
    """Two tables with the key columns k0, k1...: nulls, keys that are there often or on one side only."""
    chosen = random.Random(seed)
    few = round(distinct ** (1 / len(kinds)))
    left = _table(chosen, kinds, rows, range(few))
    right = _table(chosen, kinds, rows * 2 // 3, range(few // 3, few // 3 + few))
    return (
        left.append_column("note", pa.array([f"left {i}" for i in range(left.num_rows)])).append_column(
            "tags", pa.array([[i % 3] * (i % 4) for i in range(left.num_rows)])
        ),
        right.append_column("note", pa.array([f"right {i}" for i in range(right.num_rows)])).append_column(
            "weight", pa.array([i / 4 for i in range(right.num_rows)])
        ),
    )


def _table(chosen: random.Random, kinds: tuple[str, ...], rows: int, few: range) -> pa.Table:
    columns = {}
    for place, kind in enumerate(kinds):
        type_, value = KINDS[kind]
        numbers = [min(chosen.choice(few), chosen.choice(few)) for _ in range(rows)]
        values = [None if chosen.random() < 0.08 else value(number) for number in numbers]
        columns[f"k{place}"] = pa.array(values, type_)
    return pa.table(columns)


def expected(left: pa.Table, right: pa.Table, rule: JoinRule) -> list[str]:
    """The rows that DuckDB gives, in the order of `rows_of`."""
    same = " AND ".join(f"l.{name} = r.{name}" for name in rule.on)
    names = [name for name in left.column_names if name not in rule.on]
    chosen = [f"l.{name}" for name in (*rule.on, *names)]
    if rule.pairs:
        chosen = [f"COALESCE(l.{name}, r.{name}) AS {name}" for name in rule.on] + [
            f"l.{name}" for name in names
        ]
        others = [name for name in right.column_names if name not in rule.on]
        chosen += [f"r.{name} AS {'right_' if name in names else ''}{name}" for name in others]
    kind = {"outer": "FULL OUTER", "semi": "SEMI", "anti": "ANTI"}.get(rule.how, rule.how.upper())
    with duckdb.connect() as connection:
        connection.register("left_side", left)
        connection.register("right_side", right)
        found = connection.sql(
            f"SELECT {', '.join(chosen)} FROM left_side l {kind} JOIN right_side r ON {same}"
        ).to_arrow_table()
    return rows_of(found.select(rule.columns.names).to_batches())


def rows_of(batches: Iterable[pa.RecordBatch]) -> list[str]:
    """Rows as text, sorted; zeros have no sign."""
    return sorted(
        repr([value + 0.0 if isinstance(value, float) else value for value in row.values()])
        for batch in batches
        for row in batch.to_pylist()
    )


def pieces(table: pa.Table, rows: int) -> list[pa.RecordBatch]:
    """The table's rows in batches of at most so many."""
    return table.to_batches(rows)


def runs(table: pa.Table, rule: JoinRule, files: int, rows: int) -> list[list[pa.RecordBatch]]:
    """The table's rows in sorted runs, each in batches of so many."""
    by = [(name, "ascending") for name in rule.on]
    return [
        pieces(table.take(pa.array(range(start, table.num_rows, files), pa.int64())).sort_by(by), rows)
        for start in range(files)
    ]
