"""Which document comes first where none has an address: by rank, then time, then id, then its number.

The first three are one column of bytes in that order. It is as long as an id, so it doesn't travel with every document
of a cluster: who holds some of them sends the first one's, and the others can't be the first.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.applying import at_address, ids_of
from beam_etl.kernels.candidates import NearRule, sign
from beam_etl.kernels.content import byte_lengths
from beam_etl.kernels.hashing import hash_rows
from beam_etl.kernels.keeping import Keep, ranks
from beam_etl.kernels.stacking import LAST_RANK
from beam_etl.kernels.verification import first_of_groups

Words = npt.NDArray[np.uint64]

ORDER = "order"
"""binary column: rank and time as 8 bytes each, and the id; null for a document that isn't the first."""

FIELD = pa.field(ORDER, pa.binary())

_FIRST_RANK = np.uint64(1)
"""Of documents that may be the first: 0 is for those of earlier windows, which always are."""
_SIGN = np.uint64(1 << 63)
_WORDS = 16
"""Bytes of rank and time."""


def number_documents(batch: pa.RecordBatch, id: str) -> pa.RecordBatch:
    """Documents named by what they are instead of by their place in files: `address` is a hash of it, below 2^63.

    The batch forgets the path of its file: an address doesn't tell a position in it any more.

    Args:
      batch: documents with time and text.
      id: the column that names them. Equal ids, times and texts are one document that came several times.

    Raises:
      ValueError: an id is null.
    """
    times = batch.column(schema.TIME).cast(pa.int64())
    hashes = hash_rows([ids_of(batch, id), times, batch.column(schema.TEXT)])
    return at_address(batch, hashes >> np.uint64(1))


def sign_in_order(batch: pa.RecordBatch, rule: NearRule, keep: Keep, low: bool, id: str) -> pa.RecordBatch:
    """What `sign` gives, with nodes from FIRST_NEW on, and ORDER in place of ranks."""
    batch = batch.filter(pc.greater(byte_lengths(batch.column(schema.TEXT)), 0))
    signed = sign(batch, rule, Keep(), low, after_others=True)
    return signed.append_column(FIELD, order_keys(batch, keep, id))


def order_keys(batch: pa.RecordBatch, keep: Keep, id: str) -> pa.Array:
    """ORDER of documents: binary[rows], smaller for who comes first. A null time is the last."""
    rank = ranks(batch, keep)
    times = batch.column(schema.TIME)
    known = times.is_valid().to_numpy(zero_copy_only=False)
    time = times.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64) ^ _SIGN
    words = np.stack([rank, np.where(known, time, LAST_RANK)], axis=1).astype(">u8")
    prefix = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(_WORDS), batch.num_rows, [None, pa.py_buffer(np.ascontiguousarray(words))]
    )
    ids = batch.column(id).cast(pa.string()).cast(pa.binary())
    return pc.binary_join_element_wise(prefix.cast(pa.binary()), ids, pa.scalar(b"", pa.binary()))


def nominate(order: pa.Array, node: Words, *groups: Words) -> tuple[pa.Array, Words]:
    """The first document of each group as the only one that may be the first of more than this group.

    Args:
      order: ORDER; null where a document is of an earlier window.
      node: of each document; of those whose ORDER is equal, so that they differ in their texts alone, the smallest.
      groups: uint64[rows] each; rows that are equal in all are a group.

    Returns:
      ORDER, null but for the first of each group; and ranks, uint64[rows].
    """
    known = order.is_valid().to_numpy(zero_copy_only=False)
    rank = np.where(known, LAST_RANK, np.uint64(0))
    some = np.flatnonzero(known)
    mine = [group[some] for group in groups]
    place = np.lexsort((_places(order.take(pa.array(some)), node[some]), *mine))
    first = some[np.unique(first_of_groups(place, *mine))] if len(some) else some
    rank[first] = _FIRST_RANK
    return pc.if_else(pa.array(rank == _FIRST_RANK), order, pa.scalar(None, order.type)), rank


def ranks_by_order(order: pa.Array, node: Words, rank: Words) -> Words:
    """Ranks where those who were nominated meet: uint64[rows], by ORDER for who has one, else `rank` as it is.

    Those whose ORDER is equal are told apart by their nodes, as in `nominate`.
    """
    known = order.is_valid().to_numpy(zero_copy_only=False)
    ranked = rank.copy()
    ranked[known] = _places(order.filter(pa.array(known)), node[known]).astype(np.uint64) + _FIRST_RANK
    return ranked


def _places(order: pa.Array, node: Words) -> npt.NDArray[np.int64]:
    """The place of each document among all, by ORDER and then by node."""
    both = pa.record_batch({ORDER: order, schema.NODE: node})
    sort = pc.sort_indices(both, [(name, "ascending") for name in both.schema.names]).to_numpy()
    places = np.empty(len(sort), np.int64)
    places[sort] = np.arange(len(sort))
    return places
