"""MinHash signatures of texts: for each of k permutations, the smallest value of any of a text's shingles.

Two texts agree in a permutation with the probability of their Jaccard similarity (A. Broder, On the resemblance
and containment of documents, 1997). The permutations are those of datasketch 2, scheme "affine32": a shingle's
32-bit hash goes through MurmurHash3's finaliser, then to `a * h + b` modulo 2^32 with odd a. So a signature is
the one that datasketch makes of the same shingle hashes, bit by bit.

A shingle is n neighbouring words. Its hash is a polynomial of its words' 64-bit hashes, cut to 32 bits.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.text import Words, split
from beam_etl.kernels.word_hash import MULTIPLIER, word_hash

MAX_NGRAM = 64
"""Words of a shingle: more would cost a noticeable part of a block's work, and nobody finds near-duplicates so."""

BLOCK = 1024
"""Shingles that go through all permutations together: their hashes and those of their words take 12 KB of a
processor's first cache."""

LANES = 32
"""A block is filled up to a multiple of this, so that vectors of any width leave no rest to single steps."""

EMPTY = 0xFFFFFFFF
"""Every value of the signature of a text without shingles."""

_BASE = np.uint64(0xD1342543DE82EF95)


@dataclass(frozen=True)
class Permutations:
    """h -> a * h + b modulo 2^32: uint32[k] each, every a odd."""

    a: npt.NDArray[np.uint32]
    b: npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Signatures:
    """What n texts are compared by.

    mins: uint32[n, k], contiguous by text.
    shingles: int64[n], how many of them each text has, repeated ones counted again.
    words: int64[n].
    """

    mins: npt.NDArray[np.uint32]
    shingles: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]


@cache
def permutations(num_perm: int, seed: int) -> Permutations:
    """The permutations of `datasketch.MinHash(num_perm, seed, scheme="affine32")`, read-only.

    datasketch takes most of a second to import, so its draws are repeated here: first all factors, which are odd, then
    all increments, from one Mersenne Twister. Tests hold them against datasketch itself.

    Raises:
      ValueError: num_perm below 1, or a seed that isn't from 0 up to 2^32 - 1.
    """
    if num_perm < 1:
        raise ValueError(f"num_perm is at least 1, got {num_perm}")
    draws = np.random.RandomState(seed)
    odd = 2 * draws.randint(1 << 31, size=num_perm, dtype=np.uint32) + np.uint32(1)
    increment = draws.randint(1 << 32, size=num_perm, dtype=np.uint32)
    for values in (odd, increment):
        values.flags.writeable = False
    return Permutations(odd, increment)


def signatures(
    text: pa.Array, ngram: int, permutations: Permutations, count: int | None = None
) -> Signatures:
    """The signature of each text.

    Args:
      text: any kind of string array. A null has no words.
      ngram: words of a shingle, 1 to MAX_NGRAM.
      permutations: of `permutations`.
      count: only the first so many of them; None for all.

    Returns:
      mins of `count` columns. A text with fewer words than ngram has no shingle, and EMPTY everywhere.

    Raises:
      ValueError: ngram or count out of its range.
      TypeError: text is no string array.
    """
    count = permutations.a.size if count is None else count
    if not 1 <= count <= permutations.a.size:
        raise ValueError(
            f"count must be from 1 to {permutations.a.size}, the permutations there are, got {count}"
        )
    found, shingles = _split(text, ngram)
    mins = np.full(shingles.size * count, EMPTY, np.uint32)
    _signatures(
        found.letters,
        found.begins,
        found.edges,
        ngram,
        np.concatenate([permutations.a[:count], permutations.b[:count]]),
        np.empty(BLOCK + ngram - 1, np.uint64),
        np.empty(BLOCK, np.uint32),
        mins,
    )
    return Signatures(mins.reshape(-1, count), shingles, np.diff(found.edges))


def shingle_hashes(text: pa.Array, ngram: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """The hash of each shingle, as it is before any permutation.

    Args:
      text, ngram: as for `signatures`.

    Returns:
      uint32[shingles] in the order of the text, and int64[n + 1]: text i has those from edges[i] up to edges[i + 1].
    """
    found, shingles = _split(text, ngram)
    edges = np.concatenate([[0], np.cumsum(shingles)])
    hashes = np.empty(edges[-1], np.uint32)
    _all_shingles(
        found.letters, found.begins, found.edges, ngram, np.empty(BLOCK + ngram - 1, np.uint64), hashes
    )
    return hashes, edges


def _split(text: pa.Array, ngram: int) -> tuple[Words, npt.NDArray[np.int64]]:
    if not 1 <= ngram <= MAX_NGRAM:
        raise ValueError(f"ngram must be from 1 to {MAX_NGRAM} words, got {ngram}")
    found = split(text)
    return found, np.maximum(np.diff(found.edges) - (ngram - 1), 0)


@compiled
def _signatures(
    letters: ReadOnly[np.uint8],
    begins: ReadOnly[np.int64],
    edges: ReadOnly[np.int64],
    ngram: int,
    factors: ReadOnly[np.uint32],
    words: npt.NDArray[np.uint64],
    block: npt.NDArray[np.uint32],
    mins: npt.NDArray[np.uint32],
) -> None:
    """`factors` are every a, then every b; `words` and `block` are room for one block, however long a text is."""
    count = factors.size // 2
    for row in range(edges.size - 1):
        first, end = edges[row], edges[row + 1] - (ngram - 1)
        while first < end:
            size = min(BLOCK, end - first)
            _shingles(letters, begins, first, size, ngram, words, block, 0)
            _lower(_mixed(block, size), block, factors, mins, row * count)
            first += size


@compiled
def _all_shingles(
    letters: ReadOnly[np.uint8],
    begins: ReadOnly[np.int64],
    edges: ReadOnly[np.int64],
    ngram: int,
    words: npt.NDArray[np.uint64],
    hashes: npt.NDArray[np.uint32],
) -> None:
    at = 0
    for row in range(edges.size - 1):
        first, end = edges[row], edges[row + 1] - (ngram - 1)
        while first < end:
            size = min(BLOCK, end - first)
            _shingles(letters, begins, first, size, ngram, words, hashes, at)
            first += size
            at += size


@compiled
def _shingles(
    letters: ReadOnly[np.uint8],
    begins: ReadOnly[np.int64],
    first: int,
    size: int,
    ngram: int,
    words: npt.NDArray[np.uint64],
    hashes: npt.NDArray[np.uint32],
    at: int,
) -> None:
    """Hashes of the shingles that begin with `size` words from word `first` on, written from a place on."""
    for step in range(size + ngram - 1):
        word = first + step
        words[np.uintp(step)] = word_hash(letters, begins[np.uintp(word)], begins[np.uintp(word + 1)])
    value, leaves = np.uint64(0), np.uint64(1)
    for step in range(ngram - 1):
        value = value * _BASE + words[np.uintp(step)]
        leaves *= _BASE
    for step in range(size):
        value = value * _BASE + words[np.uintp(step + ngram - 1)]
        hashes[np.uintp(at + step)] = np.uint32(
            ((value ^ value >> np.uint64(32)) * MULTIPLIER) >> np.uint64(32)
        )
        value -= words[np.uintp(step)] * leaves


@compiled
def _mixed(block: npt.NDArray[np.uint32], size: int) -> int:
    """MurmurHash3's 32-bit finaliser in place. Returns the size with copies of the first value as filling."""
    for i in range(size):
        value = block[np.uintp(i)]
        value = np.uint32((value ^ value >> np.uint32(16)) * np.uint32(0x85EBCA6B))
        value = np.uint32((value ^ value >> np.uint32(13)) * np.uint32(0xC2B2AE35))
        block[np.uintp(i)] = value ^ value >> np.uint32(16)
    full = (size + LANES - 1) // LANES * LANES
    for i in range(size, full):
        block[np.uintp(i)] = block[0]
    return full


@compiled
def _lower(
    size: int,
    block: ReadOnly[np.uint32],
    factors: ReadOnly[np.uint32],
    mins: npt.NDArray[np.uint32],
    at: int,
) -> None:
    """Brings the minima from a place on down to those of a block too. The inner loop becomes vectors."""
    count = factors.size // 2
    for number in range(count):
        factor, addend = factors[number], factors[number + count]
        low = mins[np.uintp(at + number)]
        for i in range(size):
            low = min(low, np.uint32(block[np.uintp(i)] * factor + addend))
        mins[np.uintp(at + number)] = low
