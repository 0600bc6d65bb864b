"""Tables of values that orders and aggregations trip over, and DuckDB's answers about them."""

import random
from typing import Any

import duckdb
import pyarrow as pa

FLOATS = [None, float("nan"), 0.0, -0.0, 1.5, -2.5, float("inf"), -float("inf"), 1e300, 5e-324, 0.1]
TEXTS = [None, "", "a", "ä", "z", "Z", "日本", "\U0001f600", "\uffff", "a\x00b", "é"]
LARGE = (1 << 63) - 1


def odd_table(rows: int, seed: int = 1) -> pa.Table:
    """Nulls, NaN, two zeros, bytes beyond ASCII, many ties; `k` numbers the rows."""
    chosen = random.Random(seed)

    def column(values: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([chosen.choice(values) for _ in range(rows)], kind)

    return pa.table(
        {
            "f": column(FLOATS, pa.float64()),
            "s": column(TEXTS, pa.string()),
            "i": column([None, *range(-3, 3)], pa.int32()),
            "large": column([None, LARGE, LARGE - 1, -LARGE - 1, 7], pa.int64()),
            "x": pa.array(
                [chosen.uniform(-1e9, 1e9) * 10.0 ** chosen.randrange(-12, 3) for _ in range(rows)],
                pa.float64(),
            ),
            "d": column([None, *range(18000, 18009)], pa.date32()),
            "b": column([None, True, False], pa.bool_()),
            "k": pa.array(range(rows), pa.int64()),
            "text": pa.array(["wörd " * chosen.randrange(60) for _ in range(rows)], pa.large_string()),
        }
    )


def order_by(by: str, nulls: str) -> str:
    """DuckDB's ORDER BY of what users write as --by and --nulls."""
    columns = (
        item.removesuffix(":desc") + (" DESC" if item.endswith(":desc") else "") for item in by.split(",")
    )
    return ", ".join(f"{column} NULLS {nulls}" for column in columns)


def ask(query: str, **tables: pa.Table) -> list[dict[str, Any]]:
    """The rows that DuckDB answers with."""
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(query).to_arrow_table().to_pylist()


ORDERS = ["f", "f:desc", "s,i:desc", "s:desc,f", "i,f:desc,s", "d:desc,b", "large,b:desc"]
