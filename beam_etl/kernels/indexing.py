"""From a batch of documents to pieces of terms, and from numbers within the batch to those of all documents."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.inverting import Inverted
from beam_etl.kernels.pieces import (
    FIRST,
    GRANULE_BITS,
    LOCAL_PIECE,
    NUMBERED_PIECE,
    PACKED,
    PIECE,
    UNSPLIT_WIDTH,
    WIDTH,
    Postings,
    cut,
    pack,
    unpack,
)
from beam_etl.kernels.provenance import POSITION, files_of
from beam_etl.schema import (
    ADDRESS,
    FILE,
    ID,
    INDEXED_DOCUMENT,
    MAX_POSITION,
    NUMBER,
    RANGE,
    TERM,
    URL,
)

LENGTH = "length"

DOCUMENT_GRANULE_BITS = 12
"""Documents' rows travel by granules of 2^12: some 1 MiB, with long ids and URLs 10."""

LOCAL_DOCUMENT = pa.schema(
    [INDEXED_DOCUMENT.field(name) for name in INDEXED_DOCUMENT.names if name != NUMBER]
)
"""A document of a batch, which has no number yet."""

SHUFFLED_DOCUMENT = pa.schema([pa.field(TERM, pa.string()), pa.field(RANGE, pa.uint32()), *INDEXED_DOCUMENT])
"""A document on its way to its partition: that of its granule and of no term."""


def local_pieces(inverted: Inverted, terms: pa.Array) -> pa.RecordBatch:
    """LOCAL_PIECE of a batch, by term."""
    postings = Postings(inverted.edges, inverted.rows, inverted.frequencies, inverted.positions)
    first, packed = pack(postings, inverted.lengths[inverted.rows])
    return pa.RecordBatch.from_arrays([terms, first, packed], schema=LOCAL_PIECE)


def local_documents(batch: pa.RecordBatch, lengths: npt.NDArray[np.uint32]) -> pa.RecordBatch:
    """LOCAL_DOCUMENT of a batch with an address, and maybe id, url, and the path that it was read from.

    Args:
      batch: documents.
      lengths: uint32[rows], their indexed words.
    """
    files = files_of(batch)
    position = (batch.column(ADDRESS).to_numpy() & np.uint64(MAX_POSITION)).astype(np.int64)
    columns = {
        ID: _text(batch, ID),
        URL: _text(batch, URL),
        LENGTH: pa.array(lengths),
        FILE: pa.nulls(batch.num_rows, pa.string()) if files is None else files.cast(pa.string()),
        POSITION: pa.array(position),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in LOCAL_DOCUMENT.names], schema=LOCAL_DOCUMENT)


def name_documents(
    batches: Sequence[pa.RecordBatch], lengths: npt.NDArray[np.uint32]
) -> list[pa.RecordBatch]:
    """LOCAL_DOCUMENT of batches that were inverted together, batch by batch.

    Args:
      batches: as of `local_documents`.
      lengths: uint32[rows of all].
    """
    ends = np.cumsum([batch.num_rows for batch in batches]).tolist()
    return [
        local_documents(batch, lengths[end - batch.num_rows : end])
        for batch, end in zip(batches, ends, strict=True)
    ]


def _text(batch: pa.RecordBatch, name: str) -> pa.Array:
    if name not in batch.schema.names:
        return pa.nulls(batch.num_rows, pa.string())
    return batch.column(name).cast(pa.string())


def number_from(start: int, count: int) -> npt.NDArray[np.uint32]:
    """The numbers of neighbouring documents, cut to 32 bits: that there are more is places' verdict."""
    return np.arange(start, start + count, dtype=np.int64).astype(np.uint32)


def shuffled_documents(documents: pa.RecordBatch, numbers: npt.NDArray[np.uint32]) -> pa.RecordBatch:
    """SHUFFLED_DOCUMENT of LOCAL_DOCUMENT.

    Args:
      documents: further columns are left out.
      numbers: uint32[rows].
    """
    columns = {
        TERM: pa.nulls(documents.num_rows, pa.string()),
        RANGE: pa.array(numbers >> np.uint32(DOCUMENT_GRANULE_BITS)),
        NUMBER: pa.array(numbers),
        **{name: documents.column(name) for name in LOCAL_DOCUMENT.names},
    }
    arrays = [columns[name] for name in SHUFFLED_DOCUMENT.names]
    return pa.RecordBatch.from_arrays(arrays, schema=SHUFFLED_DOCUMENT)


def number_pieces(
    pieces: pa.RecordBatch,
    numbers: npt.NDArray[np.uint32],
    lengths: npt.NDArray[np.uint32],
    positions: bool,
) -> pa.RecordBatch:
    """NUMBERED_PIECE of LOCAL_PIECE.

    Args:
      pieces: of some documents, at least one.
      numbers: uint32[documents], ascending. Where one is left out, others have it, and pieces end.
      lengths: uint32[documents].
      positions: whether pieces have them.
    """
    term, packed = pieces.column(TERM), pieces.column(PACKED)
    begin, end = int(numbers[0]), int(numbers[-1])
    first = pieces.column(FIRST).to_numpy() + numbers[0]
    if begin >> GRANULE_BITS != end >> GRANULE_BITS or end - begin + 1 != numbers.size:
        local = unpack(pieces.column(FIRST), packed, positions)
        moved = Postings(local.edges, numbers[local.documents], local.frequencies, local.positions)
        runs = np.cumsum(np.diff(numbers, prepend=numbers[:1]) > 1, dtype=np.int64)
        parts, parents = cut(moved, runs[local.documents])
        term = term.take(pa.array(parents))
        firsts, packed = pack(parts, lengths[local.documents])
        first = firsts.to_numpy()
    return pa.RecordBatch.from_arrays([term, pa.array(first), packed], schema=NUMBERED_PIECE)


def put_in_ranges(pieces: pa.RecordBatch, split: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """PIECE of NUMBERED_PIECE.

    Args:
      pieces: of any documents.
      split: batches of SPLIT_TERM, all of them.
    """
    widths = _widths(pieces.column(TERM), split)
    ranges = (pieces.column(FIRST).to_numpy().astype(np.int64) >> widths).astype(np.uint32)
    columns = {
        **{name: pieces.column(name) for name in pieces.schema.names},
        RANGE: pa.array(ranges),
        WIDTH: pa.array(widths.astype(np.uint8)),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in PIECE.names], schema=PIECE)


def _widths(term: pa.Array, split: Sequence[pa.RecordBatch]) -> npt.NDArray[np.int64]:
    widths = np.full(len(term), UNSPLIT_WIDTH, np.int64)
    for batch in split:
        found = pc.index_in(term, value_set=batch.column(TERM)).fill_null(-1).to_numpy()
        some = found >= 0
        widths[some] = batch.column(WIDTH).to_numpy()[found[some]]
    return widths
