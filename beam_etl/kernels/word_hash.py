"""The hash of a word, and its first bytes as a number."""

import numpy as np

from beam_etl.kernels.compiled import ReadOnly, compiled

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_WORD_SEED = np.uint64(0x6A09E667F3BCC909)


@compiled
def word_hash(letters: ReadOnly[np.uint8], begin: int, end: int) -> np.uint64:
    """64 bits that depend on the bytes from `begin` up to `end`. Fast; who wants collisions can make them."""
    value = _WORD_SEED + np.uint64(end - begin)
    while begin + 8 <= end:
        value = mix(value ^ eight(letters, begin))
        begin += 8
    return mix(mix(value ^ up_to_eight(letters, begin, end)))


@compiled
def up_to_eight(letters: ReadOnly[np.uint8], begin: int, end: int) -> np.uint64:
    """The bytes from `begin` up to `end`, at most 8 of them, as `eight` has them, with zeros behind them."""
    if begin + 8 <= letters.size:  # letters of the next words, cut off
        unused = np.uint64(8 * (8 - (end - begin)))
        return eight(letters, begin) << unused >> unused if end > begin else np.uint64(0)
    value = np.uint64(0)
    for step in range(end - begin):
        value |= np.uint64(letters[np.uintp(begin + step)]) << np.uint64(8 * step)
    return value


@compiled
def eight(letters: ReadOnly[np.uint8], at: int) -> np.uint64:
    """Eight bytes, the first one lowest. The compiler makes one load of it."""
    value = np.uint64(0)
    for step in range(8):
        value |= np.uint64(letters[np.uintp(at + step)]) << np.uint64(8 * step)
    return value


@compiled
def mix(value: np.uint64) -> np.uint64:
    """The same number for the same, another for another, spread over all bits."""
    value = (value ^ value >> np.uint64(32)) * MULTIPLIER
    return value ^ value >> np.uint64(29)
