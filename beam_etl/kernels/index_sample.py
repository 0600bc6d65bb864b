"""How many bytes an index will be shuffled as."""

from collections.abc import Sequence

import pyarrow as pa

from beam_etl.kernels.indexing import (
    local_pieces,
    name_documents,
    number_from,
    number_pieces,
    put_in_ranges,
    shuffled_documents,
)
from beam_etl.kernels.inverting import invert_batches
from beam_etl.kernels.split_terms import term_strings


def expected_crossing(sample: Sequence[pa.RecordBatch], scale: float, words: str, positions: bool) -> int:
    """Bytes that cross the shuffle of BuildInvertedIndex, estimated.

    Args:
      sample: batches of documents, about INVERTED_BYTES. They are indexed together, as in the job.
      scale: the input's size in samples.
      words, positions: as for BuildInvertedIndex.
    """
    rows = sum(batch.num_rows for batch in sample)
    if not rows:
        return 0
    inverted = invert_batches(sample, words, positions)
    pieces = local_pieces(inverted, term_strings(inverted))
    numbered = number_pieces(pieces, number_from(0, rows), inverted.lengths, positions)
    named = sum(
        shuffled_documents(each, number_from(0, each.num_rows)).nbytes
        for each in name_documents(sample, inverted.lengths)
    )
    return round((put_in_ranges(numbered, ()).nbytes + named) * scale)
