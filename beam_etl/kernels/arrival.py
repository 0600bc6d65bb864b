"""In which order stored documents arrive when they are played again: by time, with a chosen disorder."""

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def arrival_times(times: Times, keys: npt.NDArray[np.uint64], disorder: int, seed: int) -> Times:
    """When each document arrives: at its time, or up to `disorder` later.

    So a document is never further behind the largest time that arrived before it than `disorder`.

    Args:
      times: int64[rows], event times.
      keys: uint64[rows], distinct: the delay is a function of key and seed alone.
      disorder: 0 or more, in the unit of `times`.
      seed: of the delays.

    Returns:
      int64[rows].

    Source: splitmix64 (G. Steele, D. Lea, C. Flood, Fast splittable pseudorandom number generators, 2014).
    """
    with np.errstate(over="ignore"):
        mixed = (keys ^ _mix(np.array([seed], np.uint64))[0]) + _STEP
    delays = _mix(mixed) % np.uint64(disorder + 1)
    return times + delays.astype(np.int64)


def arrival_order(arrivals: Times, keys: npt.NDArray[np.uint64], splits: int) -> npt.NDArray[np.int64]:
    """The places of documents in the order in which they arrive, split by split: each has every `splits`-th of them.

    Args:
      arrivals: of `arrival_times`.
      keys: the same; decide where two arrive at once.
      splits: at least 1.

    Returns:
      int64[rows]: of split 0, then of split 1, and so on.
    """
    order = np.lexsort((keys, arrivals))
    return np.concatenate([order[split::splits] for split in range(splits)])


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * _FIRST
        values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))
