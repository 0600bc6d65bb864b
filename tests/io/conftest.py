"""An index that several modules look at, and change copies of."""

from pathlib import Path

import pytest

from beam_etl.pipelines import inverted_index
from tests.small_indexes import small, write


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("source") / "in")


@pytest.fixture(scope="session")
def sound_index(indexed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with positions, split terms and terms of several blocks."""
    output = tmp_path_factory.mktemp("built") / "index"
    with small():
        assert inverted_index.run([f"--input={indexed}", f"--output={output}", "--positions=true"]) == 0
    return output
