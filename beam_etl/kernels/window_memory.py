"""What is remembered of a window's documents, and what a later window asks for, partition by partition.

Each kind has three functions: `keep_` gives the rows that are remembered, with nodes below FIRST_NEW; `wanted_` the
keys that a window's rows ask for; and where the form differs, another one what a kernel takes of what was found.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels import ordering, stacking
from beam_etl.kernels.candidates import BUCKET, FIRST_NEW, LOW, RANK, bucket_rows, numbers
from beam_etl.kernels.exact import CONTENT, EXACT_ROW, choose_exact, halves_of
from beam_etl.kernels.verification import CANDIDATE

Keys = npt.NDArray[np.uint64]
Rows = Sequence[pa.RecordBatch]

REST = "rest"
"""uint64: the second half of a content hash, whose first half is the key."""

CONTENT_MEMORY = pa.schema(
    [pa.field(name, pa.uint64(), nullable=False) for name in (BUCKET, REST, schema.NODE)]
)
PLACE_MEMORY = pa.schema(
    [pa.field(schema.NUMBER, pa.uint64(), nullable=False), pa.field(schema.ID, pa.string())]
)


def facts_memory(permutations: int) -> pa.Schema:
    """Node and low bytes."""
    low = pa.field(LOW, pa.binary(permutations), nullable=False)
    return pa.schema([pa.field(schema.NODE, pa.uint64(), nullable=False), low])


def keep_buckets(batches: Rows, verified: bool) -> pa.RecordBatch:
    """BUCKET_ROW: of each bucket its smallest node, which stands for all; each of them where they are verified."""
    bucket, node = _joined(batches, BUCKET), _joined(batches, schema.NODE) & ~FIRST_NEW
    order = np.lexsort((node, bucket))
    bucket, node = bucket[order], node[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = bucket[1:] != bucket[:-1]
    if verified:
        new[1:] |= node[1:] != node[:-1]
    return bucket_rows(bucket[new], node[new])


def wanted_buckets(batches: Rows) -> Keys:
    """All buckets of a window."""
    return _joined(batches, BUCKET)


def fact_rows(signed: pa.RecordBatch) -> pa.RecordBatch:
    """What is remembered of signatures, under the nodes that later windows ask for."""
    node = pa.array(numbers(signed, schema.NODE) & ~FIRST_NEW)
    return pa.RecordBatch.from_arrays([node, signed.column(LOW)], names=[schema.NODE, LOW])


def keep_facts(batches: Rows, permutations: int) -> pa.RecordBatch:
    """What `fact_rows` gave, each document once; facts and wishes of this window are passed over."""
    columns = facts_memory(permutations)
    facts = [batch for batch in batches if batch.schema.names == columns.names]
    if not facts:
        return pa.RecordBatch.from_pylist([], columns)
    node, first = np.unique(_joined(facts, schema.NODE), return_index=True)
    low = pa.concat_arrays([batch.column(LOW).cast(columns.field(LOW).type) for batch in facts])
    return pa.RecordBatch.from_arrays([pa.array(node), low.take(pa.array(first))], schema=columns)


def wanted_facts(batches: Rows) -> Keys:
    """The remembered documents that are linked."""
    node = _joined([batch for batch in batches if CANDIDATE in batch.schema.names], schema.NODE)
    return node[node < FIRST_NEW]


def keep_contents(batches: Rows) -> pa.RecordBatch:
    """CONTENT_MEMORY of stacks of exact.EXACT_ROW: of each content its smallest node."""
    parts = []
    for batch in batches:
        of, node, _ = stacking.unstack(stacking.with_others(batch))
        first, rest = halves_of(batch.column(CONTENT))[of].T
        parts.append(np.stack([first, rest, node & ~FIRST_NEW]))
    first, rest, node = np.concatenate(parts, axis=1)
    return _smallest(first, rest, node)


def wanted_contents(batches: Rows) -> Keys:
    """The first halves of all contents of a window."""
    return np.concatenate([halves_of(batch.column(CONTENT))[:, 0] for batch in batches])


def content_rows(found: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """Remembered contents as choose_exact takes them: EXACT_ROW with ORDER, stacked. One of each content."""
    rows = _smallest(*(_joined(list(found), name) for name in CONTENT_MEMORY.names))
    content = np.stack([numbers(rows, name) for name in (BUCKET, REST)], axis=1)
    size = EXACT_ROW.field(CONTENT).type.byte_width
    columns = {
        CONTENT: pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(size), rows.num_rows, [None, pa.py_buffer(np.ascontiguousarray(content))]
        ),
        schema.NODE: rows.column(schema.NODE),
        RANK: pa.array(np.zeros(rows.num_rows, np.uint64)),
        ordering.ORDER: pa.nulls(rows.num_rows, pa.binary()),
    }
    exact = pa.RecordBatch.from_arrays(list(columns.values()), schema=EXACT_ROW.append(ordering.FIELD))
    return stacking.with_others(exact)


def choose_after_others(
    batches: Iterable[pa.RecordBatch], found: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Decisions of choose_exact over a window's documents and what is remembered of earlier ones."""
    return choose_exact([*batches, content_rows(found)])


def place_rows(documents: pa.RecordBatch, id: str) -> pa.RecordBatch:
    """PLACE_MEMORY of documents that have an address below FIRST_NEW."""
    return pa.RecordBatch.from_arrays(
        [documents.column(schema.ADDRESS), documents.column(id).cast(pa.string())], schema=PLACE_MEMORY
    )


def keep_places(batches: Rows) -> pa.RecordBatch:
    """PLACE_MEMORY among requests, each document once."""
    empty = pa.RecordBatch.from_pylist([], PLACE_MEMORY)
    rows = pa.concat_batches([empty, *(batch for batch in batches if schema.ID in batch.schema.names)])
    _, first = np.unique(numbers(rows, schema.NUMBER), return_index=True)
    return rows.take(pa.array(first))


def wanted_places(batches: Rows) -> Keys:
    """What is requested: earlier.REQUEST."""
    return _joined([batch for batch in batches if schema.CLUSTER_SIZE in batch.schema.names], schema.NUMBER)


def signature_rows(found: pa.RecordBatch) -> pa.RecordBatch:
    """PLACE_MEMORY as schema.SIGNATURE: documents of a stream have an id, and no place in a file."""
    columns = [
        found.column(field.name) if field.name in found.schema.names else pa.nulls(found.num_rows, field.type)
        for field in schema.SIGNATURE
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema.SIGNATURE)


def _smallest(first: Keys, rest: Keys, node: Keys) -> pa.RecordBatch:
    order = np.lexsort((node, rest, first))
    first, rest, node = first[order], rest[order], node[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (first[1:] != first[:-1]) | (rest[1:] != rest[:-1])
    return pa.RecordBatch.from_arrays(
        [pa.array(column[new]) for column in (first, rest, node)], schema=CONTENT_MEMORY
    )


def _joined(batches: Rows, name: str) -> Keys:
    return np.concatenate([np.zeros(0, np.uint64), *(numbers(batch, name) for batch in batches)])
