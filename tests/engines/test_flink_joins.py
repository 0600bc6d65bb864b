"""Joins on a real Flink: each way gives DuckDB's rows there as well."""

from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster
from beam_etl.kernels.join_rule import INNER, OUTER, JoinRule
from beam_etl.kernels.partitioning import hashed
from beam_etl.pipelines import join
from tests.joins import expected, rows_of, sides
from tests.pipelines.test_join import write_file, write_partitioned, written

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.mark.parametrize(("way", "how"), [("colocated", OUTER), ("broadcast", INNER), ("shuffle", OUTER)])
def test_rows_are_those_of_duckdb(
    way: str, how: str, embedded_flink: cluster.Running, tmp_path: Path
) -> None:
    left, right = sides(("int", "string"), seed=31)
    left, on = left.drop_columns(["tags"]), ("k0", "k1")
    folders = tmp_path / "left", tmp_path / "right"
    for folder, rows in zip(folders, (left, right), strict=True):
        if way == "colocated":
            write_partitioned(folder, rows, hashed(on, 4, on))
        else:
            write_file(folder, rows)
    flags = [
        f"--left={folders[0]}",
        f"--right={folders[1]}",
        f"--output={tmp_path / 'out'}",
        f"--on={','.join(on)}",
    ]
    flags += [f"--how={how}", f"--way={way}", "--runner=flink", "--parallelism=2", *embedded_flink.flags()]
    assert join.run(flags) == 0
    rule = JoinRule(left=left.schema, right=right.schema, on=on, how=how)
    assert written(tmp_path / "out") == expected(left, right, rule) != rows_of([])
