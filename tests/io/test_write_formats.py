"""What is written is read by others: by the standard library, fastavro and pyarrow."""

import datetime
import decimal
import io
import json
from collections.abc import Callable
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io.errors import InputError
from beam_etl.io.formats import format_named, parquet

MOMENT = datetime.datetime(2026, 2, 3, 4, 5, 6, 7, datetime.timezone.utc)

COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.large_string()),
        ("tokens", pa.int64()),
        ("small", pa.uint16()),
        ("score", pa.float64()),
        ("kept", pa.bool_()),
        ("date", pa.date32()),
        ("time", pa.timestamp("us", "UTC")),
        ("digest", pa.binary(3)),
        ("price", pa.decimal128(10, 2)),
        ("tags", pa.list_(pa.string())),
        ("meta", pa.struct([("a", pa.int32()), ("b", pa.list_(pa.struct([("c", pa.string())])))])),
        ("suite", pa.dictionary(pa.int32(), pa.string())),
    ]
)

FULL: dict[str, Any] = {
    "id": "a",
    "text": 'zażółć\n\u2028\U0001f1ef "quoted" \\ \x00',
    "tokens": 2**60,
    "small": 7,
    "score": 0.1,
    "kept": True,
    "date": MOMENT.date(),
    "time": MOMENT,
    "digest": b"\x00\xff\x10",
    "price": decimal.Decimal("12.30"),
    "tags": ["x", None],
    "meta": {"a": 1, "b": [{"c": "d"}]},
    "suite": "bookworm",
}
ROWS = [FULL, dict.fromkeys(FULL), {**FULL, "id": "b", "tags": [], "score": -0.0}]


def from_parquet(content: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
    return rows


def from_avro(content: bytes) -> list[dict[str, Any]]:
    return list(fastavro.reader(io.BytesIO(content)))  # type: ignore[arg-type]


def from_jsonl(content: bytes) -> list[dict[str, Any]]:
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    if row["id"] is None:
        return row
    told = {"date": "2026-02-03", "time": "2026-02-03T04:05:06.000007Z", "digest": "AP8Q", "price": "12.30"}
    return {**row, **told}


Back = Callable[[bytes], list[dict[str, Any]]]

FORMATS: dict[str, tuple[Back, list[dict[str, Any]]]] = {
    "parquet": (from_parquet, ROWS),
    "avro": (from_avro, ROWS),
    "jsonl": (from_jsonl, [as_json(row) for row in ROWS]),
}


def written(name: str, batches: list[pa.RecordBatch], columns: pa.Schema) -> bytes:
    sink = io.BytesIO()
    writer = format_named(name).writer(sink, columns)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return sink.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_others_read_what_is_written(name: str) -> None:
    back, expected = FORMATS[name]
    batch = pa.RecordBatch.from_pylist(ROWS, COLUMNS)
    assert back(written(name, [batch, batch.slice(1)], COLUMNS)) == expected + expected[1:]


@pytest.mark.parametrize("name", ["parquet", "avro"])
def test_a_file_without_rows_tells_its_columns(name: str) -> None:
    content = written(name, [], COLUMNS)
    assert FORMATS[name][0](content) == []
    if name == "parquet":
        assert pq.read_schema(io.BytesIO(content)).names == COLUMNS.names


def test_parquet_gathers_batches_into_row_groups_with_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 100_000)
    columns = pa.schema([("text", pa.large_string())])
    batch = pa.RecordBatch.from_pylist([{"text": f"{n} lorem ipsum"} for n in range(1000)], columns)
    content = written("parquet", [batch] * 20, columns)
    metadata = pq.read_metadata(io.BytesIO(content))
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [
        5000,
        5000,
        5000,
        5000,
    ]
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    damaged = bytearray(content)
    damaged[metadata.row_group(1).column(0).data_page_offset + 100] ^= 1
    with pytest.raises(OSError, match="CRC checksum verification failed"):
        pq.read_table(io.BytesIO(bytes(damaged)), page_checksum_verification=True)


def test_a_column_of_two_types_is_told_by_its_name() -> None:
    first, other = (pa.RecordBatch.from_pylist([{"id": "a", "score": value}]) for value in (1, 0.5))
    writer = format_named("parquet").writer(io.BytesIO(), first.schema)
    writer.write(first)
    with pytest.raises(TypeError, match="one has 'score' of type int64, another 'score' of type double"):
        writer.write(other)
    writer.close()


def test_json_has_no_infinity() -> None:
    batch = pa.RecordBatch.from_pylist([{"x": float("inf"), "y": [float("nan"), 1.0]}])
    assert from_jsonl(written("jsonl", [batch], batch.schema)) == [{"x": None, "y": [None, 1.0]}]


def test_text_has_a_line_a_document() -> None:
    batch = pa.RecordBatch.from_pylist([{"id": 1, "text": "zażółć"}, {"id": 2, "text": ""}])
    assert written("text", [batch], batch.schema) == "zażółć\n\n".encode()


REFUSED = {
    "a name that Avro doesn't have": ("avro", pa.schema([("my column", pa.int64())]), "column 'my column'"),
    "a type that Avro doesn't have": (
        "avro",
        pa.schema([("t", pa.timestamp("ns"))]),
        "column 't': Avro has no type",
    ),
    "an inner one": (
        "avro",
        pa.schema([("s", pa.struct([("t", pa.map_(pa.string(), pa.int64()))]))]),
        r"column 's.t': Avro has no type for map",
    ),
    "text without text": ("text", pa.schema([("id", pa.string())]), "text files hold the column 'text' only"),
    "a file a document": ("textfile", pa.schema([("text", pa.string())]), "textfile is a format to read"),
}


@pytest.mark.parametrize(("name", "columns", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_format_cannot_hold_is_an_error(name: str, columns: pa.Schema, message: str) -> None:
    with pytest.raises(InputError, match=message):
        format_named(name).writer(io.BytesIO(), columns)


def test_text_of_several_lines_is_an_error() -> None:
    batch = pa.RecordBatch.from_pylist([{"text": "two\nlines"}])
    with pytest.raises(InputError, match=r"a document has several lines \('two.nlines'"):
        written("text", [batch], batch.schema)
