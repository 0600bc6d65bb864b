"""Documents to token ids: rows that are packed one after another in a shuffled order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.hashing import Hashes, hash_rows
from beam_etl.kernels.process import once_per_process
from beam_etl.kernels.sorting import FIRST_KEY, Key, Order
from beam_etl.kernels.token_counts import DocumentCounter, document_counter
from beam_etl.kernels.tokens import TokenCounter
from beam_etl.kernels.vocabularies import Vocabulary, VocabularyError
from beam_etl.schema import ADDRESS, ID, TEXT

Integers = npt.NDArray[np.int64]

SHUFFLED = "shuffled"
"""uint64: what documents are ordered by; all values are equally likely."""

PACKED = "packed"
"""large_binary: ids of a document's tokens, little-endian, the mark of its end behind them."""

TOKENS = "tokens"
"""list: the ids of PACKED."""

SHUFFLED_ORDER = Order((Key(SHUFFLED),))

MARKS = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end_of_document|>",
    "</s>",
    "<eos>",
    "<EOS>",
    "[EOS]",
    "<|eos|>",
)
"""What vocabularies call the end of a document, the usual names first."""

UINT16_IDS = 1 << 16


@dataclass(frozen=True)
class Packing:
    """How documents become ids; hashable, and pickles small.

    Args:
      vocabulary: of tokens with ids.
      mark: id that ends each document.
      seed: of the order. Another one is another order.
      by_id: whether the order is that of hashed ids; else of hashed addresses, as where an id is null.
      with_id: whether packed documents have their ids along.
    """

    vocabulary: Vocabulary
    mark: int
    seed: int
    by_id: bool
    with_id: bool = False

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[npt.NBitBase]]:
        """uint16, or uint32 where an id needs it."""
        return np.dtype("<u2" if max(self.vocabulary.id_count(), self.mark + 1) <= UINT16_IDS else "<u4")


def mark_of(vocabulary: Vocabulary, wanted: str | None) -> int:
    """The id of what ends a document.

    Args:
      vocabulary: of tokens with ids.
      wanted: a special token of it, or an id; None for the first of MARKS that it has.

    Raises:
      VocabularyError: there is none. The message tells those there are.
    """
    special = vocabulary.special_tokens()
    if wanted is None:
        found = next((special[name] for name in MARKS if name in special), None)
    elif wanted in special:
        found = special[wanted]
    else:
        found = int(wanted) if wanted.isdecimal() and int(wanted) < vocabulary.id_count() else None
    if found is None:
        told = ", ".join(sorted(special, key=special.__getitem__)) or "none"
        asked = "none of the usual marks" if wanted is None else f"no special token {wanted!r}"
        raise VocabularyError(
            f"{vocabulary.spec} has {asked}; its special tokens are: {told}. "
            f"Use --end_of_document=TOKEN, or an id below {vocabulary.id_count():,}"
        )
    return found


@dataclass(frozen=True)
class DocumentPacker:
    """A kernel that packs documents. Thread-safe, and doesn't pickle: make it with once_per_process."""

    packing: Packing
    counter: TokenCounter
    dtype: np.dtype[np.unsignedinteger[npt.NBitBase]]

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of SHUFFLED, ADDRESS and PACKED, and of ID where packed documents have it.

        Args:
          batch: with `text` and `address`, and `id` where that is needed.
        """
        columns = {
            SHUFFLED: pa.array(shuffled(batch, self.packing.seed, self.packing.by_id)),
            ADDRESS: batch.column(ADDRESS),
            PACKED: packed_ids(self.counter.encode(batch.column(TEXT)), self.packing.mark, self.dtype),
        }
        if self.packing.with_id:
            columns[ID] = batch.column(ID)
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def document_packer(packing: Packing) -> DocumentPacker:
    """The kernel for a packing. Takes half a second, and raises as token_counter."""
    shared = cast(DocumentCounter, once_per_process(document_counter, packing.vocabulary).get())
    return DocumentPacker(packing, shared.counter, packing.dtype)


def shuffled(batch: pa.RecordBatch, seed: int, by_id: bool) -> Hashes:
    """uint64[rows]: the hash of each document's id, or of its address, with the seed (kernels/hashing.py)."""
    seeds = pa.repeat(pa.scalar(seed, pa.int64()), batch.num_rows)
    if not by_id:
        return hash_rows([seeds, batch.column(ADDRESS)])
    ids = batch.column(ID)
    hashes = hash_rows([seeds, ids])
    if ids.null_count:
        hashes = np.where(np.asarray(ids.is_null()), hash_rows([seeds, batch.column(ADDRESS)]), hashes)
    return hashes


def packed_ids(
    encoded: pa.LargeListArray, mark: int, dtype: np.dtype[np.unsignedinteger[npt.NBitBase]]
) -> pa.LargeBinaryArray:
    """The bytes of each list of ids and of the mark behind it: large_binary[rows]."""
    offsets = encoded.offsets.to_numpy()
    ids = encoded.values.to_numpy()[offsets[0] : offsets[-1]]
    ends = offsets[1:] - offsets[0]
    marked = np.insert(ids.astype(dtype), ends, dtype.type(mark))
    places = np.append(0, ends + np.arange(1, len(encoded) + 1)) * dtype.itemsize
    buffers = [None, pa.py_buffer(places.astype(np.int64)), pa.py_buffer(marked)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(encoded), buffers)


def shard_bounds(shards: int) -> pa.RecordBatch:
    """Where each shard but the first begins, as `key_rows` of SHUFFLED_ORDER: equal parts of all hashes."""
    begins = [(number << 64) // shards for number in range(1, shards)]
    return pa.RecordBatch.from_arrays([pa.array(begins, pa.uint64())], [FIRST_KEY])


def ids_of_shards(batch: pa.RecordBatch, bounds: pa.RecordBatch, id_bytes: int) -> Integers:
    """int64[shards]: ids of packed documents by their shards, as `shard_bounds` parts them."""
    begins = bounds.column(FIRST_KEY).to_numpy()
    numbers = np.searchsorted(begins, batch.column(SHUFFLED).to_numpy(), side="right")
    found = np.zeros(len(begins) + 1, np.int64)
    np.add.at(found, numbers, pc.binary_length(batch.column(PACKED)).to_numpy() // id_bytes)
    return found


def packed_bytes(batches: Sequence[pa.RecordBatch]) -> int:
    """Bytes of the ids of packed documents."""
    return sum(pc.sum(pc.binary_length(batch.column(PACKED))).as_py() or 0 for batch in batches)


def documents_of(batch: pa.RecordBatch, dtype: np.dtype[np.unsignedinteger[npt.NBitBase]]) -> pa.RecordBatch:
    """Packed documents as rows of `id` and `tokens`, a list of ids."""
    packed = batch.column(PACKED)
    _, offsets, data = packed.buffers()
    begins = np.frombuffer(offsets, np.int64)[packed.offset : packed.offset + len(packed) + 1]
    ids = np.frombuffer(data, dtype)[begins[0] // dtype.itemsize : begins[-1] // dtype.itemsize]
    places = ((begins - begins[0]) // dtype.itemsize).astype(np.int32)
    tokens = pa.ListArray.from_arrays(places, pa.array(ids))
    return pa.RecordBatch.from_arrays([batch.column(ID), tokens], [ID, TOKENS])
