"""Which documents decisions remove, and rows about the others."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema


def removed_nodes(decisions: pa.RecordBatch) -> pa.RecordBatch:
    """One column, schema.NODE: the documents that are removed for another, of schema.DECISION."""
    node = decisions.column(schema.NODE)
    removed = node.filter(pc.not_equal(node, decisions.column(schema.SURVIVOR)))
    return pa.record_batch({schema.NODE: removed})


def without_removed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows about documents that stay.

    Args:
      batches: of a partition by node, in any order, which can be iterated over twice: rows with schema.NODE and more
        columns, and what `removed_nodes` gives. 8 bytes of each removed document are held.
    """
    gone = [np.zeros(0, np.uint64)]
    gone += [batch.column(0).to_numpy() for batch in batches if batch.schema.names == [schema.NODE]]
    removed = np.unique(np.concatenate(gone))
    for batch in batches:
        if batch.schema.names == [schema.NODE]:
            continue
        nodes = batch.column(schema.NODE).to_numpy()
        place = np.minimum(np.searchsorted(removed, nodes), max(len(removed) - 1, 0))
        held = removed[place] != nodes if len(removed) else np.ones(len(nodes), np.bool_)
        yield batch if held.all() else batch.filter(pa.array(held))
