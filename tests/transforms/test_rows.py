import typing
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from beam_etl import BatchRows, UnbatchRows
from tests.beam import run


class Page(typing.NamedTuple):
    url: str
    words: int | None


DICTS = [{"url": f"u{i}", "words": None if i % 3 else i} for i in range(50)]
COLUMNS = pa.schema([("url", pa.string()), ("words", pa.int64())])
FORMS: dict[str, tuple[list[Any], Any, pa.Schema | None]] = {
    "dicts with a schema": (DICTS, dict[str, Any], COLUMNS),
    "beam.Rows": ([beam.Row(url=row["url"], words=i) for i, row in enumerate(DICTS)], None, None),
    "NamedTuples": ([Page(**row) for row in DICTS], Page, None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("rows", "kind", "schema"), FORMS.values(), ids=FORMS.keys())
def test_rows_go_to_batches_and_back(rows: list[Any], kind: Any, schema: pa.Schema | None) -> None:
    expected = [row if isinstance(row, dict) else row._asdict() for row in rows]
    with run() as pipeline:
        elements = pipeline | beam.Create(rows)
        if kind is not None:
            elements = elements | beam.Map(lambda row: row).with_output_types(kind)
        batches = elements | BatchRows(schema=schema, rows=20)
        assert_that(batches | UnbatchRows(), equal_to(expected))
        sizes = batches | beam.Map(lambda batch: 0 < batch.num_rows <= 20) | beam.Distinct()
        assert_that(sizes, equal_to([True]), label="bounded")


BIG = "x" * 100_000
LARGE_ROWS: dict[str, tuple[Any, pa.DataType]] = {
    "text": (BIG, pa.string()),
    "list": ([None, BIG], pa.list_(pa.string())),
    "struct in a list": ([{"html": BIG}], pa.list_(pa.struct({"html": pa.string()}))),
    "map": ({"html": BIG}, pa.map_(pa.string(), pa.string())),
    "numbers": ([1.5] * 12_500, pa.list_(pa.float64())),
    "array": (np.zeros(12_500), pa.list_(pa.float64())),
}


@pytest.mark.parametrize(("value", "kind"), LARGE_ROWS.values(), ids=LARGE_ROWS.keys())
def test_rows_are_held_only_up_to_the_bytes_of_a_batch(value: Any, kind: pa.DataType) -> None:
    with run() as pipeline:
        rows = pipeline | beam.Create([30]) | beam.FlatMap(lambda count: [{"value": value}] * count)
        batches = rows | BatchRows(schema=pa.schema([("value", kind)]), bytes=1 << 20)
        sizes = batches | beam.Map(lambda batch: (batch.num_rows, batch.nbytes <= 1 << 20))
        held = ((5, 6), (5, 6), (8,))  # 11 rows are more than 1 MiB, and are cut in the middle
        assert_that(sizes, equal_to([(rows, True) for part in held for rows in part]))


def test_a_field_that_is_no_column_is_named() -> None:
    pipeline = run()
    pipeline | beam.Create([{"url": "u", "wrods": 1}]) | BatchRows(schema=COLUMNS)
    with pytest.raises(ValueError, match="'wrods', which is no column; columns: url, words"):
        pipeline.run()


def test_windows_do_not_mix() -> None:
    def second(row: dict[str, Any], window: Any = beam.DoFn.WindowParam) -> tuple[int, str]:
        return int(window.start), row["url"]

    with run() as pipeline:
        rows = (
            pipeline
            | beam.Create([1, 12, 3, 25])
            | beam.Map(lambda t: TimestampedValue({"url": f"u{t}", "words": t}, t))
            | beam.WindowInto(FixedWindows(10))
            | BatchRows(schema=COLUMNS)
            | UnbatchRows()
            | beam.Map(second)
        )
        assert_that(rows, equal_to([(0, "u1"), (10, "u12"), (0, "u3"), (20, "u25")]))


def test_elements_without_fields_need_a_schema() -> None:
    with pytest.raises(TypeError, match=r"give BatchRows\(schema="):
        run() | beam.Create(DICTS) | BatchRows()
