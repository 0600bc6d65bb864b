"""Rows of columnar files as text, whatever their values are."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io.columns import ALL, Columns
from tests.stored import read

BEYOND_PYTHON = {
    "nanoseconds": (pa.array([1700000000123456789], pa.timestamp("ns")), "2023-11-14 22:13:20.123456789"),
    "a far time": (pa.array([2**62], pa.timestamp("ms")), f"<value out of range: {2**62}>"),
    "a far date": (pa.array([2**30], pa.date32()), f"<value out of range: {2**30}>"),
    "an unknown zone": (pa.array([7], pa.timestamp("us", "No/Where")), "7"),
    "a length of nanoseconds": (pa.array([7], pa.duration("ns")), "7"),
}


@pytest.mark.parametrize(("value", "shown"), BEYOND_PYTHON.values(), ids=BEYOND_PYTHON)
def test_values_that_python_cannot_hold_are_shown_in_rejects(
    value: pa.Array, shown: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    lists = pa.ListArray.from_arrays([0, 1], value)
    pq.write_table(pa.table({"text": pa.array([None], pa.string()), "x": value, "xs": lists}), path)
    [reject] = read(path, Columns(carry=ALL)).rejects
    assert json.loads(reject.payload) == {"text": None, "x": shown, "xs": [shown]}


def test_a_time_that_is_no_time_is_told_when_python_cannot_hold_it(tmp_path: Path) -> None:
    far = pa.array([2**62, 0], pa.timestamp("ms"))
    pq.write_table(pa.table({"text": ["a", "b"], "time": far}), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet", Columns(needed=("text", "time")))
    assert [reject.position for reject in found.rejects] == [0]
    assert found.column("text") == ["b"]
