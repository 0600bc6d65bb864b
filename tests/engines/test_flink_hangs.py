"""A job on Flink whose worker hangs or dies goes on: it is never RUNNING for ever."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster
from tests.engines.launching import by_process
from tests.engines.pools import REPOSITORY, Pool, ending

HANG = {"BEAM_ETL_HANG_SECONDS": "10"}
JOB_SECONDS = 300

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def strict_pool(flink_cluster: cluster.Running) -> Iterator[Pool]:
    """One that waits for signs of life, and for an element, for seconds only."""
    with ending(Pool("tests.engines.preloads:short_elements", **HANG)) as started:
        yield started


def run(harm: str, folder: Path, there: cluster.Running, workers: list[str]) -> None:
    """Runs the job to its end."""
    flags = [
        "--runner=PortableRunner",
        f"--job_endpoint={there.job_endpoint}",
        "--parallelism=2",
        "--environment_cache_millis=1000",
        *workers,
    ]
    command = [sys.executable, "-m", "tests.engines.hanging", harm, str(folder), *flags]
    done = subprocess.run(
        command, cwd=REPOSITORY, timeout=JOB_SECONDS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def totals(folder: Path) -> list[int]:
    return [int(Path(folder, f"total-{key}").read_text(encoding="utf-8")) for key in range(5)]


@pytest.mark.parametrize(
    "harm",
    [
        "freeze",
        *(pytest.param(harm, marks=pytest.mark.long) for harm in ("wait_natively", "keep_the_lock", "die")),
    ],
)
def test_a_worker_of_a_pool_that_hangs_is_replaced(
    harm: str, flink_cluster: cluster.Running, strict_pool: Pool, tmp_path: Path
) -> None:
    workers = ["--environment_type=EXTERNAL", f"--environment_config={strict_pool.address}"]
    run(harm, tmp_path, flink_cluster, workers)
    assert (tmp_path / "harmed").exists()
    assert totals(tmp_path) == [sum(range(key, 100, 5)) for key in range(5)]


@pytest.mark.long
@pytest.mark.parametrize("harm", ["freeze", "die"])
def test_a_worker_of_a_task_manager_that_hangs_is_replaced(
    harm: str, flink_cluster: cluster.Running, tmp_path: Path
) -> None:
    workers = by_process(tmp_path, {"PYTHONPATH": str(REPOSITORY), **HANG})
    run(harm, tmp_path, flink_cluster, workers)
    assert (tmp_path / "harmed").exists()
    assert totals(tmp_path) == [sum(range(key, 100, 5)) for key in range(5)]
