"""The index of a file of token ids in the layout of Megatron's indexed datasets (`.bin` and `.idx`, version 1).

`.bin` is ids alone, document after document. `.idx` is, little-endian: 9 bytes MAGIC; uint64 1; uint8, the code of the
ids' type; uint64 sequences; uint64 documents + 1; int32 ids of each sequence; int64 the byte of `.bin` that each begins
at; int64 the first sequence of each document, and behind them the number of sequences. Here a document is one sequence.

Source: the reader and writer of megatron.core.datasets.indexed_dataset.
"""

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQQ")
_VERSION = 1

_CODES = {2: 8, 4: 4}
"""Of the types uint16 and int32. There is none for uint32: ids below 2^31 are the same bytes."""

_PIECE = 1 << 17
"""Numbers that are made at once."""


def index_pieces(lengths: npt.NDArray[np.int32], id_bytes: int) -> Iterator[bytes]:
    """The bytes of an `.idx`, piece by piece.

    Args:
      lengths: int32[documents], ids of each, the mark of its end among them.
      id_bytes: of an id, 2 or 4.
    """
    yield _HEADER.pack(MAGIC, _VERSION, _CODES[id_bytes], len(lengths), len(lengths) + 1)
    yield lengths.astype("<i4", copy=False).tobytes()
    yield from begin_pieces(lengths, id_bytes)
    for at in range(0, len(lengths) + 1, _PIECE):
        yield np.arange(at, min(at + _PIECE, len(lengths) + 1), dtype="<i8").tobytes()


def begin_pieces(lengths: npt.NDArray[np.int32], unit: int) -> Iterator[bytes]:
    """Where each document begins, in units of which an id has so many: int64[documents], piece by piece."""
    begin = 0
    for at in range(0, len(lengths), _PIECE):
        ends = begin + np.cumsum(lengths[at : at + _PIECE], dtype=np.int64) * unit
        yield np.append(begin, ends[:-1]).astype("<i8").tobytes()
        begin = int(ends[-1])


def check_index(index: bytes) -> tuple[int, int]:
    """Documents that an `.idx` has, and the bytes that its `.bin` must have.

    Raises:
      ValueError: it isn't what `index_pieces` makes. The message says in which respect.
    """
    if len(index) < _HEADER.size:
        raise ValueError(f"{len(index)} bytes are no index of tokens")
    magic, version, code, sequences, ends = _HEADER.unpack_from(index)
    id_bytes = next((size for size, known in _CODES.items() if known == code), 0)
    if magic != MAGIC or version != _VERSION or not id_bytes or ends != sequences + 1:
        raise ValueError("the header isn't that of an index of tokens")
    wanted = _HEADER.size + 4 * sequences + 8 * sequences + 8 * ends
    if len(index) != wanted:
        raise ValueError(f"{len(index):,} bytes, {wanted:,} for {sequences:,} sequences")
    lengths = np.frombuffer(index, "<i4", sequences, _HEADER.size)
    if (lengths < 0).any() or b"".join(index_pieces(lengths, id_bytes)) != index:
        raise ValueError("places of sequences don't follow from their lengths")
    return sequences, int(lengths.sum(dtype=np.int64)) * id_bytes
