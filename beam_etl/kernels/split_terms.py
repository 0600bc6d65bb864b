"""Split terms: those whose postings are too many for one partition, found in a sample of the documents.

Which documents are in the sample depends on what they are called and how long they are; where they stand counts only
for those without an id. So the same terms are split whatever the sharding.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.hashing import hash_rows
from beam_etl.kernels.inverting import Inverted
from beam_etl.kernels.pieces import GRANULE_BITS
from beam_etl.kernels.provenance import POSITION
from beam_etl.schema import ID, SPLIT_TERM, TERM, URL

SAMPLED = 64
"""One document of so many is in the sample. A term of SPLIT_BYTES has some 64 KiB there, enough to go by."""

SAMPLED_BY = (ID, URL, "length", POSITION)
"""Columns of a document that tell whether it is in the sample. The last one, where it has no id."""

SPLIT_BYTES = 4 << 20
"""Packed bytes of a term from which on it is split, and of a range, about: an eighth of what a key may have."""

POSTING_BYTES = 2
"""A posting packed, about, of a frequent term; each position takes one more."""

COST = "bytes"
COSTS = pa.schema([pa.field(TERM, pa.string(), nullable=False), pa.field(COST, pa.int64(), nullable=False)])
"""Packed bytes of a term in documents of the sample."""


def term_strings(inverted: Inverted) -> pa.StringArray:
    """The terms of a batch: string[terms]."""
    buffers = [None, pa.py_buffer(inverted.begins), pa.py_buffer(inverted.letters)]
    return pa.Array.from_buffers(pa.large_string(), inverted.begins.size - 1, buffers).cast(pa.string())


def sample_costs(inverted: Inverted, chosen: npt.NDArray[np.bool_], terms: pa.Array) -> pa.RecordBatch | None:
    """COSTS of a batch's documents in the sample; None where none is.

    Args:
      inverted: the batch.
      chosen: of `in_sample`.
      terms: of `term_strings`.
    """
    if not chosen.any() or not len(terms):
        return None
    positions = inverted.positions is not None
    return posting_costs(terms, inverted.edges, inverted.frequencies, chosen[inverted.rows], positions)


def in_sample(documents: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Which documents are in the sample: bool[rows].

    Args:
      documents: with the columns of SAMPLED_BY. Only documents that are equal in all of them stand or fall together.
    """
    unnamed = documents.column(ID).is_null()
    position = pc.if_else(
        unnamed, documents.column(POSITION), None
    )  # of one without an id nothing else is its own
    named = [documents.column(name) for name in SAMPLED_BY[:-1]]
    return hash_rows([*named, position]) % np.uint64(SAMPLED) == 0


def posting_costs(
    terms: pa.Array,
    edges: npt.NDArray[np.int64],
    frequencies: npt.NDArray[np.uint32],
    chosen: npt.NDArray[np.bool_],
    positions: bool,
) -> pa.RecordBatch:
    """COSTS of postings, without terms that have none in the sample.

    Args:
      terms: of which the i-th has the postings from `edges[i]` up to `edges[i + 1]`, at least one.
      edges, frequencies: as in pieces.Postings.
      chosen: bool[postings], whether the document is in the sample.
      positions: whether they are kept.
    """
    places = frequencies if positions else np.uint32(0)
    costs = (places + np.uint32(POSTING_BYTES)) * chosen
    summed = np.add.reduceat(costs.astype(np.int64), edges[:-1])
    present = np.flatnonzero(summed)
    return pa.RecordBatch.from_arrays(
        [terms.take(pa.array(present)), pa.array(summed[present])], schema=COSTS
    )


def sum_costs(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The merge kernel: COSTS with one row a term, by term."""
    table = pa.Table.from_batches([batch]).group_by(TERM, use_threads=False).aggregate([(COST, "sum")])
    table = table.sort_by(TERM).combine_chunks()
    columns = [table.column(name) for name in (TERM, f"{COST}_sum")]
    return pa.RecordBatch.from_arrays(
        [column.chunk(0) if column.num_chunks else pa.nulls(0, column.type) for column in columns],
        schema=COSTS,
    )


def split_terms(costs: pa.RecordBatch, documents: int) -> pa.RecordBatch:
    """The terms to split, as SPLIT_TERM: into ranges of about SPLIT_BYTES, of whole granules.

    Args:
      costs: of all documents of the sample.
      documents: how many there are in all.
    """
    large = costs.filter(pc.greater_equal(costs.column(COST), SPLIT_BYTES // SAMPLED))
    ranges = np.maximum(large.column(COST).to_numpy() * SAMPLED // SPLIT_BYTES, 1)
    widths = [max(GRANULE_BITS, int(each).bit_length() - 1) for each in documents // ranges]
    return pa.RecordBatch.from_arrays([large.column(TERM), pa.array(widths, pa.uint8())], schema=SPLIT_TERM)
