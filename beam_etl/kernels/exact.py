"""Exact duplicates: documents whose key has the same 128-bit hash."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels import ordering, stacking
from beam_etl.kernels.candidates import FIRST_NEW, RANK, numbers
from beam_etl.kernels.content import byte_lengths, content_hashes, normalised
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.keeping import Keep, ranks
from beam_etl.kernels.numbering import Numbering
from beam_etl.kernels.utf8 import is_byte_string
from beam_etl.kernels.verification import first_of_groups

CONTENT = "content_hash"

EXACT_ROW = pa.schema(
    [
        pa.field(CONTENT, pa.binary(16), nullable=False),
        pa.field(schema.NODE, pa.uint64(), nullable=False),
        pa.field(RANK, pa.uint64(), nullable=False),
    ]
)
"""What stands for each document. What crosses are stacks of these (see `stacking`): 36 bytes, and 1 to 10 for each
further document of the same content in a bundle."""


@dataclass(frozen=True, kw_only=True)
class ExactRule:
    """What makes two documents exact duplicates: equal values of the key columns.

    A document with a null in the key, or whose key is one empty text, is nobody's duplicate.

    Args:
      key: columns.
      normalised: `text` is compared by its words in lower case instead of its bytes.
      within: a column; documents with other values in it are never duplicates. Null is a value.

    Raises:
      ValueError: no key, or one column twice.
    """

    key: tuple[str, ...] = (schema.TEXT,)
    normalised: bool = False
    within: str | None = None

    def __post_init__(self) -> None:
        if not self.key or len(set(self.key)) < len(self.key):
            raise ValueError(f"key has at least one column, and each once, got {self.key!r}")

    @property
    def columns(self) -> tuple[str, ...]:
        """What it needs of a document."""
        return tuple(dict.fromkeys((*self.key, *((self.within,) if self.within else ()))))


def key_hashes(batch: pa.RecordBatch, rule: ExactRule) -> pa.FixedSizeBinaryArray:
    """The 128-bit hash of each document's key (see `content`); null where it has none to compare."""
    values = [_value(batch, name, rule) for name in rule.key]
    hashes = content_hashes([*values, *_within(batch, rule)])
    kind = values[0].type
    if len(values) == 1 and is_byte_string(kind.value_type if pa.types.is_dictionary(kind) else kind):
        some = pc.greater(byte_lengths(values[0]), 0)
        return pc.if_else(some, hashes, pa.scalar(None, hashes.type))
    return hashes


def _value(batch: pa.RecordBatch, name: str, rule: ExactRule) -> pa.Array:
    column = batch.column(name)
    return normalised(column) if rule.normalised and name == schema.TEXT else column


def _within(batch: pa.RecordBatch, rule: ExactRule) -> list[pa.Array]:
    """The column's hash, which isn't null where the value is."""
    return [pa.array(hash_values(batch.column(rule.within)))] if rule.within else []


def exact_rows(batch: pa.RecordBatch, rule: ExactRule, keep: Keep) -> pa.RecordBatch:
    """EXACT_ROW of the documents that can have duplicates."""
    hashes = key_hashes(batch, rule)
    rows = pa.RecordBatch.from_arrays(
        [hashes, batch.column(schema.ADDRESS), pa.array(ranks(batch, keep))], names=EXACT_ROW.names
    )
    return rows.filter(hashes.is_valid()).cast(EXACT_ROW)


def exact_in_order(batch: pa.RecordBatch, rule: ExactRule, keep: Keep, id: str) -> pa.RecordBatch:
    """EXACT_ROW of the documents that can have duplicates, with nodes from FIRST_NEW on, and ORDER."""
    batch = batch.filter(key_hashes(batch, rule).is_valid())
    rows = exact_rows(batch, rule, Keep())
    place = rows.schema.get_field_index(schema.NODE)
    node = pa.array(numbers(rows, schema.NODE) | FIRST_NEW)
    rows = rows.set_column(place, EXACT_ROW.field(place), node)
    return rows.append_column(ordering.FIELD, ordering.order_keys(batch, keep, id))


def stack_equal(rows: pa.RecordBatch) -> pa.RecordBatch:
    """EXACT_ROW of some documents, those of equal content as one row: with stacking.OTHERS, in no order.

    Where they have ORDER, the row of each content is that of the document that comes first.
    """
    high, low = halves_of(rows.column(CONTENT)).T
    if ordering.ORDER in rows.schema.names:
        order, rank = ordering.nominate(rows.column(ordering.ORDER), numbers(rows, schema.NODE), high, low)
        rows = rows.set_column(rows.schema.get_field_index(RANK), EXACT_ROW.field(RANK), pa.array(rank))
        rows = rows.set_column(rows.schema.get_field_index(ordering.ORDER), ordering.FIELD, order)
    codes = Numbering().add(np.ascontiguousarray(low))
    maybe = np.flatnonzero(np.bincount(codes, minlength=1)[codes] > 1)  # equal in half of the bits
    order = maybe[np.lexsort((low[maybe], high[maybe]))]
    groups = np.arange(rows.num_rows)
    groups[order] = first_of_groups(np.arange(len(order)), high[order], low[order]) + rows.num_rows
    return stacking.stack(rows, groups)


def choose_exact(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Decisions over the equal documents of a partition: schema.DECISION, ascending by cluster and node.

    Args:
      batches: stacks of EXACT_ROW, all of each hash. All documents are held: some 160 bytes each. With ORDER, equal
        nodes are one document that came several times, and counts once.
    """
    rows = pa.concat_batches([batch for batch in batches if batch.num_rows])
    of, node, rank = stacking.unstack(rows)
    high, low = np.ascontiguousarray(halves_of(rows.column(CONTENT))[of].T)
    if ordering.ORDER in rows.schema.names:
        some = slice(rows.num_rows)
        rank[some] = ordering.ranks_by_order(rows.column(ordering.ORDER), node[some], rank[some])
        once = np.unique(first_of_groups(np.lexsort((rank, node, high, low)), node, high, low))
        node, rank, high, low = node[once], rank[once], high[once], low[once]
    order = np.lexsort((node, high, low))
    first = first_of_groups(order, high, low)
    size = np.bincount(first, minlength=len(first))[first]
    kept = first_of_groups(np.lexsort((node, rank, high, low)), high, low)
    wanted = order[size[order] > 1]
    wanted = wanted[np.lexsort((node[wanted], node[first[wanted]]))]
    yield pa.RecordBatch.from_arrays(
        [
            pa.array(node[wanted]),
            pa.array(node[first[wanted]]),
            pa.array(size[wanted]),
            pa.array(np.full(len(wanted), schema.NO_BAND, np.uint16)),
            pa.array(node[kept[wanted]]),
            pa.nulls(len(wanted), pa.float32()),
        ],
        schema=schema.DECISION,
    )


def halves_of(hashes: pa.FixedSizeBinaryArray) -> np.ndarray:
    """uint64[rows, 2] of a column of 128-bit hashes."""
    data = np.frombuffer(hashes.buffers()[1], np.uint64)
    return data[2 * hashes.offset : 2 * (hashes.offset + len(hashes))].reshape(-1, 2)
