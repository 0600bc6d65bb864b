"""How much text there is in each group: partial counts of a batch, their sum, and the finished rows.

Partial counts have a row for each group and bucket of document length (quantiles.bucket_of), so that
quantiles come from integers that are added, whatever the order. Groups are equal values of the columns `by`:
nulls are one group, NaNs another.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.quantiles import bucket_of, quantiles
from beam_etl.kernels.text import count_characters
from beam_etl.kernels.tokens import TokenCounter, token_counter
from beam_etl.kernels.utf8 import large_string
from beam_etl.kernels.vocabularies import Vocabulary
from beam_etl.schema import TEXT, TOKENS

LENGTH_BUCKET = "length_bucket"
SUMS = ("documents", "bytes", "characters", "tokens")
"""Bytes are those of the text in UTF-8, characters its code points."""
LEAST, MOST = "min_tokens", "max_tokens"
PERCENTS = (10, 25, 50, 75, 90, 99)
QUANTILES = tuple(f"tokens_p{percent}" for percent in PERCENTS)
"""Of the tokens of a document, to within quantiles.RELATIVE_ERROR."""

_REDUCE = {"sum": np.add, "min": np.minimum, "max": np.maximum}
_HOW = {**dict.fromkeys(SUMS, "sum"), LEAST: "min", MOST: "max"}


@dataclass(frozen=True)
class DocumentCounter:
    """A kernel that counts tokens. Thread-safe, and doesn't pickle: make it with once_per_process."""

    counter: TokenCounter

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with a column `token_count`, int64, null where the text is null. One of that name is replaced."""
        text = _column(batch, TEXT)
        mask = np.asarray(text.is_null()) if text.null_count else None
        tokens = pa.array(self.counter.count(text), mask=mask)
        field = pa.field(TOKENS, pa.int64())
        if TOKENS in batch.schema.names:
            return batch.set_column(batch.schema.get_field_index(TOKENS), field, tokens)
        return batch.append_column(field, tokens)


def document_counter(vocabulary: Vocabulary) -> DocumentCounter:
    """The kernel for a vocabulary. Takes half a second, and raises as token_counter."""
    return DocumentCounter(token_counter(vocabulary))


def partial_counts(batch: pa.RecordBatch, by: Sequence[str]) -> pa.RecordBatch:
    """Partial counts of a batch of counted documents.

    Args:
      batch: with `text`, `token_count` (see document_counter) and the columns `by`. Null text is no document.
      by: columns to group by; none for one group over all.

    Returns:
      partial_count_schema: a row for each group and bucket, sorted by them.

    Raises:
      KeyError: a column is missing. The message names it and the columns there are.
      TypeError, ValueError: as token_count_schema.
    """
    text, tokens, *columns = (_column(batch, name) for name in (TEXT, TOKENS, *by))
    schema = partial_count_schema([batch.schema.field(name) for name in by])
    keys = [_key(column) for column in columns]
    if text.null_count:
        present = text.is_valid()
        text, tokens, *keys = (array.filter(present) for array in (text, tokens, *keys))
    text, tokens = large_string(text), tokens.cast(pa.int64())
    values = {
        "documents": pa.repeat(pa.scalar(1, pa.int64()), len(text)),
        "bytes": pc.binary_length(text),
        "characters": pa.array(count_characters(text)),
        "tokens": tokens,
        LEAST: tokens,
        MOST: tokens,
    }
    arrays = [*keys, pa.array(bucket_of(tokens.to_numpy())), *values.values()]
    return sum_counts(pa.RecordBatch.from_arrays(arrays, schema=schema), by)


def sum_counts(batch: pa.RecordBatch, by: Sequence[str]) -> pa.RecordBatch:
    """The merge kernel: rows of equal group and bucket added up.

    Args:
      batch: partial counts, in any order.
      by: group columns.

    Returns:
      Rows of the same schema, sorted by group and bucket, nulls last.
    """
    if batch.num_rows == 0:
        return batch
    keys = [*by, LENGTH_BUCKET]
    groups = pa.Table.from_batches([batch]).group_by(keys, use_threads=False).aggregate(list(_HOW.items()))
    groups = groups.take(pc.sort_indices(groups, sort_keys=[(key, "ascending") for key in keys]))
    sources = {name: f"{name}_{how}" for name, how in _HOW.items()}
    columns = [_one(groups.column(sources.get(name, name))) for name in batch.schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def finish_counts(batch: pa.RecordBatch, by: Sequence[str]) -> pa.RecordBatch:
    """The counts of each group, from all its partial counts.

    Args:
      batch: partial counts, in any order, all rows of a group in this batch. Other columns are left out.
      by: group columns; none for one group over all.

    Returns:
      token_count_schema: a row a group, sorted by group, nulls last; none for no rows.
    """
    schema = token_count_schema([batch.schema.field(name) for name in by])
    if batch.num_rows == 0:
        return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
    rows = sum_counts(batch.select([*by, LENGTH_BUCKET, *_HOW]), by)
    starts = _starts([rows.column(name) for name in by], rows.num_rows)
    values = {name: rows.column(name).to_numpy() for name in (LENGTH_BUCKET, *_HOW)}
    lengths = quantiles(
        starts,
        values[LENGTH_BUCKET],
        values["documents"],
        values[LEAST],
        values[MOST],
        np.array(PERCENTS),
    )
    columns = [rows.column(name).take(pa.array(starts)) for name in by]
    columns += [pa.array(_REDUCE[how].reduceat(values[name], starts)) for name, how in _HOW.items()]
    columns += [pa.array(column) for column in lengths.T]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def partial_count_schema(by: Iterable[pa.Field]) -> pa.Schema:
    """The schema of partial counts, for group columns as the documents have them; it raises the same."""
    return _schema(by, {LENGTH_BUCKET: pa.int16(), **dict.fromkeys(_HOW, pa.int64())})


def token_count_schema(by: Iterable[pa.Field]) -> pa.Schema:
    """The schema of finished counts, for group columns as the documents have them.

    Dictionaries are decoded, string views become large strings; all else keeps its type.

    Raises:
      TypeError: a column is of a type that can't be grouped by, such as a list or a struct.
      ValueError: a column is there twice, or is called like one of the results.
    """
    return _schema(by, dict.fromkeys([*_HOW, *QUANTILES], pa.int64()))


def _schema(by: Iterable[pa.Field], results: dict[str, pa.DataType]) -> pa.Schema:
    keys = [pa.field(field.name, _key_type(field)) for field in by]
    names = [field.name for field in keys]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"by has {name!r} twice: {', '.join(names)}")
        if name in (LENGTH_BUCKET, *_HOW, *QUANTILES):
            raise ValueError(f"can't group by {name!r}: the results have a column of that name; rename it")
    return pa.schema(keys + [pa.field(name, kind, nullable=False) for name, kind in results.items()])


def _key_type(field: pa.Field) -> pa.DataType:
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        return _key_type(field.with_type(kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _key_type(field.with_type(kind.value_type))
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_nested(kind):
        raise TypeError(f"can't group by {field.name!r} of type {kind}: use a string, number, date or time")
    return kind


def _key(column: pa.Array) -> pa.Array:
    """The column as partial counts have it: equal values have equal bits."""
    kind = _key_type(pa.field("", column.type))
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    column = column.cast(kind)
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(np.nan, kind), column)
        column = pc.add(column, pa.scalar(0.0, kind))  # -0.0 becomes 0.0
    return column


def _starts(keys: Sequence[pa.Array], rows: int) -> npt.NDArray[np.int64]:
    """The first row of each run of rows that are equal in all keys; rows is 1 or more."""
    starts = np.zeros(rows, np.bool_)
    starts[0] = True
    for key in keys:
        codes = key.dictionary_encode(null_encoding="encode").indices.to_numpy()
        starts[1:] |= codes[1:] != codes[:-1]
    return np.flatnonzero(starts)


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    if name not in batch.schema.names:
        raise KeyError(f"no column {name!r}; the batch has {', '.join(batch.schema.names)}")
    return batch.column(name)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)
