"""`--where` reads the same rows of files whose columns differ in type as of one with the widest."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl.io.columns import ALL, Columns
from beam_etl.io.read import ReadDocuments
from beam_etl.kernels.where_text import parse_where


def test_values_are_compared_in_the_type_of_all_files(tmp_path: Path) -> None:
    kinds = {"a": pa.float64(), "b": pa.int64(), "c": pa.int32()}
    for name, kind in kinds.items():
        pq.write_table(
            pa.table({"id": [name + str(n) for n in range(4)], "n": pa.array(range(4), kind)}),
            tmp_path / name,
        )
    pq.write_table(pa.table({"id": ["d0"]}), tmp_path / "d")
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_suffix(".parquet"))
    columns = Columns(needed=("id",), carry=ALL, where=parse_where("n < 1.5"))
    read = ReadDocuments(patterns=str(tmp_path), columns=columns)
    found = [row["id"] for file in read.files for batch in read.read_file(file) for row in batch.to_pylist()]
    assert found == ["a0", "a1", "b0", "b1", "c0", "c1"]
