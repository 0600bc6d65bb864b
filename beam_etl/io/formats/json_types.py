"""Arrow types of JSON objects, inferred from a sample.

In plain Python, because it reads what nobody has checked yet: Arrow's own inference ends the process on
objects that nest deeply, and takes text that looks like a time for a time.
"""

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

import pyarrow as pa

MAX_DEPTH = 64
"""Objects that nest deeper have no part in the inference."""

MAX_ITEMS = 1000
"""Of a list that are looked at: long lists are all alike."""

_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)


Kind: TypeAlias = "pa.DataType | list[Kind] | dict[str, Kind]"
"""A type while it grows: a list of the one kind of its items, or the kinds of an object's fields. Arrow's own
types would be made anew for each record, which takes a minute for objects whose keys are data."""


def infer_schema(lines: Iterable[bytes]) -> pa.Schema:
    """Columns in the order in which they appear, with a type that holds all values seen, where there is one.

    Whole numbers are int64, uint64 above it, or else double; text is string; what was always null is string
    as well. Where values don't agree the first type stays, and records of the other one will be rejects.
    Lines that are not an object are passed over.

    Raises:
      ValueError: lines, but none that looks like an object: the file is something else.
    """
    columns: dict[str, Kind] = {}
    others = objects = False
    for line in lines:
        bare = line.strip()
        others = others or bool(bare)
        if not (bare.startswith(b"{") and bare.endswith(b"}")):
            continue
        objects = True
        try:
            found = _kind(json.loads(bare.decode("utf-8", "replace")), MAX_DEPTH)
        except (ValueError, RecursionError):
            continue
        _merge(columns, found)
    if others and not objects:
        raise ValueError("no line is a JSON object")
    return pa.schema([(name, _arrow(kind)) for name, kind in columns.items()])


def _merge(first: Kind, second: Kind) -> Kind:
    """A kind for both, `first` where there is none. Lists and objects of `first` grow in place."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name, kind in second.items():
            first[name] = _merge(first[name], kind) if name in first else kind
    elif isinstance(first, list) and isinstance(second, list):
        first[0] = _merge(first[0], second[0])
    elif isinstance(first, pa.DataType):
        if pa.types.is_null(first):
            return second
        if first != second and _is_number(first) and _is_number(second):
            return pa.float64()
    return first


def _kind(value: Any, depth: int) -> Kind:
    if depth < 0:
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
        merged: Kind = pa.null()
        for item in value[:MAX_ITEMS]:
            merged = _merge(merged, _kind(item, depth - 1))
        return [merged]
    if isinstance(value, dict):
        return {name: _kind(item, depth - 1) for name, item in value.items() if _encodable(name)}
    return pa.null()


def _arrow(kind: Kind) -> pa.DataType:
    if isinstance(kind, list):
        return pa.list_(_arrow(kind[0]))
    if isinstance(kind, dict):
        return pa.struct([(name, _arrow(item)) for name, item in kind.items()])
    return pa.string() if pa.types.is_null(kind) else kind


def _is_number(type_: Kind) -> bool:
    return isinstance(type_, pa.DataType) and bool(pa.types.is_integer(type_) or pa.types.is_floating(type_))


def _encodable(name: str) -> bool:
    """Whether a name is valid Unicode: half a surrogate pair isn't."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
