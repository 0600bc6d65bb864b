"""Renumbering: the documents of several indexes as those of one, and their blocks as pieces of its terms."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.indexing import shuffled_documents
from beam_etl.kernels.pieces import NUMBERED_PIECE, Numbers, Postings, cut, pack
from beam_etl.kernels.places import MAX_DOCUMENTS
from beam_etl.kernels.provenance import POSITION
from beam_etl.kernels.split_terms import posting_costs
from beam_etl.schema import FILE, MAX_FILES, MAX_POSITION, NUMBER, POSITION_BITS, POSITIONS, TERM

GONE = np.uint32(MAX_DOCUMENTS)
"""Instead of a number: the document is left out."""


@dataclass(frozen=True)
class Renumbered:
    """What becomes of the documents of one index. Arrays are by their numbers there; 5 or 9 bytes a document.

    start: the number of the first one that stays, in the new index.
    numbers: uint32[documents], the new number of each, or GONE; None where all stay.
    lengths: uint32[documents], their indexed words.
    sampled: bool[documents], whether they are in the sample of split_terms.
    """

    start: int
    numbers: Numbers | None
    lengths: Numbers
    sampled: npt.NDArray[np.bool_]

    @property
    def count(self) -> int:
        """How many stay."""
        return self.lengths.size if self.numbers is None else int((self.numbers != GONE).sum())

    @property
    def tokens(self) -> int:
        """The words of those that stay."""
        stay = slice(None) if self.numbers is None else self.numbers != GONE
        return int(self.lengths[stay].sum(dtype=np.int64))

    def of(self, documents: Numbers) -> Numbers:
        """The new numbers of some documents."""
        return documents + np.uint32(self.start) if self.numbers is None else self.numbers[documents]


def renumber(
    start: int, lengths: Numbers, sampled: npt.NDArray[np.bool_], gone: npt.NDArray[np.bool_] | None
) -> Renumbered:
    """Numbers from `start` on for the documents that stay, in their order.

    Args:
      start: how many documents stay in the indexes before.
      lengths, sampled: as in Renumbered.
      gone: bool[documents], which are left out; None for none.
    """
    if gone is None or not gone.any():
        return Renumbered(start, None, lengths, sampled)
    numbers = np.cumsum(~gone, dtype=np.uint32)
    numbers += np.uint32(start)
    numbers -= np.uint32(1)
    numbers[gone] = GONE
    return Renumbered(start, numbers, lengths, sampled)


def moved_documents(documents: pa.RecordBatch, becomes: Renumbered) -> pa.RecordBatch:
    """indexing.SHUFFLED_DOCUMENT of those that stay.

    Args:
      documents: schema.INDEXED_DOCUMENT of the old index.
      becomes: what becomes of them.
    """
    numbers = becomes.of(documents.column(NUMBER).to_numpy())
    if becomes.numbers is not None:
        stay = numbers != GONE
        documents, numbers = documents.filter(pa.array(stay)), numbers[stay]
    return shuffled_documents(documents, numbers)


def moved_pieces(
    blocks: pa.RecordBatch, becomes: Renumbered, positions: bool
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Blocks of an index as pieces of the new one, without documents that are left out.

    Args:
      blocks: blocks.posting_schema, of the old index.
      becomes: what becomes of its documents.
      positions: whether the blocks have them.

    Returns:
      NUMBERED_PIECE and split_terms.COSTS. A block that loses all its documents is no piece.
    """
    kept, old, rows = _kept(blocks, becomes, positions)
    term = blocks.column(TERM).take(pa.array(rows))
    costs = posting_costs(term, kept.edges, kept.frequencies, becomes.sampled[old], positions)
    parts, parents = cut(kept)
    first, packed = pack(parts, becomes.lengths[old])
    term = term.take(pa.array(parents))
    return pa.RecordBatch.from_arrays([term, first, packed], schema=NUMBERED_PIECE), costs


def _kept(
    blocks: pa.RecordBatch, becomes: Renumbered, positions: bool
) -> tuple[Postings, Numbers, npt.NDArray[np.int64]]:
    """The postings that stay, the old numbers of their documents, and which blocks they are of."""
    lists = blocks.column("documents")
    edges = lists.offsets.to_numpy().astype(np.int64)
    edges -= edges[0]
    old = lists.flatten().to_numpy()
    frequencies = blocks.column("frequencies").flatten().to_numpy()
    places = blocks.column(POSITIONS.name).flatten().to_numpy() if positions else None
    new = becomes.of(old)
    if becomes.numbers is not None:
        stay = new != GONE
        if places is not None:
            places = places[np.repeat(stay, frequencies)]
        edges = np.append(0, np.cumsum(stay))[edges]
        old, new, frequencies = old[stay], new[stay], frequencies[stay]
    rows = np.flatnonzero(np.diff(edges))
    return Postings(np.append(edges[rows], edges[-1]), new, frequencies, places), old, rows


class RemovedPlaces:
    """Which documents are removed, by where they begin: 9 bytes each, and each path once.

    A document is known by its file and its position, which are distinct; ids may repeat.

    Args:
      removals: batches with the columns `file` and `position`. Rows where either is null name no document.

    Raises:
      OverflowError: more files than a run reads.
    """

    def __init__(self, removals: Iterable[pa.RecordBatch]) -> None:
        self._numbers: dict[str, int] = {}
        keys = [np.empty(0, np.uint64)]
        for batch in removals:
            found = _keys(batch, lambda path: self._numbers.setdefault(path, len(self._numbers)))
            if len(self._numbers) > _NO_FILE:
                raise OverflowError(f"removals of more than {_NO_FILE:,} files")
            keys.append(found[found < _NO_KEY])
        self._keys = np.unique(np.concatenate(keys))
        self._found = np.zeros(self._keys.size, np.bool_)

    def __len__(self) -> int:
        """How many documents they name."""
        return int(self._keys.size)

    @property
    def found(self) -> int:
        """How many of these were asked for."""
        return int(self._found.sum())

    @property
    def file(self) -> str:
        """The path of one of them."""
        return next(iter(self._numbers), "")

    def ask(self, documents: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Whether each document is removed: bool[rows].

        Args:
          documents: with the columns `file` and `position`.
        """
        if not self._keys.size:
            return np.zeros(documents.num_rows, np.bool_)
        keys = _keys(documents, lambda path: self._numbers.get(path, _NO_FILE))
        at = np.minimum(np.searchsorted(self._keys, keys), self._keys.size - 1)
        removed: npt.NDArray[np.bool_] = self._keys[at] == keys
        self._found[at[removed]] = True
        return removed


_NO_FILE = MAX_FILES - 1
"""Instead of the number of a file that has none."""

_NO_KEY = np.uint64(_NO_FILE << POSITION_BITS)
"""Keys below that are documents."""


def _keys(batch: pa.RecordBatch, number: Callable[[str], int]) -> npt.NDArray[np.uint64]:
    """The number of a file and a position in it, uint64[rows]; _NO_KEY where one is null or can't be."""
    files, positions = batch.column(FILE).cast(pa.string()).dictionary_encode(), batch.column(POSITION)
    numbers = np.array([number(path) for path in files.dictionary.to_pylist()] + [_NO_FILE], np.uint64)
    codes = files.indices.fill_null(numbers.size - 1).to_numpy()
    at = positions.fill_null(-1).to_numpy()
    keys = numbers[codes] << np.uint64(POSITION_BITS) | at.astype(np.uint64) & np.uint64(MAX_POSITION)
    keys[(numbers[codes] == _NO_FILE) | (at < 0) | (at > MAX_POSITION)] = _NO_KEY
    return keys
