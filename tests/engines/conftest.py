"""Clusters that tests share. They need a JDK and Maven: without, these tests skip, or fail where they must run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster, jars
from beam_etl.engines.flink.jars import Jars
from tests.engines.bench import Bench
from tests.engines.fragile import fragile, fragile_cluster  # noqa: F401
from tests.engines.report import (  # noqa: F401 - pytest looks for them here
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_terminal_summary,
    report,
)


@pytest.fixture(scope="session")
def flink_jars() -> Jars:
    """What a cluster runs on. Without Java the test skips; where BEAM_ETL_REQUIRE_JAVA=1, as in CI, it fails."""
    try:
        return jars.install(print)
    except jars.SetupError as error:
        if os.environ.get("BEAM_ETL_REQUIRE_JAVA") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def bench(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """What engines are compared on."""
    return Bench(shared / "data/webtext/debdocs_sample_1pct.jsonl.gz", tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def flink_cluster(flink_jars: Jars, tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Running]:
    """Two task managers of two slots. Leave it as it was: who kills something starts a cluster of their own."""
    yield from running(tmp_path_factory, task_managers=2)


@pytest.fixture(scope="session")
def embedded_flink(flink_jars: Jars, tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Running]:
    """Flink inside Beam's job server: the quickest one, of one process and the pool."""
    yield from running(tmp_path_factory, task_managers=0)


def running(folders: pytest.TempPathFactory, task_managers: int) -> Iterator[cluster.Running]:
    folder = str(folders.mktemp("flink"))
    try:
        yield cluster.start(folder, task_managers=task_managers, say=print)
    finally:
        cluster.stop(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a test has a cluster of its own; whatever is left there is ended."""
    yield tmp_path / "a cluster"
    cluster.stop(str(tmp_path / "a cluster"))
