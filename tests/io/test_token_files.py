from pathlib import Path

import numpy as np
import pytest

from beam_etl.io.token_files import token_rows
from beam_etl.kernels.token_arrays import array_header, offset_pieces
from beam_etl.kernels.token_index import index_pieces

LENGTHS = np.array([3, 1], np.int32)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    (tmp_path / "a.bin").write_bytes(bytes(8))
    (tmp_path / "a.idx").write_bytes(b"".join(index_pieces(LENGTHS, 2)))
    np.save(tmp_path / "b.npy", np.arange(4, dtype=np.uint16))
    (tmp_path / "b.offsets").write_bytes(b"".join(offset_pieces(LENGTHS)))
    return tmp_path


def test_documents_are_told_by_the_index_alone(shard: Path) -> None:
    assert token_rows(str(shard / "a.idx")) == 2
    assert token_rows(str(shard / "a.bin")) == 0
    assert token_rows(str(shard / "b.offsets")) == 2
    assert token_rows(str(shard / "b.npy")) == 0
    assert token_rows(str(shard / "a.parquet")) is None


def test_arrays_are_those_that_numpy_saves(shard: Path) -> None:
    ids = np.arange(4, dtype=np.uint16)
    assert (shard / "b.npy").read_bytes() == array_header(ids.dtype, 4) + ids.tobytes()
    np.save(shard / "c.npy", np.array([0, 3, 4]))
    assert (shard / "c.npy").read_bytes() == (shard / "b.offsets").read_bytes()


DAMAGES = {
    "fewer ids": ("b.npy", np.arange(3, dtype=np.uint16), "it tells of 4 ids, .*b.npy of 3"),
    "two dimensions": ("b.npy", np.zeros((2, 2), np.uint16), "no array of one dimension .* \\(2, 2\\)"),
    "places of another type": ("b.offsets", np.array([0, 3, 4], np.int32), "no offsets of documents"),
    "no place": ("b.offsets", np.zeros(0, np.int64), "no offsets of documents"),
    "places that go back": ("b.offsets", np.array([0, 5, 4]), "aren't ascending"),
    "places from elsewhere": ("b.offsets", np.array([1, 4]), "aren't ascending from 0"),
}


@pytest.mark.parametrize(("name", "values", "message"), DAMAGES.values(), ids=DAMAGES)
def test_arrays_that_do_not_fit_are_damaged(name: str, values: np.ndarray, message: str, shard: Path) -> None:
    with (shard / name).open("wb") as file:
        np.save(file, values)
    with pytest.raises(ValueError, match=message):
        token_rows(str(shard / "b.offsets"))


def test_an_array_that_is_cut_short_is_damaged(shard: Path) -> None:
    (shard / "b.npy").write_bytes((shard / "b.npy").read_bytes()[:-1])
    with pytest.raises(ValueError, match="it tells of 136 bytes of ids, .*b.npy has 135"):
        token_rows(str(shard / "b.offsets"))
    (shard / "b.offsets").write_bytes(b"no array at all")
    with pytest.raises(ValueError, match="no array of one dimension .* b'no array at all'"):
        token_rows(str(shard / "b.offsets"))


def test_a_changed_byte_of_a_header_is_told_as_damage(shard: Path) -> None:
    whole = (shard / "b.npy").read_bytes()
    kind = whole.index(b"'<u2'") + 2  # signed numbers are as many
    for at in set(range(len(array_header(np.dtype(np.uint16), 4)))) - {kind}:
        (shard / "b.npy").write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        with pytest.raises(ValueError, match="no array of one dimension|it tells of"):
            token_rows(str(shard / "b.offsets"))


def test_an_index_that_does_not_fit_its_ids_is_damaged(shard: Path) -> None:
    (shard / "a.bin").write_bytes(bytes(6))
    with pytest.raises(ValueError, match="it tells of 8 bytes of ids, .*a.bin has 6"):
        token_rows(str(shard / "a.idx"))
    (shard / "a.bin").unlink()
    with pytest.raises(OSError, match="a.bin"):
        token_rows(str(shard / "a.idx"))
