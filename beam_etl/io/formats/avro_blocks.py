"""The container of Avro: its header, where its blocks are, and their decompressed content.

Source: the Avro 1.12 specification, "Object Container Files".
"""

import bz2
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from beam_etl.io.errors import InputError

MAGIC = b"Obj\x01"

SYNC_BYTES = 16
"""A marker, drawn for each file, ends its header and each block."""

MAX_BLOCK_BYTES = 96 << 20
"""A block is held whole, compressed and not, and a byte of it may become a list's item of eight; writers end one after
some megabytes. A larger one is damage, or an attack."""

MAX_HEADER_BYTES = 64 << 20
"""The same for a header, which holds the schema."""

_FIRST_BYTES = 64 << 10
_LONG_BYTES = 10
_HEAD_BYTES = 2 * _LONG_BYTES


class Header(NamedTuple):
    """What the start of a file says."""

    schema: Any
    """The writer's schema: JSON, not checked yet."""
    codec: str
    sync: bytes
    length: int
    """Bytes of the header: where the first block begins."""


class Block(NamedTuple):
    """One block, not read yet."""

    start: int
    records: int
    data: int
    """Where its content begins."""
    size: int
    """Stored bytes of its content."""

    @property
    def stop(self) -> int:
        """Behind its sync marker."""
        return self.data + self.size + SYNC_BYTES


def read_header(file: Any) -> Header:
    """The header of an opened file.

    Raises:
      InputError: a codec that the format doesn't have.
      ValueError: not an Avro file, or one cut off in its header.
    """
    size, limit = _FIRST_BYTES, min(int(file.size()), MAX_HEADER_BYTES)
    while True:
        file.seek(0)
        start = file.read(size)
        try:
            metadata, length = _metadata(start)
            break
        except EOFError as error:
            if size >= limit:
                raise ValueError("not an Avro file, or its header is cut off") from error
            size *= 2
    codec = metadata.get(b"avro.codec", b"null").decode()
    if codec not in CODECS:
        raise InputError(f"Avro codec {codec!r}; there are {', '.join(CODECS)}")
    if b"avro.schema" not in metadata:
        raise ValueError("an Avro header without a schema")
    return Header(json.loads(metadata[b"avro.schema"]), codec, start[length - SYNC_BYTES : length], length)


def scan_blocks(file: Any, header: Header, start: int, stop: int) -> Iterator[Block]:
    """The blocks from byte `start` on that begin before `stop`, without reading their content.

    Raises:
      ValueError: what should be a block is none. The message tells where.
    """
    size = int(file.size())
    file.seek(start)
    head = file.read(_HEAD_BYTES)
    while start < stop:
        block = _block(head, start, size)
        file.seek(block.stop - SYNC_BYTES)
        tail = file.read(SYNC_BYTES + _HEAD_BYTES)
        if tail[:SYNC_BYTES] != header.sync:
            raise ValueError(f"the block at byte {start} doesn't end with the file's sync marker")
        yield block
        start, head = block.stop, tail[SYNC_BYTES:]


def block_content(file: Any, header: Header, block: Block) -> bytes:
    """The decompressed records of a block.

    Raises:
      Exception: one of CONTENT_ERRORS, when it is damaged, or expands over MAX_BLOCK_BYTES.
    """
    file.seek(block.data)
    content = CODECS[header.codec](file.read(block.size))
    if len(content) > MAX_BLOCK_BYTES:
        raise ValueError(_TOO_LARGE)
    if block.records > max(len(content), _MAX_EMPTY_RECORDS):
        raise ValueError(f"a block of {block.records} records in {len(content)} bytes")
    return content


_TOO_LARGE = f"a block expands to more than {MAX_BLOCK_BYTES} bytes"
_MAX_EMPTY_RECORDS = (
    1_000_000  # a record of nulls takes no bytes, so a few bytes can claim any number of them
)


def _metadata(start: bytes) -> tuple[dict[bytes, bytes], int]:
    """The map in the header, and the length of the header with its sync marker."""
    if start[: len(MAGIC)] != MAGIC[: len(start)]:
        raise ValueError("not an Avro file")
    metadata: dict[bytes, bytes] = {}
    count, at = _long(start, len(MAGIC))
    while count:
        if count < 0:  # then the size of the entries follows
            count, (_, at) = -count, _long(start, at)
        for _ in range(count):
            key, at = _bytes(start, at)
            metadata[key], at = _bytes(start, at)
        count, at = _long(start, at)
    if at + SYNC_BYTES > len(start):
        raise EOFError
    return metadata, at + SYNC_BYTES


def _block(head: bytes, start: int, size: int) -> Block:
    try:
        count, used = _long(head, 0)
        length, used = _long(head, used)
    except EOFError as error:
        raise ValueError(f"the file is cut off in the block at byte {start}") from error
    block = Block(start, count, start + used, length)
    if count < 0 or length < 0 or length > MAX_BLOCK_BYTES or block.stop > size:
        raise ValueError(
            f"the block at byte {start} claims {count} records in {length} bytes of a file of {size}"
        )
    return block


def _bytes(encoded: bytes, at: int) -> tuple[bytes, int]:
    length, at = _long(encoded, at)
    if length < 0:
        raise ValueError("not an Avro file: a negative length")
    if at + length > len(encoded):
        raise EOFError
    return encoded[at : at + length], at + length


def _long(encoded: bytes, at: int) -> tuple[int, int]:
    """A variable-length zig-zag number, and where the next begins."""
    value = 0
    for place, byte in enumerate(encoded[at : at + _LONG_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at + place + 1
    if at + _LONG_BYTES > len(encoded):
        raise EOFError
    raise ValueError("not Avro: a number of more than 10 bytes")


def _inflate(data: bytes) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, MAX_BLOCK_BYTES + 1)


def _bzip2(data: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, MAX_BLOCK_BYTES + 1)


def _xz(data: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(data, MAX_BLOCK_BYTES + 1)


def _zstandard(data: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        return bytes(stream.read(MAX_BLOCK_BYTES + 1))


def _snappy(data: bytes) -> bytes:
    """Raw snappy, which begins with the expanded size, 7 bits a byte; then the CRC-32 of the content."""
    packed, checksum = data[:-4], int.from_bytes(data[-4:], "big")
    size = 0
    for place, byte in enumerate(packed[:5]):
        size |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    if size > MAX_BLOCK_BYTES:
        raise ValueError(_TOO_LARGE)
    content = bytes(pa.decompress(packed, decompressed_size=size, codec="snappy", asbytes=True))
    if zlib.crc32(content) != checksum:
        raise ValueError("a block's checksum doesn't match its content")
    return content


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": _inflate,
    "snappy": _snappy,
    "zstandard": _zstandard,
    "bzip2": _bzip2,
    "xz": _xz,
}
