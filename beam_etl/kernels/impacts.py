"""Impacts: the pairs of frequency and document length that bound every score of a block, whatever scores it.

A document competes if no other has the term at least as often in a text at most as long. Any score that rises with the
frequency and falls with the length (BM25 with all k1 and b) has its maximum at one of these pairs. They are what Lucene
stores for its block-max WAND (class CompetitiveImpactAccumulator); a stored maximum score would depend on k1, b and on
statistics that change with each segment.
"""

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.compiled import compiled

Pairs = npt.NDArray[np.uint32]


@compiled
def compete(frequency: int, length: int, frequencies: Pairs, lengths: Pairs, begin: int, end: int) -> int:
    """Adds a pair to those from `begin` up to `end`, which ascend in both, if it competes; drops those that it beats.

    Needs room for one more. Returns the new end.
    """
    at = begin
    while at < end and frequencies[np.uintp(at)] < frequency:
        at += 1
    if at < end and lengths[np.uintp(at)] <= length:
        return end
    rest = at + (at < end and frequencies[np.uintp(at)] == frequency)
    while at > begin and lengths[np.uintp(at - 1)] >= length:
        at -= 1
    if rest == at:
        for place in range(end, at, -1):
            frequencies[np.uintp(place)] = frequencies[np.uintp(place - 1)]
            lengths[np.uintp(place)] = lengths[np.uintp(place - 1)]
        end += 1
    else:
        for place in range(rest, end):
            frequencies[np.uintp(at + 1 + place - rest)] = frequencies[np.uintp(place)]
            lengths[np.uintp(at + 1 + place - rest)] = lengths[np.uintp(place)]
        end -= rest - at - 1
    frequencies[np.uintp(at)] = frequency
    lengths[np.uintp(at)] = length
    return end
