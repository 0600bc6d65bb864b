"""Places: which documents each batch has, from which follow the numbers of all documents.

A batch is some neighbouring documents of a file. The number of its first one is that of documents in batches of smaller
addresses. So numbers are dense and in the order of addresses, and nobody reads twice or waits for a single reader.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_etl.schema import MAX_POSITION, POSITION_BITS

PLACE = np.dtype(
    [("first", "<u8"), ("last", "<u8"), ("documents", "<u8"), ("tokens", "<u8"), ("left_out", "<u8")]
)
"""Of a batch: its first and last address, its documents, their indexed words, and those that were left out."""

MAX_DOCUMENTS = 0xFFFFFFFF
"""They are numbered in 32 bits, and the last number is none. More go into several indexes, which a search reads
together."""

Places = npt.NDArray[Any]


def pack_places(places: Iterable[tuple[int, int, int, int, int]]) -> bytes:
    """Places of a bundle as one small element."""
    return zlib.compress(np.array(list(places), PLACE).tobytes(), 1)


@dataclass(frozen=True)
class Numbered:
    """Where the documents of all batches begin.

    firsts: uint64[batches], ascending: the first address of each.
    starts: int64[batches]: the number of its first document.
    """

    firsts: npt.NDArray[np.uint64]
    starts: npt.NDArray[np.int64]
    documents: int
    tokens: int
    left_out: int

    def start(self, first: int) -> int:
        """The number of the first document of the batch that begins at an address."""
        place = int(np.searchsorted(self.firsts, np.uint64(first)))
        if place == self.firsts.size or self.firsts[place] != first:
            raise ValueError(f"no batch begins at the address {first}")
        return int(self.starts[place])


def unpack_places(packed: Iterable[bytes]) -> Places:
    """The places of several packs, by first address."""
    found = np.frombuffer(b"".join(map(zlib.decompress, packed)), PLACE)
    return found[np.argsort(found["first"], kind="stable")]


def number_places(packed: Iterable[bytes]) -> Numbered:
    """The numbers that follow from all places."""
    places = unpack_places(packed)
    counts = places["documents"].astype(np.int64)
    return Numbered(
        np.ascontiguousarray(places["first"]),
        np.cumsum(counts) - counts,
        int(counts.sum()),
        int(places["tokens"].sum()),
        int(places["left_out"].sum()),
    )


def place_failures(packed: Iterable[bytes]) -> list[str]:
    """Why documents can't be numbered: batches aren't neighbours, or there are too many."""
    places = unpack_places(packed)
    documents = int(places["documents"].sum())
    if documents > MAX_DOCUMENTS:
        return [
            f"{documents:,} documents; an index has {MAX_DOCUMENTS:,} at most. Build several, and search them together"
        ]
    crossing = np.flatnonzero(places["first"][1:] <= places["last"][:-1])
    if crossing.size:
        first, last = (
            int(value) for value in (places["first"][crossing[0] + 1], places["last"][crossing[0]])
        )
        between = f"positions {first & MAX_POSITION} and {last & MAX_POSITION}"
        told = f"two batches have documents between {between} of file number {first >> POSITION_BITS}"
        return [f"{told}: an index needs batches as they were read, before any shuffle"]
    return []
