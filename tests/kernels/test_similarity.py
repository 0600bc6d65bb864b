import numpy as np
import pytest
from datasketch import MinHash, bBitMinHash

from beam_etl.kernels.similarity import estimate_pairs, low_bytes


def flat(mins: np.ndarray) -> np.ndarray:
    return np.frombuffer(low_bytes(mins).buffers()[1], np.uint8)


def test_low_bytes_are_the_minima_modulo_256() -> None:
    mins = np.array([[0, 255, 256], [511, 0xFFFFFFFF, 77]], np.uint32)
    assert low_bytes(mins).to_pylist() == [bytes([0, 255, 0]), bytes([255, 255, 77])]


@pytest.mark.parametrize("size", [1, 126, 128, 300])
def test_estimates_are_those_of_datasketch(size: int) -> None:
    source = np.random.default_rng(1)
    mins = source.integers(0, 2**32, (30, size), dtype=np.uint32)
    for row in range(1, 30):  # agrees with the first one in more and more
        mins[row, : size * row // 29] = mins[0, : size * row // 29]
    sketches = [bBitMinHash(MinHash(hashvalues=values, scheme="affine32"), b=8) for values in mins]
    first, second = (side.ravel() for side in np.meshgrid(np.arange(30), np.arange(30)))
    expected = [sketches[one].jaccard(sketches[other]) for one, other in zip(first, second, strict=True)]
    found = estimate_pairs(flat(mins), size, first, second)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.clip(expected, 0, 1), abs=1e-6)


@pytest.mark.parametrize("common", [0, 200, 500, 800, 950])
def test_estimates_are_right_on_average(common: int) -> None:
    """Pairs of random sets, 1,000 elements in all, of which some are common."""
    tries, size = 300, 128
    source = np.random.default_rng(common)
    a = source.integers(0, 2**31, size, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    b = source.integers(0, 2**32, size, dtype=np.uint32)
    mins = np.empty((2 * tries, size), np.uint32)
    for row in range(tries):
        elements = source.integers(0, 2**32, 1000, dtype=np.uint32)
        half = (1000 + common) // 2
        mins[2 * row] = (elements[:half, None] * a + b).min(axis=0)
        mins[2 * row + 1] = (elements[half - common :, None] * a + b).min(axis=0)
    found = estimate_pairs(flat(mins), size, np.arange(0, 2 * tries, 2), np.arange(1, 2 * tries, 2))
    jaccard = common / 1000
    error = found.mean() - jaccard
    deviation = np.sqrt(max(jaccard * (1 - jaccard), 1 / size) / size)
    if common:
        assert abs(error) < 4 * deviation / np.sqrt(tries)
        assert found.std() == pytest.approx(deviation, rel=0.25)
    else:
        assert 0 <= error < 0.01  # cut at 0, so never too low


@pytest.mark.parametrize("pair", [(0, 2), (-1, 0)])
def test_a_pair_of_an_unknown_signature_is_an_error(pair: tuple[int, int]) -> None:
    first, second = (np.array([side], np.int64) for side in pair)
    with pytest.raises(IndexError, match="there are 2"):
        estimate_pairs(np.zeros(256, np.uint8), 128, first, second)


def test_no_pairs_have_no_estimates() -> None:
    none = np.empty(0, np.int64)
    assert estimate_pairs(np.zeros(256, np.uint8), 128, none, none).size == 0
