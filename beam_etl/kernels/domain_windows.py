"""Domain scores as of each window: of what the window has, and what is kept from the windows before it.

Of a domain's documents, and of those that fail a part of the score,

    kept(w) = count(w) + decay * kept(w - 1)

where w - 1 is the window that was next before, with documents or without: an empty window halves what is kept as any
other does, at decay 0.5. The corpus is what all domains keep, and the score is that of kernels/domain_score.py. So the
scores as of a window are those of one batch after another, in the order of windows, whenever their panes came.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.domain_measures import DOCUMENTS
from beam_etl.kernels.domain_score import SCORE, Floats, ScoreRule, part_column, score_counts

FORGOTTEN = 0.01
"""A domain that keeps fewer documents than this is left out: so what is held is bounded by the domains of late."""

WINDOW_SCORES = pa.schema(
    [
        *schema.WINDOW,
        pa.field(schema.DOMAIN, pa.string()),
        pa.field(SCORE, pa.float64(), nullable=False),
        pa.field("kept_documents", pa.float64(), nullable=False),
    ]
)
"""The score of a domain as of a window."""


@dataclass
class _Kept:
    """What domains keep: a row a domain, sorted by name, null last; a column for documents and for each part."""

    names: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    counts: Floats = field(default_factory=lambda: np.zeros((0, 0)))


def scores_by_window(
    tables: Iterable[pa.RecordBatch], rule: ScoreRule, period: int, decay: float
) -> Iterator[pa.RecordBatch]:
    """Scores of all domains as of each window that has documents.

    Args:
      tables: for each window, in their order, all domains that it has, as schema.WINDOW and `domains` of ScoreDomains,
        each domain once. Counts of a sliding window count each document as often as it is in windows.
      rule: how scores are made.
      period: of the windows, in microseconds.
      decay: what is kept of a count from one window to the next, 0 to below 1.

    Returns:
      WINDOW_SCORES, a batch a window, sorted by domain, nulls last.

    Raises:
      ValueError: decay out of range, or windows out of order.
    """
    if not 0 <= decay < 1:
        raise ValueError(
            f"of each window's counts the next one keeps 0 to below 1 of each, got decay={decay}"
        )
    kept, before = _Kept(), None
    for table in tables:
        start = table.column(schema.WINDOW_START)[0].cast(pa.int64()).as_py()
        if before is not None and start <= before:
            raise ValueError(f"windows come in order: {start} after {before} (microseconds)")
        share = 0.0 if before is None else decay ** ((start - before) // period)
        kept, before = _keep(kept, share, table, rule), start
        yield _scores(kept, table, rule)


def _keep(kept: _Kept, share: float, table: pa.RecordBatch, rule: ScoreRule) -> _Kept:
    parts = [DOCUMENTS, *map(part_column, rule.parts)]
    counts = np.stack([table.column(name).to_numpy().astype(np.float64) for name in parts], axis=1)
    names = pa.chunked_array([table.column(schema.DOMAIN), kept.names]).combine_chunks()
    encoded = pc.dictionary_encode(names, null_encoding="encode")
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    rows = place[encoded.indices.to_numpy()]
    total = np.zeros((len(order), len(parts)))
    if len(kept.names):
        total[rows[len(counts) :]] = share * kept.counts
    total[rows[: len(counts)]] += counts
    held = total[:, 0] >= FORGOTTEN
    return _Kept(encoded.dictionary.take(pa.array(order[held])), total[held])


def _scores(kept: _Kept, table: pa.RecordBatch, rule: ScoreRule) -> pa.RecordBatch:
    totals = tuple(math.fsum(column) for column in kept.counts.T)  # exact: in no order
    score, _ = score_counts(kept.counts, totals, rule)
    window = [table.column(name)[0] for name in schema.WINDOW.names]
    columns = [
        *(pa.repeat(bound, len(kept.names)) for bound in window),
        kept.names,
        pa.array(score),
        pa.array(kept.counts[:, 0]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=WINDOW_SCORES)
