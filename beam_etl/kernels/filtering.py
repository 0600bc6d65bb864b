"""Documents that keep the quality rules, those that don't, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.candidates import numbers
from beam_etl.kernels.content import byte_lengths
from beam_etl.kernels.provenance import POSITION, files_of
from beam_etl.kernels.quality import Rule, failures
from beam_etl.kernels.signals import signals

SIGNALS_COLUMN = "signals"
"""The column of annotated documents that holds their signals."""

QUALITY = "quality"
"""The reason of a removal."""


@dataclass(frozen=True)
class Filtered:
    """Documents that stay, with all their columns, and schema.QUALITY_REMOVAL of the others."""

    kept: pa.RecordBatch
    removed: pa.RecordBatch


def filter_quality(batch: pa.RecordBatch, rules: Sequence[Rule], id: str = schema.ID) -> Filtered:
    """The documents of a batch, by whether they fail a rule. A null text fails none.

    Args:
      batch: documents with text; the removals have their file, position and id where the batch knows them.
      rules: to be kept, all of them.
      id: the column that names documents.

    Raises:
      KeyError: there is no text. The message names the columns there are.
    """
    told = failures(signals(text_of(batch)), rules)
    fails = pc.greater(pc.list_value_length(told.column(schema.FAILED)), 0)
    return Filtered(
        batch.filter(pc.invert(fails)), removals_of(batch.filter(fails), told.filter(fails), QUALITY, id)
    )


def annotate_quality(batch: pa.RecordBatch, rules: Sequence[Rule]) -> pa.RecordBatch:
    """All documents, with the columns of schema.QUALITY_FAILURES and `signals`, a struct of SIGNAL_SCHEMA.

    Columns of these names are replaced. Errors as filter_quality.
    """
    found = signals(text_of(batch))
    told = failures(found, rules)
    columns = {name: told.column(name) for name in told.schema.names}
    columns[SIGNALS_COLUMN] = pa.StructArray.from_arrays(found.columns, fields=list(found.schema))
    batch = batch.drop_columns([name for name in columns if name in batch.schema.names])
    fields = [*told.schema, pa.field(SIGNALS_COLUMN, columns[SIGNALS_COLUMN].type, nullable=False)]
    for field in fields:
        batch = batch.append_column(field, columns[field.name])
    return batch


def text_of(batch: pa.RecordBatch) -> pa.Array:
    """The texts of documents."""
    if schema.TEXT not in batch.schema.names:
        raise KeyError(f"documents need a column {schema.TEXT!r}; they have {', '.join(batch.schema.names)}")
    return batch.column(schema.TEXT)


def removals_of(
    removed: pa.RecordBatch, told: pa.RecordBatch, reason: str | pa.Array, id: str = schema.ID
) -> pa.RecordBatch:
    """schema.QUALITY_REMOVAL of documents.

    Args:
      removed: with text, or payload; the removals have their file, position and id where the batch knows them.
      told: schema.QUALITY_FAILURES of each.
      reason: why they go, all of them or each.
      id: the column that names documents.
    """
    columns: dict[str, Any] = {name: told.column(name) for name in told.schema.names}
    content = schema.TEXT if schema.TEXT in removed.schema.names else schema.PAYLOAD
    columns["reason"] = pa.repeat(pa.scalar(reason), removed.num_rows) if isinstance(reason, str) else reason
    columns["bytes"] = byte_lengths(removed.column(content)).fill_null(0)
    return told_of(removed, columns, schema.QUALITY_REMOVAL, id)


def told_of(batch: pa.RecordBatch, told: dict[str, pa.Array], columns: pa.Schema, id: str) -> pa.RecordBatch:
    """A table that says something of each document.

    Args:
      batch: documents.
      told: what is said.
      columns: of the table; those that are neither told nor known of the documents are null.
      id: the column that names documents.
    """
    told = _named(batch, id) | told
    arrays = [
        pa.array(told[field.name], field.type) if field.name in told else pa.nulls(batch.num_rows, field.type)
        for field in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def _named(batch: pa.RecordBatch, id: str = schema.ID) -> dict[str, pa.Array]:
    """What names documents in a table: file, position and id, those of them that the batch knows.

    Args:
      batch: documents.
      id: the column that names them.
    """
    columns: dict[str, pa.Array] = {}
    files = files_of(batch)
    if files is not None:
        columns[schema.FILE] = files
        if schema.ADDRESS in batch.schema.names:
            position = numbers(batch, schema.ADDRESS) & np.uint64(schema.MAX_POSITION)
            columns[POSITION] = pa.array(position.astype(np.int64))
    if id in batch.schema.names:
        columns[schema.ID] = batch.column(id)
    return columns


def one_failure(rules: pa.Array, told: pa.Array) -> pa.RecordBatch:
    """schema.QUALITY_FAILURES of documents that each fail one rule: its name, and what broke it."""
    return pa.RecordBatch.from_arrays([_one_each(rules), _one_each(told)], schema=schema.QUALITY_FAILURES)


def _one_each(values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1, dtype=np.int32)), values)
