"""Documents of earlier runs: how they are named among those of a run, and what is kept of this run's for later ones."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.banding import Banding
from beam_etl.kernels.candidates import (
    BUCKET,
    BUCKET_ROW,
    FIRST_NEW,
    LOW,
    PLACE,
    numbers,
    signature_buckets,
)
from beam_etl.kernels.hashing import hash_rows
from beam_etl.kernels.numbering import find_sorted
from beam_etl.kernels.removals import BYTES, DATASET, with_salts

REQUEST = pa.schema(
    [
        pa.field(schema.NUMBER, pa.uint64(), nullable=False),
        pa.field(schema.CLUSTER_SIZE, pa.int64(), nullable=False),
    ]
)
"""A document of an earlier run that others are removed for, and the size of their cluster."""


def document_numbers(node: npt.NDArray[np.uint64], run: str) -> npt.NDArray[np.uint64]:
    """What nodes of a run are called in all later ones: uint64[n] below FIRST_NEW.

    A hash of the run's name and the node. At 10 billion documents some five pairs share a number; that two of one
    cluster do, so that a removal names the wrong one of them, isn't to be expected.
    """
    return hash_rows([pa.repeat(run, len(node)), pa.array(node)]) >> np.uint64(1)


def kept_buckets(signed: pa.RecordBatch, banding: Banding, run: str) -> pa.RecordBatch:
    """schema.SIGNATURE_BUCKET of signatures."""
    rows = signature_buckets(signed, banding)
    document = document_numbers(numbers(rows, schema.NODE) & ~FIRST_NEW, run)
    return pa.RecordBatch.from_arrays(
        [rows.column(BUCKET), pa.array(document)], schema=schema.SIGNATURE_BUCKET
    )


def kept_signatures(signed: pa.RecordBatch, run: str) -> pa.RecordBatch:
    """schema.SIGNATURE and the low bytes, of signatures with names."""
    document = document_numbers(numbers(signed, schema.NODE) & ~FIRST_NEW, run)
    columns = {schema.NUMBER: pa.array(document), **{name: signed.column(name) for name in (*PLACE, LOW)}}
    return pa.RecordBatch.from_pydict(columns)


def earlier_buckets(kept: pa.RecordBatch) -> pa.RecordBatch:
    """BUCKET_ROW of schema.SIGNATURE_BUCKET."""
    return pa.RecordBatch.from_arrays([kept.column(BUCKET), kept.column(schema.NUMBER)], schema=BUCKET_ROW)


def earlier_facts(kept: pa.RecordBatch) -> pa.RecordBatch:
    """Node and low bytes of schema.SIGNATURE."""
    return pa.RecordBatch.from_arrays(
        [kept.column(schema.NUMBER), kept.column(LOW)], names=[schema.NODE, LOW]
    )


def by_address(decisions: pa.RecordBatch) -> pa.RecordBatch:
    """Decisions of a run after others: its own documents by their addresses, earlier ones from FIRST_NEW on."""
    for name in (schema.NODE, schema.CLUSTER, schema.SURVIVOR):
        place = decisions.schema.get_field_index(name)
        turned = pa.array(numbers(decisions, name) ^ FIRST_NEW)
        decisions = decisions.set_column(place, decisions.schema.field(place), turned)
    return decisions


def own_decisions(decisions: pa.RecordBatch) -> pa.RecordBatch:
    """Those about documents of this run, of decisions `by_address`."""
    return decisions.filter(pa.array(numbers(decisions, schema.NODE) < FIRST_NEW))


def requests(decisions: pa.RecordBatch) -> pa.RecordBatch:
    """The documents of earlier runs that are survivors in decisions `by_address`, each once: REQUEST."""
    survivor, first = np.unique(numbers(decisions, schema.SURVIVOR), return_index=True)
    old = survivor >= FIRST_NEW
    size = numbers(decisions, schema.CLUSTER_SIZE)[first[old]]
    return pa.RecordBatch.from_arrays([pa.array(survivor[old] & ~FIRST_NEW), pa.array(size)], schema=REQUEST)


def answers(
    asked: Iterable[pa.RecordBatch], kept: Iterable[tuple[str | None, pa.RecordBatch]]
) -> Iterator[pa.RecordBatch]:
    """What is told of the requested documents: removals.FOUND, a row for each salt of their cluster.

    Args:
      asked: REQUEST of a partition.
      kept: schema.SIGNATURE of the same partition, each batch with the dataset that it is from, None for this one.
    """
    wanted = pa.concat_batches(list(asked))
    number, first = np.unique(numbers(wanted, schema.NUMBER), return_index=True)
    size = numbers(wanted, schema.CLUSTER_SIZE)[first]
    for dataset, batch in kept:
        found, places = find_sorted(number, numbers(batch, schema.NUMBER))
        node, sizes = number[places] | FIRST_NEW, size[places]
        columns = {name: batch.column(name).take(pa.array(found)) for name in PLACE}
        columns |= {name: pa.array(node) for name in (schema.NODE, schema.CLUSTER, schema.SURVIVOR)}
        columns[schema.CLUSTER_SIZE] = pa.array(sizes)
        columns[schema.BAND] = pa.array(np.full(len(node), schema.NO_BAND, np.uint16))
        columns[BYTES] = pa.array(np.zeros(len(node), np.int64))
        columns[DATASET] = pa.repeat(pa.scalar(dataset, pa.string()), len(node))
        yield with_salts(columns, sizes, node, node)
