"""Clusters that are larger than a user believes in, cut along stricter bands."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.banding import Banding, band_bits, band_of
from beam_etl.kernels.candidates import BUCKETS, bucket_matrix, bucket_rows, numbers
from beam_etl.kernels.hashing import hash_rows
from beam_etl.kernels.numbering import find_sorted


def within_limit(members: pa.RecordBatch, limit: int) -> pa.RecordBatch:
    """The members of clusters of at most `limit` documents."""
    return members.filter(pc.less_equal(members.column(schema.CLUSTER_SIZE), limit))


def beyond_limit(members: pa.RecordBatch, limit: int) -> pa.RecordBatch:
    """The members of larger clusters."""
    return members.filter(pc.greater(members.column(schema.CLUSTER_SIZE), limit))


def strict_buckets(batches: Iterable[pa.RecordBatch], banding: Banding) -> Iterator[pa.RecordBatch]:
    """Buckets of pairs of bands, for the members of oversized clusters: candidates.BUCKET_ROW.

    Two documents of one cluster share such a bucket when they agree in both bands: bands half as many, and twice as
    long. Documents that are compared by their exact text share it when they did before.

    Args:
      batches: a partition by node, which can be iterated over twice: schema.MEMBER of those clusters, and node and
        buckets of all documents.
      banding: of the buckets, of at least two bands.
    """
    members = [batch for batch in batches if schema.CLUSTER in batch.schema.names]
    if not members:
        return
    joined = pa.concat_batches(members).sort_by(schema.NODE)
    node, clusters = numbers(joined, schema.NODE), numbers(joined, schema.CLUSTER)
    for batch in (batch for batch in batches if BUCKETS in batch.schema.names):
        own = numbers(batch, schema.NODE)
        found, places = find_sorted(node, own)
        cluster = clusters[places]
        matrix = bucket_matrix(batch, banding)[found]
        short = band_of(matrix[:, 0].copy(), banding) == schema.NO_BAND
        for band in range(0, banding.bands - 1, 2):
            rows = np.flatnonzero(~short) if band else np.arange(len(found))
            pair = [matrix[rows, band].copy(), matrix[rows, band + 1].copy(), cluster[rows]]
            code = np.where(short[rows], np.uint64(banding.bands), np.uint64(band))
            bits = np.uint64(band_bits(banding))
            hashed = hash_rows([pa.array(column) for column in pair])
            yield bucket_rows(hashed >> bits << bits | code, own[found][rows])
