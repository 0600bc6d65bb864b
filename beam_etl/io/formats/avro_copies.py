"""Copying Avro records as they are encoded, under the header of their file: whatever its schema says stays said."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from beam_etl.io.formats.avro_blocks import Header
from beam_etl.io.formats.base import Rows

BLOCK_BYTES = 256 << 10
"""Of records before compression; a batch more at most."""


class AvroCopier:
    """Encoded records in blocks of the same codec, with the same sync marker.

    Args:
      sink: where to write.
      header: of the file that the records are from.
      start: its bytes.
    """

    def __init__(self, sink: Any, header: Header, start: bytes) -> None:
        self._sink = sink
        self._header = header
        self._held: list[bytes] = []
        self._records = self._bytes = 0
        sink.write(start)

    def write(self, rows: Rows, kept: np.ndarray | None) -> int:
        count = rows.batch.num_rows if kept is None else len(kept)
        self._held.append(rows.stored(kept))
        self._records += count
        self._bytes += len(self._held[-1])
        if self._bytes >= BLOCK_BYTES:
            self._flush()
        return count

    def _flush(self) -> None:
        content = COMPRESS[self._header.codec](b"".join(self._held))
        self._sink.write(_long(self._records) + _long(len(content)) + content + self._header.sync)
        self._held, self._records, self._bytes = [], 0, 0

    def close(self) -> None:
        if self._records:
            self._flush()


def _long(value: int) -> bytes:
    """A number that isn't negative, as Avro stores it: zig-zag, 7 bits a byte."""
    left, encoded = value << 1, bytearray()
    while left >= 0x80:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


def _deflate(content: bytes) -> bytes:
    made = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return made.compress(content) + made.flush()


def _snappy(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="snappy", asbytes=True)) + zlib.crc32(content).to_bytes(4, "big")


def _zstandard(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": _deflate,
    "snappy": _snappy,
    "zstandard": _zstandard,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
