"""How many bytes an index will be shuffled as."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from beam_etl.kernels.indexing import (
    local_pieces,
    name_documents,
    number_from,
    number_pieces,
    put_in_ranges,
    shuffled_documents,
)
from beam_etl.kernels.inverting import INVERTED_BYTES, invert_batches
from beam_etl.kernels.split_terms import term_strings


def expected_crossing(sample: Sequence[pa.RecordBatch], scale: float, words: str, positions: bool) -> int:
    """Bytes that cross the shuffle of BuildInvertedIndex, estimated.

    Args:
      sample: batches of documents. As many are inverted together as in the job.
      scale: the input's size in samples.
      words, positions: as for BuildInvertedIndex.
    """
    return round(sum(_crossing(group, words, positions) for group in _groups(sample)) * scale)


def _groups(sample: Sequence[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Batches that the job inverts together."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in filter(len, sample):
        if held and size + batch.nbytes > INVERTED_BYTES:
            yield held
            held, size = [], 0
        held.append(batch)
        size += batch.nbytes
    if held:
        yield held


def _crossing(sample: Sequence[pa.RecordBatch], words: str, positions: bool) -> int:
    rows = sum(batch.num_rows for batch in sample)
    inverted = invert_batches(sample, words, positions)
    pieces = local_pieces(inverted, term_strings(inverted))
    numbered = number_pieces(pieces, number_from(0, rows), inverted.lengths, positions)
    named = sum(
        shuffled_documents(each, number_from(0, each.num_rows)).nbytes
        for each in name_documents(sample, inverted.lengths)
    )
    return int(put_in_ranges(numbered, ()).nbytes + named)
