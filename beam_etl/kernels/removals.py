"""The removal table: each removed document beside the one it was removed for."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.candidates import numbers
from beam_etl.kernels.content import byte_lengths, content_hashes
from beam_etl.kernels.exact import CONTENT, ExactRule, key_hashes
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.numbering import Numbering, find_sorted
from beam_etl.kernels.provenance import POSITION, files_of

CLUSTER_SLICE = 1 << 12
"""Removed documents that meet their survivor under one key: a cluster of millions is spread over many."""

SALT, DATASET, BYTES = "salt", "dataset", "bytes"
COUNTS = "counts"
"""True in one row of each cluster, so that clusters can be counted by their rows."""

REPEATED = pa.dictionary(pa.int32(), pa.string())
"""Strings that many rows have in common: they travel once a slice."""

FOUND = pa.schema(
    [
        pa.field(schema.SURVIVOR, pa.uint64(), nullable=False),
        pa.field(SALT, pa.uint32(), nullable=False),
        *schema.MEMBER,
        pa.field(schema.SIMILARITY, pa.float32()),
        pa.field(DATASET, REPEATED),
        pa.field(schema.FILE, REPEATED),
        pa.field(POSITION, pa.int64()),
        pa.field(schema.ID, pa.string()),
        pa.field(schema.DOMAIN, REPEATED),
        pa.field(CONTENT, pa.binary(16)),
        pa.field(BYTES, pa.int64(), nullable=False),
    ]
)
"""What a second look found of a document with a decision. Survivors have a row for each salt of their cluster."""

REMOVED = pa.schema([*schema.REMOVAL, pa.field(schema.DOMAIN, pa.string()), pa.field(COUNTS, pa.bool_())])
"""A row of the removal table and what the cluster report needs besides."""


def describe(found: pa.RecordBatch, exact: ExactRule | None, id: str = schema.ID) -> pa.RecordBatch:
    """What the removal table needs of documents with decisions.

    Args:
      found: schema.DECISION with text, where there are id and domain, and the path as provenance.files_of finds it.
      exact: the rule of the run, where it compared exactly.
      id: the column that names documents.

    Returns:
      FOUND: a removed document once, a survivor for each salt of its cluster.
    """
    files = files_of(found)
    node = numbers(found, schema.NODE)
    told = (*schema.DECISION.names, schema.ID, schema.DOMAIN)
    columns: dict[str, Any] = {name: found.column(name) for name in told if name in found.schema.names}
    if files is not None:
        columns[schema.FILE] = files
        columns[POSITION] = pa.array((node & np.uint64(schema.MAX_POSITION)).astype(np.int64))
    if schema.DOMAIN in columns:
        columns[schema.DOMAIN] = columns[schema.DOMAIN].cast(pa.string())
    if id in found.schema.names:
        columns[schema.ID] = found.column(id).cast(pa.string())
    text = found.column(schema.TEXT)
    columns[CONTENT] = content_hashes([text]) if exact is None else key_hashes(found, exact)
    columns[BYTES] = pc.fill_null(byte_lengths(text), 0)
    return with_salts(columns, numbers(found, schema.CLUSTER_SIZE), node, numbers(found, schema.SURVIVOR))


def repeat_rows(times: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows, each so many times, and which copy of its row each one is, from 0."""
    rows = np.repeat(np.arange(len(times)), times)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)


def with_salts(
    columns: dict[str, Any],
    size: npt.NDArray[np.int64],
    node: npt.NDArray[np.uint64],
    survivor: npt.NDArray[np.uint64],
) -> pa.RecordBatch:
    """FOUND of these columns; those that are absent are null. Survivors are repeated for each salt of their cluster."""
    salts = salts_of(size)
    own = (hash_values(pa.array(node)) % salts.astype(np.uint64)).astype(np.uint32)
    rows, copies = repeat_rows(np.where(node == survivor, salts, 1))
    salt = np.where(node[rows] == survivor[rows], copies, own[rows])
    repeated = {name: values.take(pa.array(rows)) for name, values in columns.items()}
    repeated[SALT] = pa.array(salt)
    arrays = [
        pa.array(repeated[column.name], column.type)
        if column.name in repeated
        else pa.nulls(len(rows), column.type)
        for column in FOUND
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=FOUND)


def salts_of(size: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Keys that a cluster of each size is spread over."""
    return 1 + size // CLUSTER_SLICE


def assemble(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Removed documents with their survivors: REMOVED.

    Args:
      batches: FOUND of a partition by survivor and salt, in any order, which can be iterated over twice.

    A survivor that couldn't be read a second time, which is a reject then, is told without its file and id.
    """
    kept = [
        batch.filter(pc.equal(batch.column(schema.NODE), batch.column(schema.SURVIVOR))) for batch in batches
    ]
    survivors = pa.concat_batches(kept).sort_by(schema.SURVIVOR)
    known = numbers(survivors, schema.SURVIVOR)
    clusters = Numbering()
    for batch in batches:
        removed = batch.filter(pc.not_equal(batch.column(schema.NODE), batch.column(schema.SURVIVOR)))
        if not removed.num_rows:
            continue
        wanted = numbers(removed, schema.SURVIVOR)
        rows, places = find_sorted(known, wanted)
        place, absent = np.zeros(len(wanted), np.int64), np.ones(len(wanted), np.bool_)
        place[rows], absent[rows] = places, False
        first = np.flatnonzero(numbers(removed, SALT) == 0)
        before = len(clusters)
        codes, firsts = np.unique(clusters.add(wanted[first]), return_index=True)
        counts = np.zeros(len(wanted), np.bool_)
        counts[first[firsts[codes >= before]]] = True
        yield _removed(removed, survivors.take(pa.array(place, mask=absent)), counts)


def _removed(removed: pa.RecordBatch, kept: pa.RecordBatch, counts: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    band, content = removed.column(schema.BAND), removed.column(CONTENT)
    alone = pc.equal(band, pa.scalar(schema.NO_BAND, pa.uint16()))
    same = pc.fill_null(pc.equal(content, kept.column(CONTENT)), False)
    exact = pc.or_(alone, same)
    own = (schema.FILE, POSITION, schema.ID, schema.CLUSTER, schema.CLUSTER_SIZE)
    columns = [
        *(removed.column(name) for name in own),
        *(kept.column(name) for name in (DATASET, schema.FILE, POSITION, schema.ID)),
        pc.if_else(exact, "exact", "near"),
        pc.if_else(alone, pa.scalar(None, pa.uint16()), band),
        pc.if_else(exact, content, pa.scalar(None, content.type)),
        removed.column(schema.SIMILARITY),
        removed.column(BYTES),
        removed.column(schema.DOMAIN),
        pa.array(counts),
    ]
    plain = [
        column.cast(field.type) if column.type != field.type else column
        for column, field in zip(columns, REMOVED, strict=True)
    ]
    return pa.RecordBatch.from_arrays(plain, schema=REMOVED)


def removal_table(removed: pa.RecordBatch) -> pa.RecordBatch:
    """schema.REMOVAL of REMOVED."""
    return removed.select(schema.REMOVAL.names).cast(schema.REMOVAL)


def removals_of_step(removals: pa.RecordBatch, step: str) -> pa.RecordBatch:
    """schema.STEP_REMOVAL of schema.REMOVAL or schema.QUALITY_REMOVAL. What the first doesn't have is empty."""
    none = pa.repeat(pa.scalar([], pa.list_(pa.string())), removals.num_rows)
    known = {schema.STEP: pa.repeat(pa.scalar(step), removals.num_rows)}
    known |= {name: removals.column(name) for name in removals.schema.names}
    columns = [known.get(field.name, none) for field in schema.STEP_REMOVAL]
    return pa.RecordBatch.from_arrays(columns, schema=schema.STEP_REMOVAL)
