"""Buckets: documents whose signatures agree in all rows of a band are candidates for near-duplicates.

A signature is cut into bands of `rows` minima. Two documents of Jaccard similarity s share a band with probability
s^rows, and any of them with 1 - (1 - s^rows)^bands (P. Indyk and R. Motwani, Approximate nearest neighbors, 1998;
J. Leskovec, A. Rajaraman and J. Ullman, Mining of Massive Datasets, section 3.4).

A bucket is the 64-bit hash of a band's minima, its lowest bits replaced by the number of the band. One number more,
`bands`, is for documents that are compared by their content alone. At 16 bands 59 bits of hash are left: among 10^9
documents less than one pair meets by chance in a band.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.compiled import ReadOnly, compiled

MAX_BANDS = 1024
"""So that the number of a band leaves 53 bits of a bucket for the hash, and fits into uint16 beside NO_BAND."""

FALSE_POSITIVE_WEIGHT, FALSE_NEGATIVE_WEIGHT = 0.1, 0.9
"""What is found in vain is verified and let go. What isn't found is lost."""

CURVE_POINTS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

_CONTENT_BYTES = 16
_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
_LAST_MULTIPLIER = np.uint64(0x94D049BB133111EB)

Hashes = npt.NDArray[np.uint64]
Minima = npt.NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class Banding:
    """How a signature is cut: the first `rows` minima are band 0, the next ones band 1.

    Raises:
      ValueError: rows below 1, or bands not from 1 to MAX_BANDS.
    """

    bands: int = 16
    rows: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.bands <= MAX_BANDS or self.rows < 1:
            raise ValueError(
                f"needs from 1 to {MAX_BANDS} bands of at least 1 row, got {self.bands} bands of {self.rows}"
            )

    @property
    def needed(self) -> int:
        """Permutations that the bands look at."""
        return self.bands * self.rows

    def probability(self, jaccard: float) -> float:
        """The probability that two documents of this similarity share a bucket."""
        return float(1 - (1 - jaccard**self.rows) ** self.bands)

    def curve(self) -> str:
        """Two lines for people: similarities, and the share of pairs that is found at each."""
        heads = [f"{jaccard:>7.2f}" for jaccard in CURVE_POINTS]
        found = [f"{self.probability(jaccard):>7.1%}" for jaccard in CURVE_POINTS]
        return f"Jaccard{''.join(heads)}\nfound  {''.join(found)}"


def choose_banding(threshold: float, num_perm: int = 128) -> Banding:
    """The banding that datasketch's optimiser finds best for pairs of at least a similarity.

    Args:
      threshold: Jaccard similarity, between 0 and 1.
      num_perm: permutations of a signature. The banding may need fewer.

    Returns:
      What makes FALSE_POSITIVE_WEIGHT times the area of false positives (pairs below the threshold that are found) plus
      FALSE_NEGATIVE_WEIGHT times that of false negatives smallest. 14 bands of 9 rows at 0.8 with 128 permutations.

    Raises:
      ValueError: no threshold between 0 and 1, or one for which num_perm permutations give no two bands.
    """
    from datasketch import MinHashLSH  # half a second, so not before somebody asks for a banding

    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be between 0 and 1, got {threshold}")
    weights = (FALSE_POSITIVE_WEIGHT, FALSE_NEGATIVE_WEIGHT)
    try:
        best = MinHashLSH(threshold, num_perm, weights=weights)
    except ValueError as error:
        raise ValueError(
            f"no banding of {num_perm} permutations is found for threshold {threshold}: give bands and rows as well"
        ) from error
    return Banding(bands=best.b, rows=best.r)


def band_bits(banding: Banding) -> int:
    """Lowest bits of a bucket that hold the number of its band, or `bands` for a bucket of content."""
    return banding.bands.bit_length()


def buckets(mins: Minima, banding: Banding, salts: Hashes | None = None) -> Hashes:
    """The buckets of each document: uint64[n, bands].

    Args:
      mins: uint32[n, k], k at least `banding.needed`.
      banding: how to cut them.
      salts: uint64[n]. Documents of different salts share no bucket. None is one salt for all.

    Raises:
      ValueError: k is too small.
    """
    if mins.shape[1] < banding.needed:
        raise ValueError(
            f"{banding.bands} bands of {banding.rows} rows need {banding.needed} permutations, "
            f"the signatures have {mins.shape[1]}"
        )
    return _band_hashes(mins, banding, salts, bits=band_bits(banding), code=0)


def content_buckets(hashes: pa.FixedSizeBinaryArray, banding: Banding, salts: Hashes | None = None) -> Hashes:
    """The bucket of each document that is compared by its content alone: uint64[n].

    Args:
      hashes: of content.content_hashes, without nulls. The first 8 of the 16 bytes count.
      banding: of the documents that have shingles.
      salts: as for `buckets`.
    """
    size = hashes.type.byte_width
    if size != _CONTENT_BYTES or hashes.null_count:
        raise ValueError(f"needs hashes of {_CONTENT_BYTES} bytes and no nulls, got {hashes.type}")
    data = np.frombuffer(hashes.buffers()[1] or b"", np.uint8)
    rows = data[hashes.offset * size : (hashes.offset + len(hashes)) * size].reshape(-1, size)
    parts = np.ascontiguousarray(rows[:, :8]).view("<u4")
    one_band = Banding(bands=1, rows=parts.shape[1])
    return _band_hashes(parts, one_band, salts, bits=band_bits(banding), code=banding.bands).reshape(-1)


def band_of(buckets: Hashes, banding: Banding) -> npt.NDArray[np.uint16]:
    """The band of each bucket, schema.NO_BAND for one of content."""
    codes = (buckets & np.uint64((1 << band_bits(banding)) - 1)).astype(np.uint16)
    codes[codes == banding.bands] = schema.NO_BAND
    return codes


def twins(mins: Minima, salts: Hashes | None = None) -> Hashes:
    """A hash of each whole signature, equal for equal signatures of equal salts: uint64[n]."""
    return _band_hashes(mins, Banding(bands=1, rows=mins.shape[1]), salts, bits=0, code=0).reshape(-1)


def _band_hashes(mins: Minima, banding: Banding, salts: Hashes | None, bits: int, code: int) -> Hashes:
    rows, width = mins.shape
    hashes = np.empty(rows * banding.bands, np.uint64)
    seeds = np.zeros(rows, np.uint64) if salts is None else salts
    bands = np.arange(code, code + banding.bands, dtype=np.uint64)
    _hash_bands(np.ascontiguousarray(mins).reshape(-1), width, banding.rows, bands, bits, seeds, hashes)
    return hashes.reshape(rows, banding.bands)


@compiled
def _hash_bands(
    mins: ReadOnly[np.uint32],
    width: int,
    rows: int,
    codes: ReadOnly[np.uint64],
    bits: int,
    seeds: ReadOnly[np.uint64],
    hashes: npt.NDArray[np.uint64],
) -> None:
    """Each step is a bijection of the hash so far: bands that differ in one minimum never meet there."""
    bands, room = codes.size, np.uint64(bits)
    for document in range(seeds.size):
        seed = _spread(seeds[document])
        for band in range(bands):
            value, at = seed, document * width + band * rows
            for row in range(rows):
                value = (value ^ np.uint64(mins[np.uintp(at + row)])) * _MULTIPLIER
                value ^= value >> np.uint64(32)
            hashes[np.uintp(document * bands + band)] = _spread(value) >> room << room | codes[band]


@compiled
def _spread(value: np.uint64) -> np.uint64:
    """Every bit of the result depends on every bit of the value (the finaliser of SplitMix64)."""
    value = (value ^ value >> np.uint64(30)) * _MULTIPLIER
    value = (value ^ value >> np.uint64(27)) * _LAST_MULTIPLIER
    return value ^ value >> np.uint64(31)
