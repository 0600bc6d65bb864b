"""What docs/engines.md tells people to type works: a cluster from its start to its stop."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster, jars
from beam_etl.engines.flink.jars import Jars
from tests.test_readme import ENGINES, make_documents, on_a_cluster

HERE = {
    ".venv/bin/python": [sys.executable],
    ".venv/bin/beam-etl": [sys.executable, "-m", "beam_etl"],
}


@pytest.fixture
def own_cache(flink_jars: Jars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache that has jars and kernels, and no cluster."""
    there = jars.cache_folder()
    if "BEAM_ETL_CACHE_DIR" not in os.environ:  # compiled kernels: to make them anew takes a minute
        monkeypatch.setenv("BEAM_ETL_CACHE_DIR", str(there.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    jars.cache_folder().mkdir(parents=True)
    for folder in there.glob("jars-*"):
        (jars.cache_folder() / folder.name).symlink_to(folder)
    return jars.cache_folder()


@pytest.mark.slow
def test_the_commands_for_a_cluster_on_this_machine_run(own_cache: Path, tmp_path: Path) -> None:
    make_documents(tmp_path)
    said = {}
    try:
        for line in on_a_cluster(ENGINES):
            program, *arguments = shlex.split(line)
            done = subprocess.run(
                [*HERE[program], *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            said[arguments[-1]] = done.stdout + done.stderr
    finally:
        cluster.stop()
    assert "2 of 2 task managers" in said["status"]
    assert "rows written:" in said["--runner=flink"]
    assert "FINISHED" in said["jobs"]
    assert not [name for name in os.listdir(own_cache) if not name.startswith("jars")]
