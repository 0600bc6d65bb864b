"""Arrays inside arrays: what lists, structs and maps are made of, and the codes of dictionaries among it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def parts_of(values: pa.Array) -> list[pa.Array]:
    """The arrays that a nested one or an extension is made of, only of its own rows; of a plain one none."""
    if isinstance(values, pa.ExtensionArray):
        return [values.storage]
    if isinstance(values, pa.StructArray):
        return list(values.flatten())
    if isinstance(values, pa.MapArray):
        own = values.take(pa.array(np.arange(len(values))))
        return [own.keys, own.items]
    return [values.flatten()] if pa.types.is_nested(values.type) else []


def check_codes(values: pa.Array) -> None:
    """Each code stands for a value of its dictionary: Arrow takes them from Parquet as they are.

    Raises:
      ValueError: one doesn't.
    """
    if isinstance(values, pa.DictionaryArray):
        limits, room = pc.min_max(values.indices), len(values.dictionary)
        for code in (limits["min"].as_py(), limits["max"].as_py()):
            if code is not None and not 0 <= code < room:
                raise ValueError(f"code {code} in a dictionary of {room} values")
    elif _has_codes(values.type):
        for part in parts_of(values):
            check_codes(part)


def _has_codes(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return _has_codes(kind.storage_type)
    return pa.types.is_dictionary(kind) or any(
        _has_codes(kind.field(place).type) for place in range(kind.num_fields)
    )
