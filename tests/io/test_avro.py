"""Avro against fastavro: types, odd headers, and what is no Avro."""

import datetime
import decimal
import io
import uuid
from pathlib import Path
from typing import Any

import fastavro
import pytest

from beam_etl.io.columns import ALL, Columns
from beam_etl.io.errors import InputError
from beam_etl.io.read import ReadDocuments
from tests.stored import read, write

MOMENT = datetime.datetime(2026, 2, 3, 4, 5, 6, 7000, datetime.timezone.utc)
NUMBER = uuid.UUID(int=2**100)

FIELDS: dict[str, tuple[Any, Any]] = {
    "boolean": ("boolean", True),
    "int": ("int", -(2**31)),
    "long": ("long", 2**62),
    "float": ("float", 0.5),
    "double": ("double", 0.1),
    "bytes": ("bytes", b"\xff\x00"),
    "string": ("string", "zażółć"),
    "null": ("null", None),
    "optional": (["string", "null"], None),
    "date": ({"type": "int", "logicalType": "date"}, MOMENT.date()),
    "millis": ({"type": "long", "logicalType": "timestamp-millis"}, MOMENT),
    "micros": (["null", {"type": "long", "logicalType": "timestamp-micros"}], MOMENT),
    "local": ({"type": "long", "logicalType": "local-timestamp-micros"}, MOMENT.replace(tzinfo=None)),
    "clock": ({"type": "int", "logicalType": "time-millis"}, datetime.time(4, 5, 6)),
    "price": (
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        decimal.Decimal("-1.25"),
    ),
    "uuid": ({"type": "string", "logicalType": "uuid"}, NUMBER),
    "unknown": ({"type": "long", "logicalType": "of-its-own"}, 5),
    "enum": ({"type": "enum", "name": "Suite", "symbols": ["a", "b"]}, "b"),
    "fixed": ({"type": "fixed", "name": "Four", "size": 4}, b"\x00\x01\x02\x03"),
    "fixed_again": ("Four", b"abcd"),
    "array": ({"type": "array", "items": ["null", "long"]}, [1, None]),
    "map": ({"type": "map", "values": {"type": "array", "items": "string"}}, {"k": ["v"]}),
    "record": (
        {
            "type": "record",
            "name": "In.ner",
            "fields": [{"name": "n", "type": {"type": "string", "logicalType": "uuid"}}],
        },
        {"n": NUMBER},
    ),
    "record_again": ({"type": "array", "items": "In.ner"}, [{"n": NUMBER}]),
}


def avro(fields: dict[str, Any], *records: dict[str, Any], **options: Any) -> bytes:
    described = [{"name": name, "type": type_} for name, type_ in fields.items()]
    sink = io.BytesIO()
    fastavro.writer(sink, {"type": "record", "name": "R", "fields": described}, records, **options)
    return sink.getvalue()


def plain(value: Any) -> Any:
    """As Arrow gives it back: UUIDs are text, maps are pairs."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def test_every_type_is_carried(tmp_path: Path) -> None:
    content = avro(
        {name: type_ for name, (type_, _) in FIELDS.items()},
        {name: value for name, (_, value) in FIELDS.items()},
    )
    [record] = fastavro.reader(io.BytesIO(content))
    [row] = read(write(tmp_path, "a.avro", content), Columns(needed=(), carry=ALL)).rows
    expected = {name: plain(value) for name, value in record.items()}  # type: ignore[union-attr]
    assert row == {"address": 0, **expected, "map": [("k", ["v"])]}


def test_a_column_that_arrow_has_no_type_for_stops_only_who_wants_it(tmp_path: Path) -> None:
    path = write(
        tmp_path, "a.avro", avro({"text": "string", "odd": ["long", "string"]}, {"text": "a", "odd": 1})
    )
    assert read(path).column("text") == ["a"]
    with pytest.raises(InputError, match="column 'odd' can't be read: a union of 2 types"):
        ReadDocuments(patterns=str(path), columns=Columns(carry=ALL))


def test_text_that_is_not_utf8_matters_where_it_is_wanted(tmp_path: Path) -> None:
    records = [
        {"text": "aaa", "other": "bbb"},
        {"text": "ccc", "other": "ddd"},
        {"text": "eee", "other": "fff"},
    ]
    content = avro({"text": "string", "other": "string"}, *records)
    path = write(tmp_path, "a.avro", content.replace(b"aaa", b"a\xffa").replace(b"ddd", b"d\xffd"))
    found = read(path)
    assert found.column("text") == ["ccc", "eee"]
    [reject] = found.rejects
    assert (reject.position, reject.payload, reject.rows) == (0, b"\x06a\xffa\x06bbb", 1)
    assert read(path, Columns(carry=("other",))).column("text") == ["eee"]


@pytest.mark.parametrize("size", [100, 70_000, 500_000])
def test_a_header_of_any_length_is_read(size: int, tmp_path: Path) -> None:
    content = avro(
        {"text": "string"}, {"text": "a"}, metadata={"note": "x" * size, "z": "y"}, sync_marker=b"S" * 16
    )
    assert read(write(tmp_path, "a.avro", content)).column("text") == ["a"]


def numbers() -> bytes:
    sink = io.BytesIO()
    fastavro.writer(sink, "long", [1, 2])
    return sink.getvalue()


def nested(depth: int) -> Any:
    return {"type": "array", "items": nested(depth - 1)} if depth else "long"


BAD = {
    "no Avro at all": (b"PAR1" * 100, "not an Avro file"),
    "nothing": (b"Obj\x01", "not an Avro file, or its header is cut off"),
    "no records": (numbers(), "an Avro file whose records have no fields with names"),
    "deep": (
        avro({"text": "string", "deep": nested(80)}, {"text": "a", "deep": []}),
        "an Avro schema that nests deeper than --max_nesting allows",
    ),
    "unknown codec": (
        avro({"text": "string"}, {"text": "a"}).replace(b"\x08null", b"\x08zero"),
        "Avro codec 'zero'; there are null, deflate, snappy, zstandard, bzip2, xz",
    ),
    "a negative count": (avro({"text": "string"}) + b"\x01\x02a" + b"S" * 16, "claims -1 records in 1 bytes"),
    "records of no bytes": (
        avro({"text": "null"}, sync_marker=b"S" * 16) + b"\xfe\xff\xff\xff\xff\xff\x7f\x00" + b"S" * 16,
        "a block of 281474976710655 records in 0 bytes",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_what_is_no_avro_is_one_reject(content: bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "a.avro", content)
    found = read(path)
    assert found.rows == []
    [reject] = found.rejects
    assert message in reject.reason


def test_a_type_that_contains_itself_is_refused(tmp_path: Path) -> None:
    linked = {"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}
    content = avro({"text": "string", "list": linked}, {"text": "a", "list": {"next": {"next": None}}})
    [reject] = read(write(tmp_path, "a.avro", content)).rejects
    assert reject.reason == "Avro type 'L' contains itself"
