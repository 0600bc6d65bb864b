"""Arrow types of JSON objects, inferred from a sample.

In plain Python, because it reads what nobody has checked yet: Arrow's own inference ends the process on
objects that nest deeply, and takes text that looks like a time for a time.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

MAX_DEPTH = 64
"""Objects that nest deeper have no part in the inference."""

_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)


def infer_schema(lines: Iterable[bytes]) -> pa.Schema:
    """Columns in the order in which they appear, with a type that holds all values seen, where there is one.

    Whole numbers are int64, uint64 above it, or else double; text is string; what was always null is string
    as well. Where values don't agree the first type stays, and records of the other one will be rejects.
    Lines that are not an object are passed over.
    """
    columns: dict[str, pa.DataType] = {}
    for line in lines:
        try:
            record = json.loads(line.decode("utf-8", "replace"))
            if isinstance(record, dict):
                found = {name: _type(value, MAX_DEPTH) for name, value in record.items() if _encodable(name)}
            else:
                continue
        except (ValueError, RecursionError):
            continue
        for name, type_ in found.items():
            columns[name] = merge_types(columns[name], type_) if name in columns else type_
    return pa.schema([(name, _settle(type_)) for name, type_ in columns.items()])


def merge_types(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """A type for both; `first` where there is none."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if _is_number(first) and _is_number(second):
        return pa.float64()
    if pa.types.is_list(first) and pa.types.is_list(second):
        return pa.list_(merge_types(first.value_type, second.value_type))
    if pa.types.is_struct(first) and pa.types.is_struct(second):
        fields = {field.name: field.type for field in first}
        for field in second:
            fields[field.name] = (
                merge_types(fields[field.name], field.type) if field.name in fields else field.type
            )
        return pa.struct(list(fields.items()))
    return first


def _type(value: Any, depth: int) -> pa.DataType:
    if depth == 0:
        raise RecursionError("nests too deeply")
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64() if value in _INT64 else pa.uint64() if value in _UINT64 else pa.float64()
    if isinstance(value, float):
        return pa.float64()
    if isinstance(value, str):
        return pa.string()
    if isinstance(value, list):
        merged: pa.DataType = pa.null()
        for item in _some(value):
            merged = merge_types(merged, _type(item, depth - 1))
        return pa.list_(merged)
    if isinstance(value, dict):
        return pa.struct([(name, _type(item, depth - 1)) for name, item in value.items() if _encodable(name)])
    return pa.null()


def _some(items: list[Any], most: int = 1000) -> Iterator[Any]:
    """Long lists are all alike."""
    yield from items[:most]


def _settle(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_null(type_):
        return pa.string()
    if pa.types.is_list(type_):
        return pa.list_(_settle(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, _settle(field.type)) for field in type_])
    return type_


def _is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_))


def _encodable(name: str) -> bool:
    """Whether a name is valid Unicode: half a surrogate pair isn't."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
