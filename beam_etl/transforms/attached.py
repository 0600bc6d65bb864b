"""What crosses when elements meet their rows (`shuffle.Attach`): both as batches, so that no row is pickled."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

_ELEMENT = "beam_etl.element"
"""The only column of the batch that an element travels as."""

_BITS = (1 << 64) - 1


class AttachedRows:
    """The batches among the values of a key, without the one that is the element. Can be iterated again."""

    def __init__(self, values: Iterable[pa.RecordBatch]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return (batch for batch in self._values if batch.schema.names != [_ELEMENT])


def keys_of(batch: pa.RecordBatch, name: str) -> Any:
    """A column of keys as an array: uint64[rows]."""
    return batch.column(name).to_numpy()


def signed_key(key: int) -> int:
    """The int64 of a uint64's bits, which Beam's coder of integers holds."""
    return int(np.uint64(key & _BITS).view(np.int64))


def pack_element(pair: tuple[int, Any], coder: Any) -> tuple[int, pa.RecordBatch]:
    """A key and its element, encoded by the coder of such pairs."""
    return signed_key(pair[0]), pa.record_batch({_ELEMENT: pa.array([coder.encode(pair)], pa.binary())})


def unpack_element(
    found: tuple[int, Iterable[pa.RecordBatch]], coder: Any
) -> tuple[Any, Iterable[pa.RecordBatch]]:
    """The element among the values of a key, and the rows among them.

    Raises:
      ValueError: no element has the key.
    """
    key, values = found
    packed = next((batch for batch in values if batch.schema.names == [_ELEMENT]), None)
    if packed is None:
        raise ValueError(f"rows with the key {key & _BITS}, which no element has")
    return coder.decode(packed.column(0)[0].as_py())[1], AttachedRows(values)
