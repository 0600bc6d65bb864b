from pathlib import Path

import numpy as np
import pytest

from beam_etl.io.token_files import token_rows
from beam_etl.kernels.token_index import index_pieces

LENGTHS = np.array([3, 1], np.int32)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    (tmp_path / "a.bin").write_bytes(bytes(8))
    (tmp_path / "a.idx").write_bytes(b"".join(index_pieces(LENGTHS, 2)))
    return tmp_path


def test_documents_are_told_by_the_index_alone(shard: Path) -> None:
    assert token_rows(str(shard / "a.idx")) == 2
    assert token_rows(str(shard / "a.bin")) == 0
    assert token_rows(str(shard / "a.parquet")) is None


def test_an_index_that_does_not_fit_its_ids_is_damaged(shard: Path) -> None:
    (shard / "a.bin").write_bytes(bytes(6))
    with pytest.raises(ValueError, match="it tells of 8 bytes of ids, .*a.bin has 6"):
        token_rows(str(shard / "a.idx"))
    (shard / "a.bin").unlink()
    with pytest.raises(OSError, match="a.bin"):
        token_rows(str(shard / "a.idx"))
