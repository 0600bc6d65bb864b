"""Arrays as `numpy.save` stores them, of which `numpy.load` maps the file: ids of tokens, and where documents begin.

Source: numpy.lib.format, version 1.0.
"""

import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.token_index import begin_pieces

HEADER_BYTES = 1 << 12
"""More than the header of an array of one dimension has."""

OFFSETS = np.dtype("<i8")


def array_header(dtype: np.dtype, length: int) -> bytes:
    """What stands before the values of an array of one dimension."""
    header = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


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
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"an array of version {version}, (1, 0) was written")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if len(shape) != 1:
        raise ValueError(f"an array of {len(shape)} dimensions, one was written")
    return dtype, shape[0], file.tell() + shape[0] * dtype.itemsize


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
