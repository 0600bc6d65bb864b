"""Partial token counts of groups and of the total together, and how many bytes of them a job will send."""

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.content import byte_lengths
from beam_etl.kernels.grouping import IS_TOTAL, estimate_groups, with_totals
from beam_etl.kernels.token_counts import partial_counts, sum_counts
from beam_etl.schema import TEXT, TOKENS

TOKEN_BYTES = 4
"""Of a token of a vocabulary, about; words take 5 to 7. With 6 the estimate is 3% lower."""


def partial_counts_with_totals(batch: pa.RecordBatch, by: tuple[str, ...]) -> pa.RecordBatch:
    """Partial counts of a batch of counted documents: its groups', and its total's."""
    return with_totals(partial_counts(batch, by=by), by, partial(sum_counts, by=(*by, IS_TOTAL)))


def expected_crossing(
    sample: Sequence[pa.RecordBatch], by: tuple[str, ...], scale: float, bundles: int
) -> int:
    """Bytes that cross the shuffle of CountTokens, estimated.

    Args:
      sample: batches of documents, each from another place of the input. Tokens aren't counted but taken to have
        TOKEN_BYTES.
      by: as for CountTokens.
      scale: the input's documents in samples.
      bundles: how many bundles the engine makes of the input; each sends its groups once.

    Neighbours resemble each other, and what grows with the input is how much of each place there is: so half of the
    sample is the first half of each batch. Half of the batches would tell how much places differ.
    """
    if not sample:
        return 0
    half_of_it = [batch.slice(0, (batch.num_rows + 1) // 2) for batch in sample]
    half, whole = (_partial_rows(part, by) for part in (half_of_it, sample))
    rows = estimate_groups(half.num_rows, whole.num_rows, scale / bundles)
    return round(whole.nbytes / max(1, whole.num_rows) * rows * bundles)


def _partial_rows(sample: Sequence[pa.RecordBatch], by: tuple[str, ...]) -> pa.RecordBatch:
    counted = [
        batch.append_column(TOKENS, pc.divide(byte_lengths(batch.column(TEXT)), TOKEN_BYTES))
        for batch in sample
    ]
    partials = [partial_counts_with_totals(batch, by) for batch in counted]
    return sum_counts(pa.concat_batches(partials), by=(*by, IS_TOTAL))
