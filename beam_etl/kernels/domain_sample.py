"""How many statistics of domains a job will send, from a sample of its documents."""

import math

import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.grouping import estimate_groups

UNSEEN = 0.25
"""Domains that begin within a sample in which none was seen to begin."""


def expected_rows(
    halves: pa.RecordBatch, alternate: pa.RecordBatch, whole: pa.RecordBatch, scale: float
) -> int:
    """Rows of statistics, estimated.

    Documents may come as they were found, so that all places of the input have the same domains; or by domain, so that
    each place has its own. Then half of each place has more domains than half of the places: that tells one from the
    other, and what lies between is taken for a mixture.

    Args:
      halves: domain_measures.STATISTIC, merged, of the first half of each of several places.
      alternate: of every other place, which is about as much.
      whole: of all places.
      scale: the documents whose statistics are merged, in samples.
    """
    mixed = estimate_groups(halves.num_rows, whole.num_rows, scale)
    few, other, many = map(_domains, (halves, alternate, whole))
    if scale <= 1 or not other:
        return mixed
    apart = min(1.0, max(0.0, few / other - 1))
    domains = many + 2 * (max(many - few, 0) + UNSEEN) * (scale - 1)
    larger = max(1.0, scale * many / domains)  # a domain's documents, beside those in the sample
    own = (
        whole.num_rows
        / many
        * larger ** _growth(halves.num_rows / few, whole.num_rows / many, 2 * few / many)
    )
    return round(apart * domains * own + (1 - apart) * mixed)


def _growth(few: float, many: float, times: float) -> float:
    """The exponent by which a domain's rows grow with its documents, which `times` as many have made many of few."""
    if times <= 1 or many <= few:
        return 0.0
    return min(1.0, math.log(many / few) / math.log(times))


def _domains(statistics: pa.RecordBatch) -> int:
    return len(statistics.column(schema.DOMAIN).indices.unique())
