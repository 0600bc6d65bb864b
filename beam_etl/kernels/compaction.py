"""Slices that own their bytes: drop what a slice shares with its parent and does not show."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def compact(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows, without the parts of dictionaries and view buffers that no row refers to.

    Arrow IPC already cuts plain columns to the slice. Dictionaries, string views, list views and dense unions are
    written whole, however short the slice: a ten-row slice of a 100,000-row batch took 1.7 MB instead of 500 bytes.

    Args:
      batch: any batch, returned as it is when no column shares buffers.

    Returns:
      A batch of the same values and schema. Dictionaries keep the order of their values.
    """
    if batch.num_rows == 0:  # an empty slice would carry its parent's offsets
        return pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in batch.schema], schema=batch.schema)
    if not any(_shares(field.type) for field in batch.schema):
        return batch
    return pa.RecordBatch.from_arrays(
        [compact_array(column) for column in batch.columns], schema=batch.schema
    )


def compact_array(array: pa.Array) -> pa.Array:
    """The same values in buffers of their own; nested arrays too. See `compact`."""
    kind = array.type
    if not _shares(kind):
        return array
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, compact_array(array.storage))
    if pa.types.is_dictionary(kind):
        return _dictionary(array)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        plain = pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary()
        return array.cast(plain).cast(kind)
    if pa.types.is_struct(kind):
        children = [compact_array(child) for child in array.flatten()]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())
    for is_kind, rebuild in _LISTS:
        if is_kind(kind):
            return rebuild(array)
    return array.take(pa.array(np.arange(len(array)))) if pa.types.is_union(kind) else array


def _shares(kind: pa.DataType) -> bool:
    """Whether slices of this type carry bytes of their parent through Arrow IPC."""
    if isinstance(kind, pa.BaseExtensionType):
        return _shares(kind.storage_type)
    shared = (pa.types.is_dictionary, pa.types.is_string_view, pa.types.is_binary_view)
    views = (pa.types.is_list_view, pa.types.is_large_list_view)
    if any(check(kind) for check in (*shared, *views)):
        return True
    if pa.types.is_union(kind) and kind.mode == "dense":
        return True
    return any(_shares(kind.field(i).type) for i in range(kind.num_fields))


def _dictionary(array: pa.DictionaryArray) -> pa.DictionaryArray:
    used, codes = np.unique(array.indices.drop_null().to_numpy(), return_inverse=True)
    indices = np.zeros(len(array), np.int64)
    indices[array.indices.is_valid().to_numpy(zero_copy_only=False)] = codes
    nulls = array.indices.is_null().to_numpy(zero_copy_only=False)
    values = compact_array(array.dictionary.take(pa.array(used)))
    narrow = pa.array(indices, mask=nulls).cast(array.type.index_type)
    return pa.DictionaryArray.from_arrays(narrow, values, ordered=array.type.ordered)


def _offsets(array: pa.Array) -> tuple[np.ndarray, pa.Array | None]:
    """Offsets of the lists once null lists are empty, and which are null."""
    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    mask = array.is_null() if array.null_count else None
    return np.concatenate([[0], np.cumsum(lengths)]), mask


def _list(make: Any, offset_type: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    def rebuild(array: pa.Array) -> pa.Array:
        offsets, mask = _offsets(array)
        values = compact_array(array.flatten())
        return make.from_arrays(pa.array(offsets, offset_type), values, type=array.type, mask=mask)

    return rebuild


def _list_view(make: Any, offset_type: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    def rebuild(array: pa.Array) -> pa.Array:
        offsets, mask = _offsets(array)
        starts, sizes = pa.array(offsets[:-1], offset_type), pa.array(np.diff(offsets), offset_type)
        return make.from_arrays(starts, sizes, compact_array(array.flatten()), type=array.type, mask=mask)

    return rebuild


def _map(array: pa.MapArray) -> pa.MapArray:
    lists = array.cast(pa.list_(array.type.field(0)))  # maps have neither lengths nor flatten()
    offsets, mask = _offsets(lists)
    keys, items = (compact_array(half) for half in lists.flatten().flatten())
    return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), keys, items, type=array.type, mask=mask)


def _fixed_size_list(array: pa.FixedSizeListArray) -> pa.FixedSizeListArray:
    width = array.type.list_size
    values = array.values.slice(
        array.offset * width, len(array) * width
    )  # flatten() would drop those of nulls
    mask = array.is_null() if array.null_count else None
    return pa.FixedSizeListArray.from_arrays(compact_array(values), type=array.type, mask=mask)


_LISTS = (
    (pa.types.is_map, _map),
    (pa.types.is_fixed_size_list, _fixed_size_list),
    (pa.types.is_list, _list(pa.ListArray, pa.int32())),
    (pa.types.is_large_list, _list(pa.LargeListArray, pa.int64())),
    (pa.types.is_list_view, _list_view(pa.ListViewArray, pa.int32())),
    (pa.types.is_large_list_view, _list_view(pa.LargeListViewArray, pa.int64())),
)
