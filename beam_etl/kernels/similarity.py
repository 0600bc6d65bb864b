"""Similarity of two documents, estimated from the 8 low bits of each minimum of their signatures.

Two minima that differ agree in their low b bits with probability 2^-b, so that of k permutations a share of
C + (1 - C) J agrees, where C = 2^-8 and J is the Jaccard similarity (P. Li and A. C. König, b-Bit Minwise Hashing,
2010, for sets that are small beside the 2^32 hashes). Solved for J, and cut to 0..1. The standard error is 0.035 at
J = 0.8 and k = 128, as it is with whole minima.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.compiled import ReadOnly, compiled

CHANCE = 2.0**-8
"""Share of differing minima whose low bytes agree."""


def low_bytes(mins: npt.NDArray[np.uint32]) -> pa.FixedSizeBinaryArray:
    """The low byte of each minimum: fixed_size_binary[k], one for each of the n rows of `mins`, uint32[n, k]."""
    rows, size = mins.shape
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(size), rows, [None, pa.py_buffer(mins.astype(np.uint8))]
    )


def estimate_pairs(
    low: npt.NDArray[np.uint8], size: int, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """The estimated Jaccard similarity of each pair.

    Args:
      low: uint8[n * size], the low bytes of n signatures on end.
      size: permutations of a signature.
      first, second: int64[m] each, the two signatures of a pair, below n.

    Returns:
      float32[m], each from 0 to 1. Of texts without shingles it says nothing: their signatures are all equal.

    Raises:
      IndexError: a pair names a signature that isn't there.
    """
    number = low.size // size
    for side in (first, second):
        if side.size and not 0 <= side.min() <= side.max() < number:
            raise IndexError(f"pairs name signatures {side.min()} to {side.max()}, there are {number}")
    equal = np.empty(first.size, np.int32)
    _count_equal(low, size, first, second, equal)
    shares = np.arange(size + 1) / size
    similarities = np.clip((shares - CHANCE) / (1 - CHANCE), 0, 1).astype(np.float32)
    return similarities[equal]


@compiled
def _count_equal(
    low: ReadOnly[np.uint8],
    size: int,
    first: ReadOnly[np.int64],
    second: ReadOnly[np.int64],
    equal: npt.NDArray[np.int32],
) -> None:
    for pair in range(equal.size):
        one, other = first[pair] * size, second[pair] * size
        count = 0
        for i in range(size):
            count += low[np.uintp(one + i)] == low[np.uintp(other + i)]
        equal[pair] = count
