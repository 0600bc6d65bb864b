from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest
from beam_etl.io.write_whole import write_whole
from beam_etl.pipelines import verify


def test_a_dataset_is_there_as_a_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, sink = tmp_path / "made", pa.BufferOutputStream()
    rows = pa.table({"n": [1, 2, 3]})
    pq.write_table(rows, sink)
    write_whole(
        str(place),
        {"numbers": sink.getvalue().to_pybytes()},
        about={"job": "test"},
        empty={"none": rows.schema},
    )
    assert duckdb.sql(f"SELECT n FROM '{place}/numbers/*.parquet' ORDER BY n").fetchall() == [
        (1,),
        (2,),
        (3,),
    ]
    assert verify.run([str(place)]) == 0
    current = manifest.latest(str(place))
    assert current is not None
    assert (current.rows("numbers"), current.rows("none"), current.about) == (3, 0, {"job": "test"})
    assert sorted(current.schemas) == ["none", "numbers"]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_what_is_there_stays(tmp_path: Path) -> None:
    place = tmp_path / "made"
    place.mkdir()
    (place / "mine").write_text("mine")
    with pytest.raises(OSError, match="not empty"):
        write_whole(str(place), {}, about={})
    assert [path.name for path in place.iterdir()] == ["mine"]
