"""Small files that ask for gigabytes, hours or the process's stack, as their readers take them at their word."""

import gzip
import io
import json
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SYNC = bytes(16)
ZEROS = 64 << 20


def zigzag(number: int) -> bytes:
    """A number as Avro writes it."""
    value, encoded = (number << 1) ^ (number >> 127), bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def avro_file(schema: Any, *blocks: tuple[int, bytes], codec: str = "null") -> bytes:
    """A container with a schema as it is, and blocks that claim so many records."""
    metadata = {b"avro.schema": json.dumps(schema).encode(), b"avro.codec": codec.encode()}
    entries = b"".join(zigzag(len(key)) + key + zigzag(len(value)) + value for key, value in metadata.items())
    header = b"Obj\x01" + zigzag(len(metadata)) + entries + zigzag(0) + SYNC
    written = (zigzag(count) + zigzag(len(content)) + content + SYNC for count, content in blocks)
    return header + b"".join(written)


def record(*fields: tuple[str, Any], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields]}


def nested(levels: int) -> Any:
    kind: Any = "string"
    for _ in range(levels):
        kind = {"type": "array", "items": kind}
    return record(("text", kind))


def doubled(levels: int) -> Any:
    """Records of which each has the one before it twice: 2^levels values that take no bytes."""
    records = [record(("a", "null"), ("b", "null"), name="R0")]
    records += [record(*((key, f"R{n - 1}") for key in "ab"), name=f"R{n}") for n in range(1, levels)]
    return record(("text", "string"), *((f"r{n}", inner) for n, inner in enumerate(records)))


def deflated(size: int) -> bytes:
    compress = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    pieces = [compress.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*pieces, compress.flush()])


def parquet_of(column: pa.Array, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": column}), sink, compression="zstd", **options)
    return sink.getvalue()


def one_text(size: int) -> bytes:
    return parquet_of(pa.array(["x" * size], pa.large_string()), use_dictionary=False)


def same_text(size: int, rows: int) -> bytes:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * size])
    return parquet_of(texts)


def packed_zeros(size: int, byte: bytes = b"\0") -> bytes:
    return gzip.compress(byte * ZEROS) * (size // ZEROS)


CHAIN = record(("text", "string"), ("next", ["null", "int", "R"]))

BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "parquet, one text of 200 MB": ("a.parquet", lambda: one_text(200 << 20)),
    "parquet, a text of 1 MB 500 times": ("a.parquet", lambda: same_text(1 << 20, 500)),
    "parquet, 300 million nulls": ("a.parquet", lambda: parquet_of(pa.nulls(300_000_000, pa.string()))),
    "gzip, 1 GB of zeros": ("a.jsonl.gz", lambda: packed_zeros(1 << 30)),
    "gzip, 1 GB of blank lines": ("a.jsonl.gz", lambda: packed_zeros(1 << 30, b"\n")),
    "gzip, 100,000 empty members": ("a.jsonl.gz", lambda: gzip.compress(b"") * 100_000),
    "zstd, 4 GB of zeros": ("a.txt.zst", lambda: pa.compress(bytes(ZEROS), "zstd", asbytes=True) * 64),
    "json, a line of 80 MB": ("a.jsonl", lambda: b'{"text": "' + b"x" * (80 << 20) + b'"}'),
    "json, a million lists in each other": ("a.jsonl", lambda: b'{"text": ' + b"[" * 1_000_000),
    "json, a million objects in each other": (
        "a.jsonl",
        lambda: b'{"text": "a", "b": ' + b'{"a": ' * 1_000_000,
    ),
    "json, a number of 10 million digits": (
        "a.jsonl",
        lambda: b'{"text": "a", "n": ' + b"9" * 10_000_000 + b"}",
    ),
    "json, 20,000 names": ("a.jsonl", lambda: json.dumps({str(n): n for n in range(20_000)}).encode()),
    "avro, a schema of 10 KB in itself": ("a.avro", lambda: avro_file(nested(400), (1, bytes(400)))),
    "avro, a list of a trillion nulls": (
        "a.avro",
        lambda: avro_file(
            record(("text", "string"), ("l", {"type": "array", "items": "null"})),
            (1, zigzag(1) + b"a" + zigzag(1 << 40) + zigzag(0)),
        ),
    ),
    "avro, records doubled 60 times": ("a.avro", lambda: avro_file(doubled(60), (1, zigzag(1) + b"a"))),
    "avro, a record a million deep": (
        "a.avro",
        lambda: avro_file(
            CHAIN, (1, (zigzag(1) + b"a" + zigzag(2)) * 1_000_000 + zigzag(1) + b"a" + zigzag(0))
        ),
    ),
    "avro, a block of 256 MB": (
        "a.avro",
        lambda: avro_file(record(("text", "string")), (1 << 30, deflated(256 << 20)), codec="deflate"),
    ),
    "avro, a snappy block that claims 4 GB": (
        "a.avro",
        lambda: avro_file(
            record(("text", "string")), (1, b"\xff\xff\xff\xff\x0f" + bytes(40)), codec="snappy"
        ),
    ),
    "avro, a trillion records of no bytes": ("a.avro", lambda: avro_file(record(), (1 << 40, b""))),
    "avro, a header of quadrillions of names": ("a.avro", lambda: b"Obj\x01" + zigzag(1 << 50) + bytes(100)),
    "avro, a text of exabytes": (
        "a.avro",
        lambda: avro_file(record(("text", "string")), (1, zigzag(1 << 60) + b"a")),
    ),
}
"""What is wrong, the file's name, and what makes it."""
