"""Duplicates of a stream on a real Flink: state, timers and windows there give what plain Python does."""

from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster
from beam_etl.pipelines.dedup import run
from tests.pipelines.test_dedup_windows import NEAR, decided, families_of, written
from tests.streams import MINUTE
from tests.transforms.test_dedup_windows import SIZE, number
from tests.windowed_duplicates import decide_windows, near

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.mark.parametrize("disorder", ["0s", "25m"])
def test_a_stream_is_windows_one_after_another(
    disorder: str, flink_cluster: cluster.Running, tmp_path: Path
) -> None:
    rows = families_of(8)
    given = written(tmp_path / "in/a.jsonl", rows).parent
    flags = [f"--input=replay:{given}", f"--output={tmp_path}/out", f"--replay_disorder={disorder}"]
    flags += ["--window=fixed:10m", "--remember=25m", "--remember_partitions=4", "--max_disorder=25m"]
    engine = [
        "--runner=flink",
        "--parallelism=2",
        "--shutdown_sources_after_idle_ms=3000",
        *flink_cluster.flags(),
    ]
    assert run([*flags, *engine]) == 0
    expected = decide_windows(rows, near(NEAR), size=SIZE, remember=25 * MINUTE, number=number)
    assert expected.removed
    assert decided(tmp_path / "out") == expected
