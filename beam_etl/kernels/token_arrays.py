"""Arrays as `numpy.save` stores them, of which `numpy.load` maps the file: ids of tokens, and where documents begin.

Source: numpy.lib.format, version 1.0.
"""

import re
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.token_index import begin_pieces

HEADER_BYTES = 1 << 12
"""More than the header of an array of one dimension has."""

OFFSETS = np.dtype("<i8")

# NumPy's own reader evaluates it, and raises anything on damage.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '(<[iu][1248])', 'fortran_order': False, 'shape': \((\d{1,18}),\), \} *\n",
    re.DOTALL,
)
_SHOWN_BYTES = 100


def array_header(dtype: np.dtype, length: int) -> bytes:
    """What stands before the values of an array of one dimension."""
    pieces: list[bytes] = []
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(SimpleNamespace(write=pieces.append), described)
    return b"".join(pieces)


def offset_pieces(lengths: npt.NDArray[np.int32]) -> Iterator[bytes]:
    """The file of an int64[documents + 1], piece by piece: where each document begins, and all ids.

    Args:
      lengths: int32[documents], ids of each, the mark of its end among them.
    """
    yield array_header(OFFSETS, len(lengths) + 1)
    yield from begin_pieces(lengths, 1)
    yield int(lengths.sum(dtype=np.int64)).to_bytes(OFFSETS.itemsize, "little")


def read_header(data: bytes) -> tuple[np.dtype, int, int]:
    """Type and length of an array of one dimension, and the bytes that its file must have.

    Args:
      data: the file's first HEADER_BYTES, or all of it.

    Raises:
      ValueError: it is no such array.
    """
    found = _HEADER.match(data)
    if found is None or int.from_bytes(found[1], "little") != found.end() - found.end(1):
        raise ValueError(f"no array of one dimension that numpy.save wrote begins by {data[:_SHOWN_BYTES]!r}")
    dtype, length = np.dtype(found[2].decode()), int(found[3])
    return dtype, length, found.end() + length * dtype.itemsize


def check_offsets(data: bytes) -> tuple[int, int]:
    """Documents and ids that a file of `offset_pieces` tells of.

    Raises:
      ValueError: it isn't one. The message says in which respect.
    """
    dtype, length, size = read_header(data[:HEADER_BYTES])
    if dtype != OFFSETS or not length or size != len(data):
        raise ValueError(f"{len(data):,} bytes of {length:,} {dtype} are no offsets of documents")
    begins = np.frombuffer(data, OFFSETS, offset=size - length * OFFSETS.itemsize)
    if begins[0] or (np.diff(begins) < 0).any():
        raise ValueError("offsets of documents aren't ascending from 0")
    return length - 1, int(begins[-1])
