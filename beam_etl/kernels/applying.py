"""Decisions applied to documents that are at hand: which rows stay, and what is told of those with a decision."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.candidates import numbers
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.numbering import find_sorted
from beam_etl.kernels.provenance import without_carried


class Applied(NamedTuple):
    """Some documents, with their decisions applied."""

    kept: pa.RecordBatch
    found: pa.RecordBatch
    """The documents with a decision, and the decision's columns."""


def with_address(batch: pa.RecordBatch, id: str) -> pa.RecordBatch:
    """Documents named by a column instead of by their place in files: `address` is the stable hash of the id.

    The batch forgets the path of its file: an address doesn't tell a position in it any more.

    Raises:
      ValueError: an id is null.
    """
    return at_address(batch, hash_values(ids_of(batch, id)))


def ids_of(batch: pa.RecordBatch, id: str) -> pa.Array:
    """The column that names documents.

    Raises:
      ValueError: an id is null.
    """
    ids = batch.column(id)
    if ids.null_count:
        raise ValueError(
            f"{ids.null_count} documents of a batch have no {id!r}: each needs one, and one of its own"
        )
    return ids


def at_address(batch: pa.RecordBatch, addresses: npt.NDArray[np.uint64]) -> pa.RecordBatch:
    """Documents with other addresses, uint64[rows], which tell no position in the batch's file: its path goes."""
    address = pa.array(addresses)
    metadata = {
        key: value for key, value in (batch.schema.metadata or {}).items() if key != schema.FILE_METADATA
    }
    batch = batch.replace_schema_metadata(metadata)
    place = batch.schema.get_field_index(schema.ADDRESS)
    column = schema.DOCUMENT.field(schema.ADDRESS)
    return batch.append_column(column, address) if place < 0 else batch.set_column(place, column, address)


def apply_decisions(documents: pa.RecordBatch, decisions: pa.RecordBatch) -> Applied:
    """Documents without those that are removed.

    Args:
      documents: any that have an address.
      decisions: schema.DECISION, ascending by node; those of other documents are passed over.
    """
    known, places = find_sorted(numbers(decisions, schema.NODE), numbers(documents, schema.ADDRESS))
    mine = decisions.take(pa.array(places))
    removed = numbers(mine, schema.NODE) != numbers(mine, schema.SURVIVOR)
    stays = np.ones(documents.num_rows, np.bool_)
    stays[known[removed]] = False
    found = documents.take(pa.array(known))
    for name in schema.DECISION.names:
        if name in found.schema.names:
            found = found.drop_columns([name])
        found = found.append_column(schema.DECISION.field(name), mine.column(name))
    return Applied(documents if stays.all() else documents.filter(pa.array(stays)), found)


def apply_in_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[Applied]:
    """The same where documents and decisions have met in one partition, which can be iterated over twice.

    What provenance.carry_file added to the documents is told of those that were found only.
    """
    decisions = sorted_decisions(batch for batch in batches if is_decision(batch))
    for batch in batches:
        if not is_decision(batch):
            kept, found = apply_decisions(batch, decisions)
            yield Applied(without_carried(kept), found)


def without_copies(documents: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Documents without those whose address came before, and how many these are in each batch."""
    seen: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
    for batch in documents:
        address, first = np.unique(numbers(batch, schema.ADDRESS), return_index=True)
        new = ~np.isin(address, seen, assume_unique=True)
        seen = np.concatenate([seen, address[new]])
        rows = np.sort(first[new])
        yield batch.take(pa.array(rows)) if len(rows) < batch.num_rows else batch, batch.num_rows - len(rows)


def sorted_decisions(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """Decisions in one batch, ascending by node."""
    empty = pa.RecordBatch.from_pylist([], schema=schema.DECISION)
    return pa.concat_batches([empty, *(batch.select(empty.schema.names) for batch in batches)]).sort_by(
        schema.NODE
    )


def is_decision(batch: pa.RecordBatch) -> bool:
    """Whether a batch holds decisions, and not documents."""
    return batch.schema.names[: len(schema.DECISION)] == schema.DECISION.names
