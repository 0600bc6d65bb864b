import hashlib
import itertools
import random

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash, MinHashLSH

from beam_etl.kernels.banding import (
    MAX_BANDS,
    Banding,
    band_bits,
    band_of,
    buckets,
    choose_banding,
    content_buckets,
    twins,
)
from beam_etl.kernels.minhash import permutations, signatures
from beam_etl.schema import NO_BAND

BANDINGS = [Banding(), Banding(bands=14, rows=9), Banding(bands=2, rows=3), Banding(bands=128, rows=1)]


def name(banding: Banding) -> str:
    return f"{banding.bands} bands of {banding.rows}"


@pytest.fixture(scope="module")
def mins() -> np.ndarray:
    """Signatures of 200 texts: 20 of them, and copies with some words changed."""
    source = random.Random(3)
    texts = []
    for _ in range(20):
        words = [str(source.randrange(10_000)) for _ in range(200)]
        for changes in (0, 0, 1, 2, 4, 8, 8, 16, 16, 100):
            copy = words.copy()
            for at in source.sample(range(200), changes):
                copy[at] = "new"
            texts.append(" ".join(copy))
    return signatures(pa.array(texts), 5, permutations(128, 1)).mins


def pairs(found: np.ndarray) -> set[tuple[int, int]]:
    """Rows of which any column is equal."""
    return {
        (first, second)
        for first, second in itertools.combinations(range(len(found)), 2)
        if (found[first] == found[second]).any()
    }


@pytest.mark.parametrize("banding", BANDINGS, ids=name)
def test_candidates_are_those_of_datasketch(banding: Banding, mins: np.ndarray) -> None:
    index = MinHashLSH(num_perm=128, params=(banding.bands, banding.rows))
    for row, values in enumerate(mins):
        index.insert(row, MinHash(hashvalues=values, scheme="affine32"))
    expected = {
        (row, other)
        for row, values in enumerate(mins)
        for other in index.query(MinHash(hashvalues=values, scheme="affine32"))
        if row < other
    }
    assert expected
    assert pairs(buckets(mins, banding)) == expected


@pytest.mark.parametrize("banding", [*BANDINGS, Banding(bands=MAX_BANDS, rows=1)], ids=name)
def test_a_bucket_tells_its_band(banding: Banding) -> None:
    same = np.full((3, banding.needed), 7, np.uint32)
    found = buckets(same, banding)
    assert (band_of(found, banding) == np.arange(banding.bands)).all()
    assert len(np.unique(found)) == banding.bands
    content = content_buckets(hashes("a", "b"), banding)
    assert band_of(content, banding).tolist() == [NO_BAND] * 2


def hashes(*values: str) -> pa.FixedSizeBinaryArray:
    return pa.array([hashlib.md5(value.encode()).digest() for value in values], pa.binary(16))


@pytest.mark.parametrize("place", [0, 7, 8, 127])
def test_signatures_of_small_numbers_spread_over_all_buckets(place: int) -> None:
    """Counting up gives buckets, and twins, that are all different, and evenly so in their high bits."""
    rows, parts = 100_000, 64
    mins = np.zeros((rows, 128), np.uint32)
    mins[:, place] = np.arange(rows)
    for found in (buckets(mins, Banding())[:, place // 8], twins(mins)):
        assert len(np.unique(found)) == rows
        shares = np.bincount((found >> np.uint64(58)).astype(np.int64), minlength=parts)
        assert (
            (shares - rows / parts) ** 2 / (rows / parts)
        ).sum() < 131  # chi-square, 63 degrees: p = 10^-6


def test_the_order_of_minima_matters() -> None:
    first, second = np.array([[1, 2, 3, 3]], np.uint32), np.array([[2, 1, 3, 3]], np.uint32)
    banding = Banding(bands=2, rows=2)
    assert (buckets(first, banding) == buckets(second, banding)).tolist() == [[False, True]]
    assert twins(first) != twins(second)


def test_documents_of_other_salts_never_meet(mins: np.ndarray) -> None:
    salts = np.arange(len(mins), dtype=np.uint64) % np.uint64(2)
    everything = pairs(buckets(mins, Banding()))
    inside = {pair for pair in everything if (pair[0] + pair[1]) % 2 == 0}
    assert inside
    assert inside < everything
    assert pairs(buckets(mins, Banding(), salts)) == inside
    one = twins(mins[[0, 0, 0]], salts[:3])
    assert one[0] == one[2] != one[1]
    content = content_buckets(hashes("a", "a", "a"), Banding(), salts[:3])
    assert content[0] == content[2] != content[1]


def test_twins_have_equal_signatures(mins: np.ndarray) -> None:
    expected = {
        (first, second)
        for first, second in itertools.combinations(range(len(mins)), 2)
        if mins[first].tolist() == mins[second].tolist()
    }
    assert expected
    assert pairs(twins(mins).reshape(-1, 1)) == expected


def test_content_buckets_follow_the_rows_of_a_slice() -> None:
    column = hashes("a", "b", "c", "b")
    whole = content_buckets(column, Banding())
    assert whole[1] == whole[3]
    assert len(np.unique(whole)) == 3
    assert content_buckets(column.slice(1, 2), Banding()).tolist() == whole[1:3].tolist()
    assert content_buckets(column.slice(0, 0), Banding()).size == 0


def test_a_null_has_no_bucket_of_content() -> None:
    with pytest.raises(ValueError, match="no nulls"):
        content_buckets(pa.array([None], pa.binary(16)), Banding())


def test_too_short_a_signature_is_told() -> None:
    with pytest.raises(ValueError, match="16 bands of 8 rows need 128 permutations, the signatures have 126"):
        buckets(np.zeros((1, 126), np.uint32), Banding())


MMDS = {0.2: 0.006, 0.3: 0.047, 0.4: 0.186, 0.5: 0.470, 0.6: 0.802, 0.7: 0.975, 0.8: 0.9996}
"""Figure 3.8 of Mining of Massive Datasets: 20 bands of 5 rows."""


@pytest.mark.parametrize(("jaccard", "found"), MMDS.items())
def test_the_probability_is_the_published_one(jaccard: float, found: float) -> None:
    assert Banding(bands=20, rows=5).probability(jaccard) == pytest.approx(found, abs=0.0006)


def test_the_curve_is_for_people() -> None:
    assert Banding(bands=20, rows=5).curve() == (
        "Jaccard   0.50   0.60   0.70   0.75   0.80   0.85   0.90   0.95\n"
        "found    47.0%  80.2%  97.5%  99.6% 100.0% 100.0% 100.0% 100.0%"
    )


def test_a_threshold_chooses_bands_that_lose_little() -> None:
    banding = choose_banding(0.8)
    assert (banding.bands, banding.rows) == (14, 9)
    assert banding.probability(0.85) == pytest.approx(0.975, abs=0.001)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, 0.9999])
def test_a_threshold_without_bands_is_told(threshold: float) -> None:
    with pytest.raises(ValueError, match=f"threshold.*{threshold}"):
        choose_banding(threshold)


@pytest.mark.parametrize(("bands", "rows"), [(0, 8), (MAX_BANDS + 1, 1), (16, 0)])
def test_bands_have_bounds(bands: int, rows: int) -> None:
    with pytest.raises(ValueError, match=f"got {bands} bands of {rows}"):
        Banding(bands=bands, rows=rows)


@pytest.mark.parametrize(("bands", "bits"), [(1, 1), (14, 4), (15, 4), (16, 5), (MAX_BANDS, 11)])
def test_a_bucket_has_room_for_every_band_and_content(bands: int, bits: int) -> None:
    assert band_bits(Banding(bands=bands, rows=1)) == bits
