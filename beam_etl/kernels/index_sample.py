"""How many bytes an index will be shuffled as."""

from collections.abc import Sequence

import pyarrow as pa

from beam_etl.kernels.indexing import (
    local_documents,
    local_pieces,
    number_documents,
    number_pieces,
    put_in_ranges,
)
from beam_etl.kernels.inverting import invert
from beam_etl.kernels.split_terms import term_strings
from beam_etl.schema import TEXT


def expected_crossing(sample: Sequence[pa.RecordBatch], scale: float, words: str, positions: bool) -> int:
    """Bytes that cross the shuffle of BuildInvertedIndex, estimated.

    Args:
      sample: batches of documents. They are indexed: a batch has its terms once, as in the job.
      scale: the input's size in samples.
      words, positions: as for BuildInvertedIndex.
    """
    crossing = 0
    for batch in sample:
        inverted = invert(batch.column(TEXT), words, positions)
        pieces = local_pieces(inverted, term_strings(inverted))
        crossing += put_in_ranges(number_pieces(pieces, 0, inverted.lengths, positions), ()).nbytes
        crossing += number_documents(local_documents(batch, inverted.lengths), 0).nbytes
    return round(crossing * scale)
